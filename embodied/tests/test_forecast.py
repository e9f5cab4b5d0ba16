"""What a full replay needs is known before the run, and is what it then takes."""

import shutil
import types

import elements
import numpy as np
import pytest

from embodied import build
from embodied.core import forecast, replay
from embodied.core.system import hardware
from embodied.tests import test_build

SPACES = {
    'image': elements.Space(np.uint8, (64, 64, 3)),
    'reward': elements.Space(np.float32),
    'is_first': elements.Space(bool),
}
ENTRIES = {'dyn/deter': elements.Space(np.uint16, (2048,))}
STEP = 64 * 64 * 3 + 4 + 1 + 20


@pytest.fixture
def machine(monkeypatch):
    """A machine with so much memory and disk."""
    has = types.SimpleNamespace(memory=24e9, disk=100e9)
    monkeypatch.setattr(hardware, 'memory', lambda: has.memory)
    usage = lambda path: types.SimpleNamespace(free=has.disk)
    monkeypatch.setattr(shutil, 'disk_usage', usage)
    return has


def test_needs_by_hand():
    need = forecast.need(SPACES, ENTRIES, 1000)
    assert need == (1000, 1000 * (STEP + 4096 + replay.ITEM_BYTES), 1000 * (STEP + 2 * 4096))
    limited = forecast.need(SPACES, {}, 10**9, ram_gb=2)
    assert 1.7e9 < limited.memory < 2e9
    assert forecast.need(SPACES, {}, 1000, ram_gb=2).steps == 1000


def test_needs_are_what_a_replay_takes(tmp_path):
    made = replay.Replay(8, 600, tmp_path, chunksize=50, workers=2)
    spaces = {**SPACES, **ENTRIES}
    for t in range(1500):
        made.add({k: np.full(s.shape, t % 2, s.dtype) for k, s in spaces.items()}, t % 2)
        if t % 20 == 0 and len(made):
            stepid = made.sample(1)['stepid']
            made.update({'stepid': stepid, 'dyn/deter': np.full((1, 8, 2048), t, np.uint16)})
    made.save()
    made.committed()
    need = forecast.need(SPACES, ENTRIES, 600)
    memory = sum(x.nbytes for x in made.chunks.values() if x.length)
    disk = sum(x.stat().st_size for x in tmp_path.rglob('*.npz'))
    assert need.memory < memory * 1.02 < 1.2 * need.memory
    added = 600 * 4096
    assert need.disk - added < disk * 1.02 < 1.2 * (need.disk - added)


def test_warning(machine, tmp_path):
    spaces = {'image': elements.Space(np.uint8, (64, 64, 3))}
    need = forecast.need(spaces, {}, 5_000_000)
    assert forecast.warning(need, tmp_path) == (
        'At 5e+06 steps this replay needs 62.3 GB of memory, you have 24 GB: '
        'lower replay.size, or limit it by replay.ram_gb'
    )
    machine.disk = 10e9
    assert 'and 61.5 GB of disk, you have 10 GB:' in forecast.warning(need, tmp_path)
    machine.memory = None  # It is not known everywhere.
    assert 'memory' not in forecast.warning(need, tmp_path).partition(':')[0]
    assert forecast.warning(forecast.need(spaces, {}, 100), tmp_path) == ''
    # What is there already is not needed again.
    (tmp_path / 'replay').mkdir()
    assert forecast.space(tmp_path / 'replay' / 'none') == machine.disk
    (tmp_path / 'replay' / 'x.npz').write_bytes(bytes(500))
    assert forecast.space(tmp_path / 'replay') == machine.disk + 500


def test_is_told_before_the_agent_is_made(machine, tmp_path, capsys):
    told = []

    def make_agent(*args):
        told.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    def run(entries=None, **changes):
        config = test_build.make_config(tmp_path, random_agent=False).update(changes)
        with pytest.raises(KeyboardInterrupt):
            build.build_agent(config, make_agent, entries)
        return told[-1]

    large = {'replay.size': 10**9, 'run.steps': 10**10}
    assert run() == ''
    assert run(**large).startswith('Warning: At 1e+09 steps this replay needs 4')
    assert run(**{**large, 'run.steps': 1000}) == ''
    assert run(**{**large, 'replay.ram_gb': 2.0}) == ''
    assert run(**{**large, 'run.remote_replay': True}) == ''
    entry = {'dyn/deter': elements.Space(np.float32, (1_000_000,))}
    assert run(entries=lambda config: entry) == ''
    machine.memory = 1e6
    assert run(entries=lambda config: entry).count('\n') == 1


def test_limit_that_is_too_low_for_a_batch(tmp_path):
    config = test_build.make_config(tmp_path).update({'replay.ram_gb': 1e-6})
    with pytest.raises(ValueError, match=r'replay\.ram_gb: got 1e-06, allowed is at least'):
        build.build_agent(config, None)


def test_memory_of_a_container(tmp_path):
    proc, groups = tmp_path / 'proc', tmp_path / 'groups'
    memory = lambda: hardware.memory(str(proc), str(groups))
    assert memory() is None
    proc.mkdir()
    (proc / 'meminfo').write_text('MemTotal: 900 kB\nMemAvailable:     500 kB\n')
    assert memory() == 512_000
    groups.mkdir()
    (groups / 'memory.max').write_text('max\n')
    (groups / 'memory.current').write_text('100000\n')
    assert memory() == 512_000
    (groups / 'memory.max').write_text('300000\n')
    (groups / 'memory.stat').write_text('anon 5\ninactive_file 40000\n')
    assert memory() == 240_000
