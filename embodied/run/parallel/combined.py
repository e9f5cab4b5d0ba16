"""All roles of one machine: started together, watched, and ended together."""

import contextlib
import functools
import shutil
import tempfile
import threading

from ...core.system import processes, rpc, signals
from . import env, role, watch
from .agent import parallel_agent
from .logger import parallel_logger
from .replay import parallel_replay

END_SECONDS = 5  # For roles that were told to end.
SAVE_SECONDS = 600  # For the agent to save, after the update or compilation in progress.


def combined(
    make_agent,
    make_replay_train,
    make_replay_eval,
    make_env_train,
    make_env_eval,
    make_stream,
    make_logger,
    args,
) -> None:
    """Train with all roles in processes of their own, except those that are `remote_*`.

    The agent runs here, or as one more process with `args.agent_process`. Environments that die or
    hang are started again. If another role does, the run saves what it can and ends with a
    ProcessError that names it.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stop())
        args = local_addresses(args, stack)
        group = processes.Group()
        stack.callback(group.close, END_SECONDS)
        group.start('logger', functools.partial(parallel_logger, make_logger, args), role.GRACE)
        names = ['logger']
        if not args.remote_replay:
            fn = functools.partial(
                parallel_replay, make_replay_train, make_replay_eval, make_stream, args
            )
            group.start('replay', fn, role.GRACE)
            names.append('replay')
        agent = functools.partial(parallel_agent, make_agent, args)
        if args.agent_process:
            group.start('agent', agent, role.GRACE)
        if not args.remote_envs:
            env.start_envs(group, make_env_train, make_env_eval, args)
        keeper = watch.Watch(group, args, [*names, 'actor'])
        stack.callback(keeper.dismiss)
        (apart if args.agent_process else together)(agent, keeper, stop)


def together(agent, keeper, stop):
    """The agent in this thread, the watch in another."""
    failures, over = [], threading.Event()

    def keep():
        try:
            while not over.is_set():
                keeper.step()
        except processes.ProcessError as e:
            failures.append(e)
            stop.request(str(e))

    thread = threading.Thread(target=keep, name='watch', daemon=True)
    thread.start()
    try:
        agent(stop)
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def apart(agent, keeper, stop):
    """The agent in a process of the group, the watch here."""
    processes = keeper.group.processes
    told = False
    try:
        while keeper.group.running('agent'):
            keeper.step()
            if stop and not told:
                processes['agent'].terminate()
                told = True
        keeper.group.check()  # It may have failed since the last look.
    finally:
        # When another role has failed, it still has to save.
        if 'agent' in processes:
            processes['agent'].terminate()
            processes['agent'].join(SAVE_SECONDS)


def local_addresses(args, stack):
    """Sockets in a folder of this run for roles whose address is `auto`."""
    folder = tempfile.mkdtemp(prefix='embodied-')
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    remote = {'replay': args.remote_replay}
    changes = {}
    for name in ('actor', 'replay', 'logger'):
        key = f'{name}_addr'
        if args[key] == 'auto':
            changes[key] = f'ipc:{folder}/{name}'
        elif not remote.get(name):
            try:
                rpc.check_free(args[key])
            except ValueError as e:
                raise ValueError(f'run.{key}: {e}') from None
    return args.update(changes)
