"""Calls between processes: messages in JSON and safetensors over ZeroMQ.

ZeroMQ rather than portal's own servers, which listen on every interface without authentication and
end when a client sends bytes they do not expect. ZeroMQ binds where it is told, drops peers that
break its protocol or exceed the size cap, and authenticates and encrypts (CURVE) with keys that
both sides derive from a shared token. Nothing that arrives is unpickled. No JAX here.
"""

import contextlib
import hashlib
import ipaddress
import itertools
import json
import os
import pathlib
import time
from collections.abc import Callable

import safetensors.numpy
import zmq
import zmq.auth.thread
import zmq.utils.monitor
import zmq.utils.z85

from .. import trees

LIMIT = 1 << 30  # Bytes of a message.
HANDSHAKE_SECONDS = 5
ERRORS = {x.__name__: x for x in (ValueError, OSError, TimeoutError)}


class RemoteError(RuntimeError):
    """The other side failed while it answered; the message says how."""


class Unreachable(ConnectionError):
    """Nobody answers at the address, the connection broke, or the token was refused."""


class Request:
    """A call that waits for its answer. `peer` is bytes that name the caller."""

    def __init__(self, server, peer, number, method, args):
        self.server = server
        self.peer = peer
        self.number = number
        self.method = method
        self.args = args

    def reply(self, result=None) -> None:
        self.server._send(self.peer, {'id': self.number, 'result': result})

    def fail(self, error: Exception) -> None:
        """Let the caller raise: the same kind of error if it is one of ERRORS, else RemoteError."""
        kind = next((k for k, v in ERRORS.items() if isinstance(error, v)), '')
        text = str(error) if kind else f'{type(error).__name__}: {error}'
        self.server._send(self.peer, {'id': self.number, 'error': text, 'kind': kind})


