"""The web application behind `view`: pages of scope's viewer, and its data with checked paths.

An id of the viewer is a path below the root with `:` for `/`. Only folders and files that lie in
the root, links followed, and have the names that scope gives them are ever read; all else is 404.
"""

import importlib.util
import json
import math
import pathlib
import re

from starlette import applications, exceptions, responses, routing, staticfiles
from starlette.middleware import Middleware, trustedhost

from ..core.logs import scopes

DEPTH = 4  # Folders below the root in which runs are looked for.
# What is neither special in a path, in an id, nor in a page.
NAME = re.compile(r'(?!\.)[^/\\:<>&"\'\x00-\x1f\x7f]+')
SCALAR = re.compile(r'[\w.-]+\.float')
MEDIA = re.compile(r'[\w.-]+\.(txt|png|jpe?g|mp4|webm)')
ENTRY = re.compile(r'\d{20}-[0-9a-f]{16}\.(txt|png|jpe?g|mp4|webm)')
# What is shown at first, up to so many of them.
FAVORITES = (r'^episode-score\.', r'openloop', r'^fps-policy\.', r'^train-loss', r'policy_.*\.mp4$')
CARDS, RUNS = 6, 5


def make_app(root: pathlib.Path) -> applications.Starlette:
    """The viewer for a run or a folder with runs, asked by browsers on this machine only."""
    # Its server is not imported, as that parses the arguments of the process.
    pages = pathlib.Path(importlib.util.find_spec('scope_viewer').origin).parent / 'dist'
    data = Data(root)
    routes = [
        routing.Route('/', lambda request: index(pages)),
        routing.Route('/start.js', lambda request: start(data)),
        routing.Route('/api/exps', answer(data.folders)),
        routing.Route('/api/exps/{id}', answer(data.folders)),
        routing.Route('/api/exp/{id}', answer(data.runs)),
        routing.Route('/api/run/{id}', answer(data.columns)),
        routing.Route('/api/col/{id}', answer(data.column)),
        routing.Route('/api/file/{id}', lambda request: data.file(request.path_params['id'])),
        routing.Mount('/', staticfiles.StaticFiles(directory=pages)),
    ]
    # A page elsewhere that gives its name our address is not answered.
    hosts = Middleware(trustedhost.TrustedHostMiddleware, allowed_hosts=['127.0.0.1', 'localhost'])
    return applications.Starlette(routes=routes, middleware=[hosts])


