"""Parameters of an earlier run, for a new one to begin with or to be evaluated."""

from ..core import checkpoint


def load(agent, args) -> int:
    """Load what `from_checkpoint_regex` matches from `from_checkpoint`, and nothing else.

    Returns the environment steps that the checkpoint was saved at. ValueError of one line if there
    is no intact checkpoint or its parameters do not fit.
    """
    try:
        folder, step, data = checkpoint.read(args.from_checkpoint, 'agent')
    except ValueError as e:
        raise ValueError(f'run.from_checkpoint: {e}') from None
    print(f'Read checkpoint: {folder}', flush=True)
    try:
        agent.load(data, regex=args.from_checkpoint_regex)
    except ValueError as e:
        raise ValueError(f'run.from_checkpoint: {folder}: {e}') from None
    return step
