"""DreamerV3. `dreamerv3.load(LOGDIR)` is a trained agent; JAX is imported when it is called."""


def load(path, seed: int = 0):
    """The agent of a logdir, of a checkpoint, or of a folder that it was exported to.

    Needs neither training data nor environment, and runs nothing that is in the folder. Returns a
    `trained.Trained` with `act`, `imagine` and `reset`. `seed` is that of its samples. ValueError
    of one line for a folder that holds no trained agent.
    """
    from . import trained

    return trained.load(path, seed)