class Data:
    """Runs, columns and files below a root. A run is a folder with a folder `scope` in it."""

    def __init__(self, root: pathlib.Path):
        self.allowed = root.resolve()
        # A single run is shown as the only one in the folder above.
        single = (root / 'scope').is_dir()
        self.root = self.allowed.parent if single else self.allowed
        self.top = [self.allowed.name] if single else []

    def folders(self, id=''):
        """Folders in the root, or below it, that hold runs."""
        parts = split(id)
        names = self.top
        if parts or not self.top:
            names = [x.name for x in subfolders(self.find(parts))]
        children = [[*parts, x] for x in names]
        return {'exps': [':'.join(x) for x in children if next(self.below(x), None)]}

    def runs(self, id):
        self.find(split(id))
        return {'id': id, 'runs': [':'.join(x) for x in self.below(split(id))]}

    def columns(self, id):
        folder = self.find([*split(id), 'scope'])
        names = sorted(x.name for x in folder.iterdir())
        names = [x for x in names if SCALAR.fullmatch(x) or MEDIA.fullmatch(x)]
        return {'id': id, 'cols': [f'{id}:scope:{x}' for x in names]}

    def column(self, id):
        """Steps and values of one metric; those of media are ids of files."""
        *run, folder, name = split(id, 3)
        scalars = bool(SCALAR.fullmatch(name))
        if folder != 'scope' or not (scalars or MEDIA.fullmatch(name)):
            raise exceptions.HTTPException(404)
        steps, values = scopes.read(self.find(split(id)))
        if scalars:
            values = [x if math.isfinite(x) else None for x in values]
        else:
            values = [f'{id}:{x}' for x in values]
        return {'id': id, 'run': ':'.join(run), 'steps': steps, 'values': values}

    def file(self, id):
        """One text, image or video."""
        *_, folder, column, name = split(id, 4)
        if folder != 'scope' or not MEDIA.fullmatch(column) or not ENTRY.fullmatch(name):
            raise exceptions.HTTPException(404)
        path = self.find(split(id))
        if path.suffix == '.txt':
            return responses.JSONResponse({'id': id, 'text': path.read_text(errors='replace')})
        # A type that no browser takes for a page.
        kind = 'video' if path.suffix in ('.mp4', '.webm') else 'image'
        return responses.FileResponse(path, media_type=f'{kind}/{path.suffix[1:]}')

    def find(self, parts):
        """Path of the parts of an id; 404 if there is none, or outside of the root."""
        try:
            path = self.root.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError):
            raise exceptions.HTTPException(404) from None
        if not path.is_relative_to(self.allowed):
            raise exceptions.HTTPException(404)
        return path

    def age(self, parts):
        """Of a run, for sorting the newest to the front."""
        return -self.find([*parts, 'scope']).stat().st_mtime

    def below(self, parts, depth=DEPTH):
        """Parts of the runs in a folder, itself included."""
        try:
            folder = self.find(parts)
        except exceptions.HTTPException:
            return
        inside = (folder / 'scope').resolve()
        if inside.is_dir() and inside.is_relative_to(self.allowed):
            yield parts
        elif depth:
            for child in subfolders(folder):
                yield from self.below([*parts, child.name], depth - 1)


def split(id, least=0):
    """Parts of an id; 404 if they are not plain names, or too few."""
    parts = id.split(':') if id else []
    if len(parts) < least or not all(NAME.fullmatch(x) for x in parts):
        raise exceptions.HTTPException(404)
    return parts


def subfolders(folder):
    try:
        return sorted(x for x in folder.iterdir() if NAME.fullmatch(x.name) and x.is_dir())
    except OSError:
        return []


def answer(function):
    """An endpoint that gives the id of the path to a function."""

    def endpoint(request):
        try:
            return responses.JSONResponse(function(**request.path_params))
        except OSError:
            raise exceptions.HTTPException(404) from None

    return endpoint


def index(pages):
    """The page of the viewer, with a script of ours in front of its own."""
    text = (pages / 'index.html').read_text()
    return responses.HTMLResponse(text.replace('<head>', '<head><script src="/start.js"></script>'))


def start(data):
    """Script for the first look: the newest runs and some metrics are selected, and kept fresh.

    The viewer remembers folders and selections in the browser. What it remembers of another root
    would not fit, and it does not ask for new ones by itself.
    """
    runs = sorted(data.below(data.top), key=data.age)[:RUNS]
    columns = {x.rsplit(':', 1)[-1] for run in runs for x in data.columns(':'.join(run))['cols']}
    favorites = [x for p in FAVORITES for x in sorted(columns) if re.search(p, x)]
    selected = {
        'selExps': sorted({run[0] for run in runs}),
        'selRuns': [':'.join(run) for run in runs],
        'selMets': list(dict.fromkeys(favorites))[:CARDS],
    }
    text = START % (json.dumps(str(data.allowed)), json.dumps(selected))
    return responses.Response(text, media_type='text/javascript')


START = """\
const root = %s
const selected = %s
for (const key of ['cachedEids', 'cachedExps', 'cachedRuns'])
  localStorage.removeItem(key)
if (localStorage.getItem('root') !== root) {
  localStorage.clear()
  localStorage.setItem('root', root)
  for (const [key, value] of Object.entries(selected))
    localStorage.setItem(key, JSON.stringify({ type: 'Set', value }))
}
const refresh = () => document.querySelector('[title=Refresh]')?.click()
window.addEventListener('load', () => setTimeout(refresh, 500))
setInterval(refresh, 30000)
"""
