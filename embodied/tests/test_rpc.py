"""Calls between processes: what goes through, what is refused, what a server survives."""

import contextlib
import os
import pickle
import socket
import struct
import threading

import numpy as np
import pytest

from ..core.system import rpc

HELLO = b'\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL' + bytes(48)  # Of ZeroMQ.


class Echo:
    """A server in a thread of this process."""

    def __init__(self, address='127.0.0.1:0', token='', limit=rpc.LIMIT):
        self.server = rpc.Server(address, token, limit)
        self.address = self.server.address
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        methods = {'echo': lambda x: x, 'add': lambda x, y: x + y, 'fail': self._fail}
        rpc.serve(self.server, methods, self.over.is_set, every=0.02)
        self.server.close()

    def _fail(self, kind):
        raise {'os': OSError('disk full'), 'value': ValueError('wrong'), 'key': KeyError('k')}[kind]

    def close(self):
        self.over.set()
        self.thread.join()


@contextlib.contextmanager
def running(*args, token='', **kwargs):
    """Server and a connected client."""
    echo = Echo(*args, token=token, **kwargs)
    client = rpc.Client(echo.address, token, 'echo')
    try:
        client.connect(10)
        yield echo, client
    finally:
        client.close()
        echo.close()


def port(address):
    return int(address.rpartition(':')[2])


@pytest.mark.parametrize('token', ['', 'secret'])
def test_values_come_back_as_they_are(token):
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    value = {
        'image': image,
        'flag': np.array(True),
        'scalar': np.float32(0.5),
        'empty': np.zeros((0, 3), np.int64),
        'nested': {'list': [1, 'two', None, True, 2.5, float('inf')], 'tuple': (1, (2,))},
    }
    with running(token=token) as (_, client):
        result = client.call('echo', value)
    assert result['nested'] == value['nested']
    for key in ('image', 'flag', 'scalar', 'empty'):
        np.testing.assert_array_equal(result[key], value[key])
        assert result[key].dtype == value[key].dtype


def test_promises_are_kept_in_any_order():
    with running() as (_, client):
        promises = [client.send('echo', i) for i in range(5)]
        assert [promises[i]() for i in (3, 0, 4, 1, 2)] == [3, 0, 4, 1, 2]


@pytest.mark.parametrize(
    'args, error, text',
    [
        (('fail', 'os'), OSError, 'disk full'),
        (('fail', 'value'), ValueError, 'wrong'),
        (('fail', 'key'), rpc.RemoteError, 'KeyError'),
        (('nothing',), ValueError, "unknown method 'nothing'"),
        (('echo', 1, 2), rpc.RemoteError, 'TypeError'),
        (('add', 'text', 1), rpc.RemoteError, 'TypeError'),
        (('add', np.zeros(2), np.zeros(3)), ValueError, 'broadcast'),
    ],
)
def test_errors_reach_the_caller_and_serving_goes_on(args, error, text):
    with running() as (_, client):
        with pytest.raises(error, match=text):
            client.call(*args)
        assert client.call('echo', 1) == 1


def test_answers_may_wait():
    server = rpc.Server('127.0.0.1:0')
    client = rpc.Client(server.address)
    promises = [client.send('wait', i) for i in range(2)]
    requests = [server.receive(10) for _ in range(2)]
    assert not promises[0].done()
    for request in reversed(requests):
        request.reply(request.args[0] * 10)
    assert [x(10) for x in promises] == [0, 10]
    with pytest.raises(TimeoutError, match='no answer'):
        client.call('wait', 2, timeout=0.05)
    client.close()
    server.close()


@pytest.mark.parametrize('tokens', [('right', 'wrong'), ('right', ''), ('', 'any')])
def test_a_wrong_token_is_refused(tokens):
    echo = Echo(token=tokens[0])
    client = rpc.Client(echo.address, tokens[1], 'replay')
    try:
        with pytest.raises(rpc.Unreachable, match=r'replay at 127.0.0.1:\d+: refused, the tokens'):
            client.connect(10)
    finally:
        client.close()
        echo.close()


def test_nobody_there():
    with socket.create_server(('127.0.0.1', 0)) as free:
        number = free.getsockname()[1]
    client = rpc.Client(f'127.0.0.1:{number}', name='actor')
    with pytest.raises(rpc.Unreachable, match=f'actor at 127.0.0.1:{number}: no answer'):
        client.connect(0.3)
    client.close()


