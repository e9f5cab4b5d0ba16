"""The documentation: it builds as a site, and what it quotes and runs is that of the code."""

import ast
import collections
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

import dreamerv3
from embodied import cli, commands, config

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
DOCS = ROOT / 'docs'
PARTS = 15  # Characters that a message and the code have to share.
# Of any option; `test_values` has those that come from it.
GENERAL = ': got , allowed is '
LOADED = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="?(?:https?:)?//([^" >]+)')


def blocks(page, language):
    return re.findall(f'```{language}\n(.*?)```', (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Built once. Broken links and pages without a place in the navigation are errors."""
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_page_is_in_the_navigation(site):
    sections = YAML(typ='safe').load((ROOT / 'mkdocs.yml').read_text())['nav']
    pages = [name for x in sections for group in x.values() for y in group for name in y.values()]
    assert len(pages) == len(set(pages))
    assert {x.name for x in DOCS.glob('*.md')} < set(pages)
    html = {x.name for x in site.glob('*.html')} - {'404.html'}
    assert html == {x.replace('.md', '.html') for x in pages}


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.glob('*.html'):
        found = [x for x in LOADED.findall(page.read_text()) if 'canonical' not in x]
        assert not found, page
    for style in site.rglob('*.css'):
        assert not re.search(r'url\(["\']?(https?:)?//', style.read_text()), style


def test_all_options_are_there(site):
    schema = config.Schema(ROOT / 'dreamerv3' / 'configs.yaml')
    text = (site / 'options.html').read_text()
    for key, option in schema.options.items():
        assert f'<code>{key}</code>' in text, key
        assert option.help, key
    assert all(f'<code>{name}</code>' in text for name in schema.blocks)
    (row,) = re.findall('<tr>\n<td><code>run.envs</code>.*?</tr>', text, re.DOTALL)
    assert '<code>16</code>' in row
    assert 'a whole number &gt;0' in row
    assert '<code>64</code> in minecraft_paper' in row


def messages():
    """Texts of the code as lists of what is fixed in them, with None for what is filled in."""
    for folder in ('embodied', 'dreamerv3'):
        for path in (ROOT / folder).rglob('*.py'):
            if 'tests' not in path.parts:
                yield from texts(ast.parse(path.read_text()))


def texts(tree):
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(x) for x in node.values}
            yield [x.value if isinstance(x, ast.Constant) else None for x in node.values]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield [] if id(node) in inside else [node.value]


def test_messages_are_those_of_the_code():
    patterns = []
    for parts in messages():
        fixed = ''.join(x for x in parts if x)
        if len(fixed) >= PARTS and fixed != GENERAL and '\n' not in fixed:
            patterns.append(''.join('.*' if x is None else re.escape(x) for x in parts))
    known = re.compile('|'.join(f'(?:{x})' for x in patterns))
    lines = [x for block in blocks('errors.md', 'text') for x in block.splitlines()]
    assert len(lines) > 50
    unknown = [x for x in lines if not known.search(x) and 'a whole number' not in x]
    assert not unknown


def quoted_commands():
    """Words of every command in the documentation, with its page."""
    for path in (*DOCS.glob('*.md'), ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'):
        for block in re.findall('```sh\n(.*?)```', path.read_text(), re.DOTALL):
            for line in block.replace('\\\n', ' ').splitlines():
                for command in line.split('&&'):
                    words = [x.rpartition('/')[2] for x in shlex.split(command, comments=True)]
                    yield path.name, words[1:] if words[:1] == ['python'] else words


def test_options_of_commands_exist():
    schema = config.Schema(ROOT / 'dreamerv3' / 'configs.yaml')
    found = collections.Counter()
    for page, words in quoted_commands():
        program, *argv = words or ['']
        if program in ('main.py', 'dreamerv3', 'qlearner.py') and '--help' not in argv:
            names, flags = cli.parse(argv)
            schema.resolve([x for x in names if not x.endswith('.yaml')], flags)
        elif program == 'embodied':
            assert argv[0] in commands.COMMANDS, (page, argv)
        found[program] += 1
    assert found['main.py'] > 20
    assert found['embodied'] > 10


def test_forms_ask_for_what_helps():
    forms = sorted((ROOT / '.github' / 'ISSUE_TEMPLATE').glob('*.yml'))
    assert [x.stem for x in forms] == ['bug', 'config', 'feature', 'question']
    for path in forms:
        form = YAML(typ='safe').load(path.read_text())
        if path.stem == 'config':
            continue
        assert form['name'] and form['description']
        for field in form['body']:
            assert field['type'] == 'textarea'
            assert field['id'] and field['attributes']['label']
    assert 'Output of `embodied doctor`' in forms[0].read_text()


def test_values():
    schema = config.Schema(ROOT / 'dreamerv3' / 'configs.yaml')
    with pytest.raises(ValueError) as e:
        schema.resolve(flags={'batch_size': 'many'})
    assert str(e.value) in (DOCS / 'errors.md').read_text()


def test_configuration_in_python(capsys):
    (code,) = blocks('configuration.md', 'python')
    exec(code, {})
    assert capsys.readouterr().out.startswith('8 4e-05\n')


@pytest.mark.slow
def test_own_agent(tmp_path):
    """The file of the page learns and plays, by the command of the page."""
    (code,) = blocks('own-agent.md', 'python')
    (tmp_path / 'qlearner.py').write_text(code)
    (command,) = blocks('own-agent.md', 'sh')
    flags = '--logdir run --run.steps 500 --run.final_eval_eps 1 --run.log_every -1'
    result = subprocess.run(
        [sys.executable, *command.split()[1:], *flags.split()],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'HOME': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert 'train/loss/value' in result.stdout
    assert '1 evaluation episodes: score' in result.stdout
