"""Chromium without a window, driven by its own protocol, for tests that look at pages."""

import base64
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
import time
import urllib.request

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required',
    '--hide-scrollbars',
    '--remote-debugging-port=0',
)


class Page:
    """One page of a browser.

    with browser.open(tmp_path, url) as page:
        page.wait('document.querySelector("video")')
        page.screenshot(path)
    """

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
        while True:  # Events come in between.
            reply = json.loads(self.socket.recv(timeout=60))
            if reply.get('id') == number:
                assert 'error' not in reply, reply
                return reply['result']

    def run(self, code):
        """Value of an expression, of a promise when it is there."""
        params = {'expression': code, 'returnByValue': True, 'awaitPromise': True}
        reply = self.call('Runtime.evaluate', **params)
        assert 'exceptionDetails' not in reply, reply
        return reply['result'].get('value')

    def wait(self, code, timeout=60):
        """Wait until an expression is true, and return its value."""
        deadline = time.monotonic() + timeout
        while not (value := self.run(code)):
            assert time.monotonic() < deadline, f'{code} did not become true'
            time.sleep(0.1)
        return value

    def screenshot(self, path):
        data = self.call('Page.captureScreenshot', format='png')['data']
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def open(folder: pathlib.Path, url: str, size=(1600, 1000)):
    """A page, with what the browser keeps in a folder; the test is skipped without a browser."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    connect = pytest.importorskip('websockets.sync.client').connect
    if not found:
        pytest.skip('there is no chromium')
    profile = folder / 'browser'
    window = f'--window-size={size[0]},{size[1]}'
    process = subprocess.Popen(
        [found, *FLAGS, window, f'--user-data-dir={profile}', 'about:blank'],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(profile / 'DevToolsActivePort')
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/json/list', timeout=60) as f:
            (target,) = [x for x in json.load(f) if x['type'] == 'page']
        with connect(target['webSocketDebuggerUrl'], max_size=None) as socket:
            page = Page(socket)
            page.call('Page.navigate', url=url)
            page.wait('document.readyState === "complete" && location.href !== "about:blank"')
            yield page
    finally:
        process.terminate()
        process.wait(timeout=60)


def _port(path):
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            if text := path.read_text():
                return int(text.split()[0])
        assert time.monotonic() < deadline, 'chromium did not start'
        time.sleep(0.1)
