"""Exported agents: what is in the folder, and that it computes what the agent does."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import dreamerv3
from dreamerv3 import export, parity, stored
from dreamerv3.tests import small, test_trained
from embodied.core import spaces

FILES = {
    'README.md',
    'config.yaml',
    'policy.bin',
    'policy.mlir',
    'policy.py',
    'scores.json',
    'spaces.json',
    'weights.safetensors',
}


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export') / 'run'
    # Logits of the policy that are not near to zero.
    small.write(folder, test_trained.EVERYTHING, test_trained.BOTH, test_trained.FLAGS)
    return folder


@pytest.fixture(scope='module')
def exported(logdir):
    """The folder, and the largest difference."""
    folder = logdir.parent / 'out'
    return folder, export.export(logdir, folder)['StableHLO']


def test_computes_the_same_without_the_program(exported):
    """Means, deviations and logits of three actions, over episodes with images among them."""
    assert exported[1] < 1e-5


def test_differences_are_found():
    want = {'action/logits': np.zeros((100, 1, 4))}
    have = {'action/logits': np.full((100, 1, 4), 0.25)}
    assert parity.compare('It', want, {k: v + 1e-6 for k, v in want.items()}) == 1e-6
    with pytest.raises(ValueError, match='It does not compute what the agent does'):
        parity.compare('It', want, have)


def test_files(exported):
    folder, _ = exported
    assert {x.name for x in folder.iterdir()} == FILES
    assert 'stablehlo' in (folder / 'policy.mlir').read_text()
    saved = json.loads((folder / 'spaces.json').read_text())
    assert saved['step'] == 7 and saved['obs']['image']['shape'] == [12, 12, 3]
    card = (folder / 'README.md').read_text()
    for name in FILES - {'README.md'}:
        assert f'| `{name}` |' in card
    # Nothing of the machine that it was trained on.
    for path in folder.iterdir():
        assert str(folder.parent).encode() not in path.read_bytes(), path


def test_example_of_the_card(exported, tmp_path):
    """As printed, in a process that finds the exported files only."""
    folder, _ = exported
    example = re.search('```python\n(.*?)```', (folder / 'README.md').read_text(), re.DOTALL)[1]
    script = tmp_path / 'example.py'
    script.write_text(
        f'import sys\nsys.path.insert(0, {str(folder)!r})\n{example}\n'
        "assert 'dreamerv3' not in sys.modules\n"
        'agent.reset()\n'
        "print(agent.act({k: np.repeat(v, 3, 0) for k, v in obs.items()})['choice'].shape)\n"
    )
    result = subprocess.run(
        [sys.executable, '-IB', script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert not result.returncode, result.stderr
    first, second = result.stdout.splitlines()
    assert first.startswith('{') and second == '(3,)'


def test_can_be_loaded_again(exported, logdir):
    first, second = (stored.read(x) for x in (logdir, exported[0]))
    assert first.params.keys() == second.params.keys()
    for key, value in first.params.items():
        np.testing.assert_array_equal(value, second.params[key])
    assert (first.config, first.step) == (second.config, second.step)
    assert spaces.save(first.obs_space) == spaces.save(second.obs_space)
    assert spaces.save(first.act_space) == spaces.save(second.act_space)
    assert dreamerv3.load(exported[0]).step == 7


def test_damaged_export(exported, tmp_path):
    for name in ('weights.safetensors', 'spaces.json'):
        for path in exported[0].iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
        with pytest.raises(ValueError, match='holds no agent that can be read') as e:
            dreamerv3.load(tmp_path)
        assert '\n' not in str(e.value)


def run(*argv):
    return subprocess.run(
        [sys.executable, '-m', 'dreamerv3.export', *map(str, argv)],
        cwd=pathlib.Path(dreamerv3.__file__).parent.parent,
        env={**os.environ, 'PYTHONPATH': '.'},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_mistakes_are_one_line(exported, tmp_path):
    folder, _ = exported
    result = run(tmp_path / 'absent', tmp_path / 'out')
    assert result.returncode == 2
    assert result.stderr.count('\n') == 1 and 'does not exist' in result.stderr
    with pytest.raises(ValueError, match='allowed is a new folder'):
        export.export(folder, folder)
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_onnx(tmp_path):
    pytest.importorskip('jax2onnx')
    spaces = test_trained.EVERYTHING, test_trained.BOTH, test_trained.FLAGS
    small.write(tmp_path / 'run', *spaces)
    result = run(tmp_path / 'run', tmp_path / 'out', '--onnx')
    assert not result.returncode, result.stderr
    assert (tmp_path / 'out' / 'policy.onnx').is_file()
    (worst,) = re.findall(r'ONNX: the largest difference .* is (\S+) ', result.stdout)
    assert float(worst) < 1e-4
