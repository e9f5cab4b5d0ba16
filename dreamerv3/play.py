"""Play a world model as a game, in the browser.

The page is only served to this machine. For an agent on another machine, forward the port first:

    ssh -L 8010:127.0.0.1:8010 MACHINE
"""

import argparse
import contextlib
import http.server
import json
import pathlib
import signal
import urllib.parse

from embodied import cli, commands
from embodied.commands import view

PAGE = pathlib.Path(__file__).parent / 'play.html'
HOSTS = ('127.0.0.1', 'localhost')
LARGEST = 10_000  # Bytes of a request.
POLICY = "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; "
POLICY += "form-action 'none'; frame-ancestors 'none'; "
POLICY += "style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Server(http.server.ThreadingHTTPServer):
    """Serves a game (`game.Game`) on a socket that listens to this machine.

        GET  /        the page
        GET  /game    what does not change, and all that there is to see now
        POST /step    {"press": [0, 2]}, numbers of keys, or {"pilot": true}
        POST /reset   {}

    Anything else is 404. Requests under another name than that of this machine, or by pages of
    other origins, are 403, so a page elsewhere can neither see nor play it.
    """

    daemon_threads = True

    def __init__(self, listener, game):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.game = game
        self.page = PAGE.read_bytes()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection of a browser."""

    protocol_version = 'HTTP/1.1'
    timeout = 60  # Of a connection on which nothing comes in.

    def do_GET(self):
        if not self.local():
            self.answer(403)
        elif self.path == '/':
            self.answer(200, self.server.page, 'text/html; charset=utf-8')
        elif self.path == '/game':
            game = self.server.game
            with game.lock:
                self.json({**game.describe(), 'state': game.state()})
        else:
            self.answer(404)

    def do_POST(self):
        content = self.content()
        if not self.local():
            self.answer(403)
        elif self.path not in ('/step', '/reset'):
            self.answer(404)
        elif content is None:
            self.answer(400)
        elif self.path == '/reset':
            self.json(self.server.game.reset())
        elif content.get('pilot') is True:
            self.json(self.server.game.pilot())
        else:
            self.press(content.get('press'))

    def press(self, pressed):
        game = self.server.game
        known = range(len(game.bindings))
        if isinstance(pressed, list) and all(type(x) is int and x in known for x in pressed):
            self.json(game.press(pressed))
        else:
            self.answer(400)

    def content(self):
        """The JSON object that was sent, None if it is none."""
        size = self.headers.get('Content-Length', '')
        if not size.isdecimal() or int(size) > LARGEST:
            self.close_connection = True  # What follows is not read.
            return None
        data = self.rfile.read(int(size))
        # A page of another origin can only send this type if it asks before.
        if self.headers.get_content_type() != 'application/json':
            return None
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def local(self):
        """Whether it comes from a page of ours, by the name under which it asks."""
        host, origin = self.headers.get('Host', ''), self.headers.get('Origin')
        if origin not in (None, f'http://{host}'):
            return False
        try:
            return urllib.parse.urlsplit(f'//{host}').hostname in HOSTS
        except ValueError:
            return False

    def json(self, data):
        self.answer(200, json.dumps(data, allow_nan=False).encode(), 'application/json')

    def answer(self, status, data=b'', kind='text/plain'):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        self.send_header('Content-Security-Policy', POLICY)
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.send_header('Cache-Control', 'no-store')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Requests are not logged."""


def arguments():
    parser = commands.Parser(
        prog='python -m dreamerv3.play',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('logdir', help='logdir, checkpoint or exported folder of a trained agent')
    parser.add_argument('--port', type=int, default=8010, help='0 takes a free one (default 8010)')
    parser.add_argument('--real', action='store_true', help='show the environment beside the dream')
    parser.add_argument('--task', default='', help='name of the environment, if it is another one')
    parser.add_argument('--seed', type=int, default=0, help='of what is dreamed (default 0)')
    parser.add_argument('--platform', default='auto', choices=('auto', 'cpu', 'cuda', 'tpu'))
    return parser


def play(args):
    """Serve the game of the arguments until Ctrl-C."""
    from embodied.jax import device

    from . import game, stored, trained

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(view.listen(args.port))
        saved = stored.read(args.logdir)
        device.setup(platform=args.platform, prealloc=False)
        env = None
        if args.real or args.task:
            env = stored.make_env(saved, args.task, render=True)
            stack.callback(env.close)
        print('Compiling ...', flush=True)
        world = game.Game(trained.Trained(saved, args.seed), env)
        # Once before somebody waits for it.
        world.pilot()
        world.press([])
        world.reset()
        server = stack.enter_context(Server(listener, world))
        print(f'Open http://127.0.0.1:{server.server_address[1]} (Ctrl-C ends)', flush=True)
        server.serve_forever()


def main(argv=None):
    parser = arguments()
    args = parser.parse_args(argv)
    # Ended in order, also where a shell in the background has it ignore Ctrl-C; besides, SDL takes
    # such signals for itself where nobody else does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            play(args)
    except ValueError as e:
        if not cli.is_message(e, main):
            raise
        cli.fail(parser.prog, e)


if __name__ == '__main__':
    main()
