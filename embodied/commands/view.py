"""Look at scalars, texts, images and videos of runs in the browser.

FOLDER is the logdir of a run or a folder with runs, at any depth down to four. Pages are only
served to this machine. For a run on another machine, forward the port first:

    ssh -L 8000:127.0.0.1:8000 MACHINE
"""

import contextlib
import importlib.util
import logging
import pathlib
import socket
import time

from ..core.system import runlock


def arguments(parser):
    parser.add_argument('folder', help='logdir, or a folder with logdirs')
    parser.add_argument('--port', type=int, default=8000, help='0 takes a free one (default 8000)')


def run(args) -> int:
    if importlib.util.find_spec('scope_viewer') is None:
        raise ValueError("view: needs the viewer of scope, pip install 'scope>=0.8.1,<0.9'")
    folder = pathlib.Path(args.folder).expanduser().absolute()
    # Not before it is known that they are needed, as they take a while.
    import uvicorn

    from . import viewer

    logged = lambda: folder.is_dir() and bool(viewer.Data(folder).folders()['exps'])
    try:
        wait(folder, logged)
    except KeyboardInterrupt:
        return 0
    if not logged():
        raise ValueError(
            f'folder: got {args.folder!r}, allowed is a folder with runs that log to scope'
        )
    with listen(args.port) as listener:
        config = uvicorn.Config(viewer.make_app(folder), log_level=logging.WARNING, workers=1)
        server = uvicorn.Server(config)
        print(f'Open http://127.0.0.1:{listener.getsockname()[1]} (Ctrl-C ends)', flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def wait(folder, logged):
    """Wait until a run has logged, as long as there is one that goes on. It compiles first."""
    depths = [f'{x}{runlock.FILE}' for x in ('', '*/', '*/*/')]
    going = lambda: any(runlock.held(x.parent) for y in depths for x in folder.glob(y))
    if not logged() and going():
        print('Waiting for the first log of a run (Ctrl-C ends)', flush=True)
        while not logged() and going():
            time.sleep(1)


def listen(port):
    """A socket on the loopback interface."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(('127.0.0.1', port))
        listener.listen()
    except (OSError, OverflowError) as e:
        listener.close()
        text = getattr(e, 'strerror', None) or e
        raise ValueError(
            f'port: got {port}, allowed is a free one, as with --port 0: {text}'
        ) from None
    return listener
