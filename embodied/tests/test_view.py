"""The viewer of scope behind `embodied view`: what it shows, and that it shows nothing else."""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import urllib.parse

import pytest

from embodied import commands
from embodied.commands import view
from embodied.core.system import runlock
from embodied.tests import browser, runs


class Server:
    """`embodied view FOLDER` in a process of its own."""

    def __init__(self, folder):
        command = [sys.executable, '-m', 'embodied', 'view', str(folder), '--port', '0']
        self.process = subprocess.Popen(command, cwd=runs.ROOT, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[1]
        self.port = int(self.url.rpartition(':')[-1])

    def get(self, path, **headers):
        """Status, headers and body, with the path as it is."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request('GET', path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def json(self, path):
        status, _, body = self.get(urllib.parse.quote(path))
        assert status == 200, path
        return json.loads(body)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0
        self.process.stdout.close()


@pytest.fixture(scope='module')
def folder(small_runs, tmp_path_factory):
    """Runs, with secrets outside and links to them."""
    outside = tmp_path_factory.mktemp('outside')
    root = outside / 'root'
    shutil.copytree(small_runs, root)
    shutil.copytree(small_runs / 'first', outside / 'other')
    (outside / 'secret.txt').write_text('secret')
    scope = root / 'first' / 'scope'
    (scope / 'link.float').symlink_to(outside / 'other' / 'scope' / 'fps-policy.float')
    (scope / 'link.mp4').symlink_to(outside / 'other' / 'scope' / 'epstats-policy_image.mp4')
    (root / 'linked').symlink_to(outside / 'other')
    (root / 'second' / 'plain.txt').write_text('not of scope')
    return root


@pytest.fixture(scope='module')
def server(folder):
    server = Server(folder)
    yield server
    server.close()


def test_lists_runs_and_metrics(server, folder):
    assert server.json('/api/exps') == {'exps': ['first', 'second']}
    assert server.json('/api/exp/second') == {'id': 'second', 'runs': ['second']}
    columns = server.json('/api/run/first')['cols']
    names = {x.name for x in (folder / 'first' / 'scope').iterdir()}
    assert {x.removeprefix('first:scope:') for x in columns} == names
    assert 'first:scope:episode-score.float' in columns


def test_scalars_are_those_of_the_run(server, folder):
    column = server.json('/api/col/first:scope:episode-score.float')
    rows = map(json.loads, (folder / 'first' / 'scores.jsonl').read_text().splitlines())
    expected = {x['step']: x['episode/score'] for x in rows}
    assert column['run'] == 'first'
    assert dict(zip(column['steps'], column['values'], strict=True)) == expected


def test_videos_play_from_any_position(server, folder):
    column = server.json('/api/col/first:scope:epstats-policy_image.mp4')
    (file,) = set(column['values'][-1:])
    status, headers, body = server.get(f'/api/file/{file}')
    path = folder / 'first' / 'scope' / 'epstats-policy_image.mp4' / file.rpartition(':')[-1]
    assert (status, headers['content-type'], body) == (200, 'video/mp4', path.read_bytes())
    status, _, part = server.get(f'/api/file/{file}', Range='bytes=10-19')
    assert (status, part) == (206, body[10:20])


def test_page(server):
    status, _, body = server.get('/')
    assert status == 200
    assert b'/start.js' in body
    status, headers, body = server.get('/start.js')
    assert (status, headers['content-type'].partition(';')[0]) == (200, 'text/javascript')
    assert b'episode-score.float' in body


FILE = 'scope:epstats-policy_image.mp4:00000000000000000000-0000000000000000.mp4'
OUTSIDE = [
    '..:other',
    '..:secret.txt',
    '..',
    '.',
    'first:..:..:other',
    '%2e%2e:other',
    '%2e%2e%2fother',
    '%252e%252e:other',
    '..%5cother',
    '/etc/passwd',
    '%2fetc%2fpasswd',
    ':etc:passwd',
    '::etc:passwd',
    'first%00',
    'linked',
    'absent',
]


@pytest.mark.parametrize('kind', ('exps', 'exp', 'run', 'col', 'file'))
@pytest.mark.parametrize('name', OUTSIDE)
def test_nothing_outside_is_told(server, folder, kind, name):
    tails = ('', ':scope:fps-policy.float', ':secret.txt', f':{FILE}')
    for tail in tails:
        status, _, body = server.get(f'/api/{kind}/{name}{tail}')
        assert status == 404, tail
        assert b'secret' not in body


@pytest.mark.parametrize(
    'path',
    [
        '/../secret.txt',
        '/%2e%2e/secret.txt',
        '/assets/../../secret.txt',
        '/..%2f..%2fsecret.txt',
        '//etc/passwd',
        '/api/col/first:scope:link.float',
        '/api/col/first:scope:link.mp4',
        '/api/col/second:plain.txt',
        '/api/col/first:config.yaml',
        '/api/col/first:scope:..',
        '/api/file/first:config.yaml',
        '/api/file/second:plain.txt',
        '/api/file/first:scope:episode-score.float',
        '/api/file/first:scope:epstats-policy_image.mp4:index',
        f'/api/file/first:{FILE}',
    ],
)
def test_nothing_else_of_a_run_is_told(server, path):
    assert server.get(path)[0] == 404


def test_pages_of_others_are_not_answered(server):
    assert server.get('/api/exps', Host='evil.example')[0] == 400
    assert server.get('/api/exps', Host=f'localhost:{server.port}')[0] == 200


def test_listens_on_loopback_only(server):
    with open('/proc/net/tcp') as f:
        bound = [x.split()[1] for x in f if f':{server.port:04X} 00000000:0000' in x]
    assert bound == [f'0100007F:{server.port:04X}']


def test_torn_tables_are_read_up_to_the_tear(server, folder):
    scope = folder / 'second' / 'scope'
    whole = server.json('/api/col/second:scope:fps-train.float')
    video = server.json('/api/col/second:scope:epstats-policy_image.mp4')
    for table in (scope / 'fps-train.float', scope / 'epstats-policy_image.mp4' / 'index'):
        with table.open('ab') as f:
            f.write(b'torn')
    assert server.json('/api/col/second:scope:fps-train.float') == whole
    assert server.json('/api/col/second:scope:epstats-policy_image.mp4') == video
    (scope / 'empty.float').touch()
    assert server.json('/api/col/second:scope:empty.float')['values'] == []
    (scope / 'empty.mp4').mkdir()
    assert server.get('/api/col/second:scope:empty.mp4')[0] == 404


def test_logdir_of_a_single_run(small_runs):
    server = Server(small_runs / 'first')
    try:
        assert server.json('/api/exps') == {'exps': ['first']}
        assert server.json('/api/exp/first')['runs'] == ['first']
        assert server.json('/api/col/first:scope:fps-policy.float')['values']
        for path in ('exp/second', 'run/second', 'col/second:scope:fps-policy.float'):
            assert server.get(f'/api/{path}')[0] == 404
    finally:
        server.close()


@pytest.mark.parametrize('argument', ['/absent', '/etc/hostname', '/proc/self/task'])
def test_wrong_folder_is_one_line(argument, capsys):
    with pytest.raises(SystemExit) as e:
        commands.main(['view', argument])
    assert e.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"embodied view: error: folder: got '{argument}', allowed is a folder")


def test_waits_for_the_first_log_of_a_run(folder, tmp_path, monkeypatch, capsys):
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'config.yaml').write_text('{}')
    monkeypatch.setattr(view.time, 'sleep', lambda _: shutil.copytree(folder / 'first', run / 'x'))
    monkeypatch.setattr(view, 'listen', lambda port: sys.exit('opened'))
    with runlock.hold(run), pytest.raises(SystemExit, match='opened'):
        commands.main(['view', str(tmp_path)])
    assert capsys.readouterr().out == 'Waiting for the first log of a run (Ctrl-C ends)\n'


def test_does_not_wait_for_a_run_that_is_over(tmp_path, capsys):
    (tmp_path / 'config.yaml').write_text('{}')
    with pytest.raises(SystemExit):
        commands.main(['view', str(tmp_path)])
    assert 'allowed is a folder with runs that log to scope' in capsys.readouterr().err


def test_port_that_is_taken_is_one_line(server, folder, capsys):
    with pytest.raises(SystemExit) as e:
        commands.main(['view', str(folder), '--port', str(server.port)])
    assert e.value.code == 2
    assert f'port: got {server.port}, allowed is a free one' in capsys.readouterr().err
    with pytest.raises(ValueError, match='port: got 70000'):
        view.listen(70000)


@pytest.mark.slow
def test_in_a_browser(small_runs, tmp_path):
    server = Server(small_runs)
    try:
        with browser.open(tmp_path, server.url) as page:
            page.wait('document.querySelectorAll(".card canvas").length >= 2')
            page.wait('document.querySelector("video")?.readyState === 4')
            page.run('document.querySelector("[title=\'Play all\']").click()')
            assert page.wait('document.querySelector("video").currentTime > 0.3')
            assert page.run('document.querySelector("video").videoWidth') >= 64
            page.screenshot(tmp_path / 'view.png')
            assert (tmp_path / 'view.png').stat().st_size > 20_000
            # New folders are found on the next visit, and nothing of the old ones is in the way.
            runs_shown = page.run('document.querySelector(".right").innerText')
            assert 'first' in runs_shown
            assert 'second' in runs_shown
    finally:
        server.close()
