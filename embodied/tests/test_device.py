"""How JAX is set up: flags of XLA, and those of the user before them."""

import os
import subprocess
import sys

import jax
import pytest

from embodied.jax import device


class TestFlags:
    @pytest.mark.parametrize(
        'options, want',
        [
            ((False, 4, 'on'), {}),
            ((True, 4, 'on'), {'xla_gpu_deterministic_ops': 'true'}),
            ((False, 1, 'on'), {'xla_gpu_autotune_level': '1'}),
            ((False, 4, 'off'), {'xla_gpu_enable_command_buffer': ''}),
            ((False, 4, 'loops'), {'xla_gpu_enable_command_buffer': '+WHILE,+CONDITIONAL'}),
        ],
    )
    def test_of_options(self, options, want):
        assert device.gpu_flags(*options) == want

    def test_those_of_the_user_stay(self):
        flags = {'xla_gpu_autotune_level': '0', 'xla_gpu_deterministic_ops': 'true'}
        given = '--xla_gpu_autotune_level=3  --xla_dump_to=/tmp/x'
        want = '--xla_gpu_autotune_level=3 --xla_dump_to=/tmp/x --xla_gpu_deterministic_ops=true'
        assert device.with_flags(given, flags) == want
        assert device.with_flags('', {}) == ''

    def test_xla_knows_them(self):
        code = (
            'from embodied.jax import device; import jax, os;'
            'device.setup(cache="off", deterministic=True, autotune=1, command_buffers="loops");'
            'assert jax.jit(lambda x: x + 1)(1) == 2; print(os.environ["XLA_FLAGS"])'
        )
        environ = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '--xla_gpu_autotune_level=3'}
        out = subprocess.run(
            [sys.executable, '-c', code],
            env=environ,
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        ).stdout
        assert out.split() == [
            '--xla_gpu_autotune_level=3',
            '--xla_gpu_deterministic_ops=true',
            '--xla_gpu_enable_command_buffer=+WHILE,+CONDITIONAL',
        ]

    def test_compiler_options(self, monkeypatch):
        options = {'xla_backend_optimization_level': 1, 'xla_dump_to': '/tmp/x'}
        monkeypatch.setenv('XLA_FLAGS', '--xla_backend_optimization_level=3')
        assert device.compiler_options(options) == {'xla_dump_to': '/tmp/x'}
        monkeypatch.delenv('XLA_FLAGS')
        assert device.compiler_options(options) == options


def test_unroll():
    cpus = jax.devices('cpu')
    assert device.unroll('auto', cpus) == 1
    assert device.unroll('4', cpus) == 4