def test_a_server_that_goes_away_is_noticed():
    echo = Echo()
    client = rpc.Client(echo.address, name='logger')
    client.connect(10)
    echo.close()
    with pytest.raises(rpc.Unreachable, match='the connection is lost'):
        client.call('echo', 1)
    # And again, instead of waiting for ever.
    with pytest.raises(rpc.Unreachable):
        client.call('echo', 1)
    client.close()


def test_a_used_port_is_told():
    with socket.create_server(('127.0.0.1', 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(ValueError, match=f'127.0.0.1:{number}: another program uses this port'):
            rpc.Server(f'127.0.0.1:{number}')


@pytest.mark.parametrize('address', ['nohost', '127.0.0.1', '127.0.0.1:x', ':1', 'h:70000'])
def test_malformed_addresses(address):
    with pytest.raises(ValueError, match='allowed is host:port'):
        rpc.split(address)


def test_loopback():
    local = ('127.0.0.1:1', '127.0.0.2:1', 'localhost:1', '[::1]:1', 'ipc:/tmp/x')
    assert all(rpc.is_loopback(x) for x in local)
    assert not any(rpc.is_loopback(x) for x in ('0.0.0.0:1', '10.0.0.1:1', 'host:1', '[::]:1'))


def test_token_of_file_and_environment(tmp_path, monkeypatch):
    monkeypatch.delenv('EMBODIED_TOKEN', raising=False)
    assert rpc.token() == ''
    monkeypatch.setenv('EMBODIED_TOKEN', 'one')
    assert rpc.token() == 'one'
    file = tmp_path / 'token'
    file.write_text('two\n')
    assert rpc.token(str(file)) == 'two'
    file.write_text(' \n')
    with pytest.raises(ValueError, match='empty'):
        rpc.token(str(file))
    with pytest.raises(ValueError, match='No such file'):
        rpc.token(str(tmp_path / 'missing'))


def raw(address, data):
    """Send bytes and wait for what comes back, or for the end."""
    with socket.create_connection(('127.0.0.1', port(address)), timeout=10) as s:
        s.settimeout(0.2)
        with contextlib.suppress(OSError):
            s.sendall(data)
            s.recv(4096)


HOSTILE = {
    'nothing': b'',
    'zeros': bytes(4096),
    'ones': b'\xff' * 4096,
    'zero length': struct.pack('<Q', 0),
    'enormous length': struct.pack('<Q', 2**63),
    'pickle': pickle.dumps(os.system),
    'http': b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'greeting only': HELLO,
    'greeting and enormous frame': HELLO + b'\x02' + struct.pack('>Q', 2**62) + b'x' * 100,
    'greeting and garbage': HELLO + bytes(range(256)) * 16,
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_bytes(name):
    with running() as (echo, client):
        raw(echo.address, HOSTILE[name])
        assert client.call('echo', 'still here', timeout=10) == 'still here'


@pytest.mark.parametrize(
    'frames',
    [
        [b''],
        [b'', b''],
        [b'x' * 1000],
        [b'{}', b''],
        [b'[]', b''],
        [b'null', b''],
        [b'{"id": 0, "method": 7, "args": []}', b''],
        [b'{"id": 0, "method": "echo", "args": {}}', b''],
        [b'{"id": 0, "method": "echo", "args": [{"$array": "x"}]}', b''],
        [b'{"id": 0, "method": "echo", "args": [{"$array": "x"}]}', b'\xff' * 64],
        [b'[' * 100_000, b''],
        [pickle.dumps(os.system), pickle.dumps(os.system)],
        [b'{}', b'', b'', b''],
    ],
)
def test_garbage_in_well_formed_messages(frames):
    with running() as (_, client):
        client.socket.send_multipart(frames)
        assert client.call('echo', 1, timeout=10) == 1


def test_a_message_above_the_limit_loses_its_sender_only():
    with running(limit=10_000) as (echo, client):
        big = rpc.Client(echo.address, name='echo')
        big.connect(10)
        with pytest.raises(rpc.Unreachable):
            big.call('echo', np.zeros(20_000, np.uint8), timeout=10)
        big.close()
        assert client.call('echo', 1, timeout=10) == 1


def descriptors():
    return len(os.listdir('/proc/self/fd'))


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
def test_connections_leave_nothing_behind():
    with running() as (echo, client):
        raw(echo.address, b'')
        before = descriptors()
        for _ in range(50):
            socket.create_connection(('127.0.0.1', port(echo.address))).close()
        for _ in range(100):
            assert client.call('echo', 1, timeout=10) == 1
            if descriptors() <= before:
                break
        assert descriptors() <= before
