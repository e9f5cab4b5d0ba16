"""The page on which a world model is played: what it serves, to whom, and how it looks."""

import contextlib
import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import threading

import pytest

import dreamerv3
from dreamerv3 import game, play
from dreamerv3.tests import small, test_stored
from embodied.commands import view
from embodied.tests import browser

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
JSON = {'Content-Type': 'application/json'}


class Client:
    """Asks a server with paths and headers as they are."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def post(self, path, content, **headers):
        status, _, data = self.ask('POST', path, json.dumps(content), {**JSON, **headers})
        return status, json.loads(data) if status == 200 else data


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    small.write(folder := tmp_path_factory.mktemp('play'))
    server = play.Server(view.listen(0), game.Game(dreamerv3.load(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(server):
    return Client(server.server_address[1])


def test_page(client):
    status, headers, body = client.ask('GET', '/')
    assert status == 200 and body == play.PAGE.read_bytes()
    assert headers['Content-Type'].startswith('text/html')
    assert "default-src 'none'" in headers['Content-Security-Policy']
    # It asks for nothing from elsewhere.
    assert not re.search(rb'(src|href)="|https?://|@import|url\(', body)


def test_is_played(client):
    _, _, data = client.ask('GET', '/game')
    about = json.loads(data)
    assert about['task'] == 'dummy_disc' and len(about['keys']) == 4
    status, state = client.post('/reset', {})
    assert (status, state['step']) == (200, 0)
    shown = [client.post('/step', x)[1] for x in ({'press': [1]}, {'press': []}, {'pilot': True})]
    assert [x['step'] for x in shown] == [1, 2, 3]
    assert len({str(x['dream']['vectors']) for x in shown}) == 3
    assert json.loads(client.ask('GET', '/game')[2])['state'] == shown[-1]


OTHER = [
    '/index.html',
    '/play.html',
    '/step',
    '/game/',
    '/game?x=1',
    '/../play.py',
    '/..%2fplay.py',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/../../../../etc/passwd',
    '/..\\..\\etc\\passwd',
    '/etc/passwd',
    'etc/passwd',
    'http://127.0.0.1/etc/passwd',
    'file:///etc/passwd',
    '/./',
    '/.',
    '/%00',
    '*',
]


@pytest.mark.parametrize('path', OTHER)
def test_other_paths_are_not_found(client, path):
    status, _, data = client.ask('GET', path)
    assert status == 404 and data == b''
    if path != '/step':
        assert client.post(path, {}) == (404, b'')


@pytest.mark.parametrize(
    'headers',
    [
        {'Host': 'evil.example'},
        {'Host': 'evil.example:8010'},
        {'Host': ''},
        {'Host': '127.0.0.1.evil.example'},
        {'Host': '[::1'},
        {'Host': 'localhost', 'Origin': 'http://evil.example'},
        {'Host': 'localhost', 'Origin': 'null'},
        {'Host': 'localhost:1', 'Origin': 'http://localhost:2'},
    ],
)
def test_other_hosts_and_origins_are_refused(client, headers):
    step = client.post('/step', {'press': []}, Host='localhost:9000')[1]['step']
    for path in ('/', '/game'):
        assert client.ask('GET', path, headers=headers)[0] == 403
    assert client.post('/step', {'press': []}, **headers) == (403, b'')
    origin = {'Host': 'localhost:9000', 'Origin': 'http://localhost:9000'}
    assert client.post('/step', {'press': []}, **origin)[1]['step'] == step + 1


@pytest.mark.parametrize(
    'body, headers',
    [
        ('{"press": [4]}', JSON),
        ('{"press": [-1]}', JSON),
        ('{"press": [true]}', JSON),
        ('{"press": 0}', JSON),
        ('{"pilot": 1}', JSON),
        ('{}', JSON),
        ('[]', JSON),
        ('{', JSON),
        ('[' * 9000, JSON),
        ('\xff', JSON),
        ('', JSON),
        ('{"pilot": true}', {'Content-Type': 'text/plain'}),
        ('{"pilot": true}', {}),
        ('{"pilot": true}', {**JSON, 'Content-Length': '-1'}),
        (' ' * (play.LARGEST + 1), JSON),
    ],
)
def test_other_requests_are_refused(client, body, headers):
    assert client.ask('POST', '/step', body, headers)[0] == 400
    assert client.ask('GET', '/game')[0] == 200


def test_listens_to_this_machine_only(server):
    assert server.socket.getsockname()[0] == '127.0.0.1'


class Process:
    """`python -m dreamerv3.play` in a process of its own."""

    def __init__(self, *argv):
        command = [sys.executable, '-m', 'dreamerv3.play', *map(str, argv), '--port', '0']
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith('Open '):
                self.url = line.split()[1]
                break

    def close(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        try:
            assert self.process.wait(timeout=300) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def run(*argv):
    command = [sys.executable, '-m', 'dreamerv3.play', *map(str, argv)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_mistakes_are_one_line(tmp_path, server):
    for argv, words in (
        ([tmp_path], 'holds no checkpoint'),
        ([tmp_path, '--port', server.server_address[1]], 'port: got'),
        ([], 'the following arguments are required'),
    ):
        result = run(*argv)
        assert result.returncode == 2
        assert result.stderr.count('\n') == 1 and words in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ends_when_it_is_told_to(tmp_path, number):
    small.write(tmp_path)
    Process(tmp_path).close(number)


@pytest.mark.slow
def test_in_a_browser(tmp_path):
    """Ten key presses change the frames; the policy goes on; a picture of it is kept."""
    process = Process(test_stored.dummy(tmp_path / 'run'), '--real')
    frames = 'document.querySelector("#dream img").src'
    step = '+document.querySelector("#step").textContent'
    with contextlib.closing(process), browser.open(tmp_path, process.url) as page:
        page.wait('document.querySelectorAll("#keys button").length === 5')
        seen = [page.wait(frames)]
        for i in range(10):
            code = f'Digit{1 + i % 5}'
            for kind in ('keyDown', 'keyUp'):
                page.call('Input.dispatchKeyEvent', type=kind, code=code, key=code[-1])
            page.wait(f'{step} === {i + 1}')
            seen.append(page.run(frames))
        assert len(set(seen)) == 11
        assert page.run('document.querySelector("#real img").naturalWidth') == 12
        page.screenshot(tmp_path / 'play.png')
        assert len((tmp_path / 'play.png').read_bytes()) > 10_000
        page.run('document.querySelector("#pilot").click()')
        page.wait(f'{step} >= 15')
        page.run('document.querySelector("#pilot").click()')
        page.run('document.querySelector("#reset").click()')
        page.wait(f'{step} === 0')
        assert page.run('document.querySelector("#note").textContent') == ''
