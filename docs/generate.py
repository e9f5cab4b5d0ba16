"""What is made when the site is built: the reference of all options, pages from outside of docs.

The hooks of mkdocs.yml. Options come from configs.yaml, so they are never written down twice.
"""

import html
import pathlib
import sys

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # The options are read by the code of this folder.

from embodied import config as options  # noqa: E402

# Files that the site shows, and where.
PAGES = {
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
    'scores/README.md': 'scores.md',
    'scores/gym_CartPole-v1.png': 'gym_CartPole-v1.png',
}


def on_files(files, config):
    """Add what lies outside of docs, and `options.md`, of which nothing is written by hand."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, 'options.md', content=reference(load())))
    return files


def load():
    return options.Schema(ROOT / 'dreamerv3' / 'configs.yaml')


def reference(schema) -> str:
    """A page with every option and every block of a configs.yaml."""
    changes = {name: changed(schema, name) for name in schema.blocks}
    parts = [
        '# All options',
        'Made from `dreamerv3/configs.yaml`. `python dreamerv3/main.py --help TEXT` prints those '
        'with TEXT in their name. [Configuration](configuration.md) says how they are given.',
    ]
    for section, members in sections(schema).items():
        parts.append(f'## {section or "general"}')
        if text := schema.sections.get(section):
            parts.append(text[0].upper() + text[1:] + '.')
        rows = ['| option | default | allowed | what it does |', '| --- ' * 4 + '|']
        parts.append('\n'.join(rows + [row(x, changes) for x in members]))
    parts += ['## Blocks', blocks(schema)]
    return '\n\n'.join(parts) + '\n'


def sections(schema):
    """Options by the part of their name before the last dot."""
    result = {}
    for key, option in schema.options.items():
        result.setdefault(key.rpartition('.')[0], []).append(option)
    return result


def changed(schema, name) -> dict:
    """Options to which a block by itself gives another value than the default."""
    before, after = schema.resolve().flat, schema.resolve([name]).flat
    return {k: v for k, v in after.items() if v != before[k]}


def row(option, changes) -> str:
    """One line of a table: the option, and the blocks that change it."""
    text = option.help[0].upper() + option.help[1:]
    values = {}
    for name, block in changes.items():
        if option.key in block:
            values.setdefault(block[option.key], []).append(name)
    if values:
        found = '; '.join(f'{code(plain(v))} in {", ".join(names)}' for v, names in values.items())
        text += f'. *Blocks: {found}*'
    default = plain(option.default) or "''"
    return f'| {code(option.key)} | {code(default)} | {prose(option.describe())} | {text} |'


def blocks(schema) -> str:
    """A table of the blocks with their lines."""
    rows = ['| block | what it sets |', '| --- | --- |']
    for name, values in schema.blocks.items():
        lines = [code(f'{k}: {plain(v)}') for k, v in values.items()]
        rows.append(f'| {code(name)} | {"<br>".join(lines)} |')
    return '\n'.join(rows)


def code(text) -> str:
    return f'<code>{prose(text)}</code>'


def prose(text) -> str:
    """Without what means something within a table; lines may break at the bars."""
    return html.escape(text, quote=False).replace('|', '&#124;<wbr>').replace('*', '&#42;')


def plain(value) -> str:
    """A value as it is given on the command line."""
    return ' '.join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
