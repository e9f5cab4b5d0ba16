"""Accelerators are found by device files and the driver's tool."""

import sys

import pytest

from embodied.core.system import hardware


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine without tools, with its devices in a folder."""
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    for name in ('TPU_NAME', 'TPU_WORKER_ID', 'COLAB_TPU_ADDR'):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'dev').mkdir()


def tool(tmp_path, code):
    path = tmp_path / 'bin' / 'nvidia-smi'
    path.write_text(f'#!{sys.executable}\nraise SystemExit({code})\n')
    path.chmod(0o755)


def test_nothing_there(tmp_path):
    assert not hardware.has_gpu(tmp_path / 'dev')
    assert not hardware.has_tpu(tmp_path / 'dev')


def test_gpu_by_device_file(tmp_path, monkeypatch):
    (tmp_path / 'dev' / 'nvidiactl').touch()
    assert not hardware.has_gpu(tmp_path / 'dev')
    (tmp_path / 'dev' / 'nvidia0').touch()
    assert hardware.has_gpu(tmp_path / 'dev')
    for hidden in ('', '-1'):
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', hidden)
        assert not hardware.has_gpu(tmp_path / 'dev')


@pytest.mark.parametrize('code, found', [(0, True), (9, False)])
def test_gpu_by_tool(tmp_path, code, found):
    tool(tmp_path, code)
    assert hardware.has_gpu(tmp_path / 'dev') is found


def test_tpu(tmp_path, monkeypatch):
    monkeypatch.setenv('TPU_NAME', 'local')
    assert hardware.has_tpu(tmp_path / 'dev')
    monkeypatch.delenv('TPU_NAME')
    (tmp_path / 'dev' / 'accel0').touch()
    assert hardware.has_tpu(tmp_path / 'dev')


def test_check_names_the_remedy(monkeypatch):
    monkeypatch.setattr(hardware, 'has_gpu', lambda: True)
    monkeypatch.setattr(hardware, 'has_plugin', lambda name: False)
    with pytest.raises(ValueError, match=r"pip install 'jax\[cuda13\]'"):
        hardware.check('cuda')
    monkeypatch.setattr(hardware, 'has_plugin', lambda name: True)
    hardware.check('cuda')
    monkeypatch.setattr(hardware, 'has_tpu', lambda: False)
    with pytest.raises(ValueError, match=r"jax.platform: got 'tpu', but there is no TPU"):
        hardware.check('tpu')
    hardware.check('cpu')
    hardware.check('auto')


def test_count(tmp_path, monkeypatch):
    for name in ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES'):
        monkeypatch.delenv(name, raising=False)
    devices = tmp_path / 'dev'
    assert hardware.count('cpu', devices) == 1
    assert hardware.count('cuda', devices) is hardware.count('tpu', devices) is None
    for name in ('nvidia0', 'nvidia1', 'nvidiactl'):
        (devices / name).touch()
    assert hardware.count('cuda', devices) == 2
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5')
    assert hardware.count('cuda', devices) == 1
    monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=8')
    assert hardware.count('cpu', devices) is None


def test_kind(monkeypatch):
    assert hardware.kind('cpu') == 'cpu'
    found = {'has_gpu': False, 'has_plugin': True, 'has_tpu': False}
    for name in found:
        monkeypatch.setattr(hardware, name, lambda *args, name=name: found[name])
    assert hardware.kind('auto') == 'cpu'
    found['has_tpu'] = True
    assert hardware.kind('auto') == 'tpu'
    found['has_gpu'] = True
    assert hardware.kind('auto') == 'cuda'
    found['has_plugin'] = False
    assert hardware.kind('auto') == 'tpu'
