"""The choice is tested in processes of its own, as MuJoCo takes it once."""

import os
import subprocess
import sys

import pytest

from embodied.envs import gl


def choice(code='pass', **env):
    path = [x for x in sys.path if x]
    program = (
        f'import sys; sys.path[:] = {path!r}; from embodied.envs import gl; {code}; '
        'import os; print(gl.setup(), os.environ["MUJOCO_GL"], "mujoco" in sys.modules)'
    )
    clean = {k: v for k, v in os.environ.items() if k != 'MUJOCO_GL'}
    args = [sys.executable, '-c', program]
    result = subprocess.run(args, check=True, capture_output=True, text=True, env=clean | env)
    return result.stdout.split()


def test_what_is_set_stays():
    assert choice(MUJOCO_GL='glfw') == ['glfw', 'glfw', 'False']


@pytest.mark.parametrize(
    'egl, osmesa, chosen',
    [(True, True, 'egl'), (False, True, 'osmesa'), (False, False, 'disable')],
)
def test_what_works_is_chosen(egl, osmesa, chosen):
    code = f'gl._has_egl = lambda: {egl}; gl._has_osmesa = lambda: {osmesa}'
    assert choice(code) == [chosen, chosen, 'False']


def test_libraries_that_are_absent_do_not_work(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(gl.ctypes, 'CDLL', absent)
    assert not gl._has_egl() and not gl._has_osmesa()


@pytest.mark.skipif(gl.setup() == 'disable', reason=gl.HINT)
def test_what_is_found_renders():
    mujoco = pytest.importorskip('mujoco', reason='mujoco is not installed')
    xml = '<mujoco><worldbody><light/><geom size="1"/></worldbody></mujoco>'
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 24, 32) as renderer:
        renderer.update_scene(data)
        image = renderer.render()
    assert image.shape == (24, 32, 3) and image.std() > 0