class Server:
    """Takes requests, for the one thread that owns it. It answers when it likes, in any order.

        server = Server('127.0.0.1:5551')
        while True:
            if request := server.receive(timeout=1):
                request.reply(work(*request.args))

    `address` is host:port, with port 0 for a free one, or ipc:PATH for a socket in the file system.
    A client must know the `token`, if there is one. Raises ValueError if the address cannot be
    bound. What is no request is dropped.
    """

    def __init__(self, address: str, token: str = '', limit: int = LIMIT):
        self.context = zmq.Context()
        self.auth = None
        self.socket = _socket(self.context, zmq.ROUTER, address, limit)
        try:
            if token:
                self._authenticate(token)
            self.socket.bind(endpoint(address))
        except zmq.ZMQError as e:
            self.close()
            reason = {
                zmq.EADDRINUSE: 'another program uses this port, choose another one',
                zmq.EADDRNOTAVAIL: 'this machine does not have this address',
            }.get(e.errno, e.strerror)
            raise ValueError(f'cannot listen at {address}: {reason}') from None
        bound = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.address = bound.removeprefix('tcp://').replace('ipc://', 'ipc:')

    def receive(self, timeout: float) -> Request | None:
        """The next request, None if there is none for `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.socket.poll(max(0, deadline - time.monotonic()) * 1000):
            peer, *frames = self.socket.recv_multipart()
            # Whatever is wrong with a message is the sender's business.
            with contextlib.suppress(Exception):
                message = decode(frames)
                number, method, args = message['id'], message['method'], message['args']
                if isinstance(method, str) and isinstance(args, list):
                    return Request(self, peer, number, method, args)
        return None

    def close(self) -> None:
        """Stop listening; answers on their way are still sent for a second."""
        self.socket.close(linger=1000)
        if self.auth:
            self.auth.stop()
        self.context.term()

    def _authenticate(self, token):
        self.auth = zmq.auth.thread.ThreadAuthenticator(self.context)
        self.auth.start()
        self.auth.configure_curve_callback('*', _OneKey(_keys(token, 'client')[0]))
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = _keys(token, 'server')

    def _send(self, peer, message):
        # A client that is gone does not need the answer.
        with contextlib.suppress(zmq.ZMQError):
            self.socket.send_multipart([peer, *encode(message)], copy=False)


def serve(server: Server, methods: dict[str, Callable], stop: Callable, every=0.5) -> None:
    """Answer requests by functions until `stop()`; their errors go to the caller."""
    while not stop():
        if request := server.receive(every):
            answer(request, methods)


def answer(request: Request, methods: dict[str, Callable]) -> None:
    """Answer one request by the function that its method names."""
    try:
        if request.method not in methods:
            raise ValueError(f'unknown method {request.method!r}, known are {sorted(methods)}')
        result = methods[request.method](*request.args)
    except Exception as e:
        request.fail(e)
    else:
        request.reply(result)


class Client:
    """Calls a server, for one thread.

        client = Client('127.0.0.1:5551', name='replay')
        client.connect(timeout=60)
        result = client.call('method', argument)
        promise = client.send('method', argument)      # to do something else meanwhile
        result = promise()

    Arguments and results are nested data of arrays, numbers and strings. `name` is for messages.
    Raises Unreachable if the server cannot be reached or goes away, and what the server raised.
    """

    def __init__(self, address: str, token: str = '', name: str = 'server', limit: int = LIMIT):
        self.name, self.address = name, address
        self.socket = _socket(zmq.Context.instance(), zmq.DEALER, address, limit)
        self.socket.linger = 1000
        if token:
            self.socket.curve_serverkey = _keys(token, 'server')[0]
            self.socket.curve_publickey, self.socket.curve_secretkey = _keys(token, 'client')
        events = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
        for kind in ('NO_DETAIL', 'PROTOCOL', 'AUTH'):
            events |= getattr(zmq, f'EVENT_HANDSHAKE_FAILED_{kind}')
        self.monitor = self.socket.get_monitor_socket(events)
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.monitor, zmq.POLLIN)
        self.numbers = itertools.count()
        self.results = {}
        self.connected = self.lost = False
        self.socket.connect(endpoint(address))

    def connect(self, timeout: float = 60) -> None:
        """Wait until the server is there."""
        deadline = time.monotonic() + timeout
        while not self.connected:
            if time.monotonic() > deadline:
                raise Unreachable(f'{self.name} at {self.address}: no answer for {timeout:.0f} s')
            self._wait(0.2)

    def send(self, method: str, *args) -> 'Promise':
        """Start a call and return the promise of its result, to be called once."""
        number = next(self.numbers)
        frames = encode({'id': number, 'method': method, 'args': list(args)})
        self.socket.send_multipart(frames, copy=False)
        return Promise(self, number)

    def call(self, method: str, *args, timeout: float | None = None):
        """The result of a call. TimeoutError if it takes longer than `timeout` seconds."""
        return self.send(method, *args)(timeout)

    def close(self) -> None:
        """Calls on their way are still sent for a second."""
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()

    def receive(self, number: int, timeout: float | None = None):
        """The result of the call with a number; see Promise."""
        deadline = time.monotonic() + (float('inf') if timeout is None else timeout)
        while number not in self.results:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f'{self.name} at {self.address}: no answer for {timeout:.3g} s')
            self._wait(min(left, 1))
        message = self.results.pop(number)
        if 'error' in message:
            raise ERRORS.get(message['kind'], RemoteError)(message['error'])
        return message['result']

    def poll(self) -> None:
        """Take what has arrived."""
        self._wait(0)

    def _wait(self, timeout):
        if self.lost:
            raise Unreachable(f'{self.name} at {self.address}: the connection is lost')
        ready = dict(self.poller.poll(timeout * 1000))
        while self.socket in ready and self.socket.poll(0):
            message = decode(self.socket.recv_multipart())
            self.results[message['id']] = message
        if self.monitor in ready:
            self._event(zmq.utils.monitor.recv_monitor_message(self.monitor)['event'])

    def _event(self, event):
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected = True
        elif event == zmq.EVENT_DISCONNECTED:
            # Before the first connection it may be that nobody listens yet.
            self.lost = self.connected
        else:
            reason = 'refused, the tokens differ or it is another program'
            raise Unreachable(f'{self.name} at {self.address}: {reason}')


class Promise:
    """The result of a call: `promise(timeout)` waits for it, `promise.done()` only looks."""

    def __init__(self, client, number):
        self.client = client
        self.number = number

    def __call__(self, timeout: float | None = None):
        return self.client.receive(self.number, timeout)

    def done(self) -> bool:
        self.client.poll()
        return self.number in self.client.results


def encode(message: dict) -> list[bytes]:
    """Frames of a message: its structure in JSON, its arrays in safetensors."""
    data, arrays = trees.split(message)
    return [json.dumps(data).encode(), b''.join(trees.tensor_file(arrays)) if arrays else b'']


def decode(frames: list[bytes]) -> dict:
    """The message of frames. Some error if they are none."""
    text, tensors = frames
    arrays = safetensors.numpy.load(tensors) if tensors else {}
    return trees.join(json.loads(text), arrays)


def endpoint(address: str) -> str:
    """Address of ZeroMQ. ValueError unless it is host:port or ipc:PATH."""
    if address.startswith('ipc:'):
        return f'ipc://{address[4:]}'
    host, port = split(address)
    return f'tcp://{host}:{port}'


def split(address: str) -> tuple[str, int]:
    """Host and port. ValueError unless it is host:port."""
    host, _, port = address.rpartition(':')
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'got {address!r}, allowed is host:port such as 127.0.0.1:5551')
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    if address.startswith('ipc:'):
        return True
    host = split(address)[0].strip('[]')
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token(filename: str = '') -> str:
    """The secret of all roles: of a file, or of the environment variable EMBODIED_TOKEN, or ''."""
    if not filename:
        return os.environ.get('EMBODIED_TOKEN', '').strip()
    try:
        secret = pathlib.Path(filename).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, 'strerror', None) or 'no text'
        raise ValueError(f'got {filename!r}, allowed is a file with a secret: {reason}') from None
    if not secret:
        raise ValueError(f'got {filename!r}, allowed is a file with a secret, this one is empty')
    return secret


def check_free(address: str) -> None:
    """ValueError if another program listens at an address."""
    Server(address).close()


def _socket(context, kind, address, limit):
    socket = context.socket(kind)
    socket.linger = 0
    socket.ipv6 = '[' in address
    socket.maxmsgsize = limit
    socket.handshake_ivl = HANDSHAKE_SECONDS * 1000
    # A host that vanishes without a word.
    socket.heartbeat_ivl = 10_000
    socket.heartbeat_timeout = 60_000
    return socket


def _keys(token, role):
    """Public and secret key of one side, which both sides can compute from the token."""
    secret = hashlib.sha256(f'embodied {role} {token}'.encode()).digest()
    secret = zmq.utils.z85.encode(secret)
    return zmq.curve_public(secret), secret


class _OneKey:
    """Credentials for the authenticator: the clients' key and no other."""

    def __init__(self, key):
        self.key = key

    def callback(self, domain, key):
        return key == self.key
