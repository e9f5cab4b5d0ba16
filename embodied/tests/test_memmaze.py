import numpy as np
import pytest

from embodied.envs import gl, memmaze, registry

pytest.importorskip('dm_control', reason='dm_control is not installed')
if registry.importlib.util.find_spec('memory_maze') is None:
    pytest.skip('memory_maze is not installed', allow_module_level=True)


def test_unknown_task():
    with pytest.raises(ValueError, match=r"'8x8', allowed are 9x9, 11x11, 13x13, 15x15"):
        registry.check('memmaze_8x8')


@pytest.mark.slow
@pytest.mark.skipif(gl.setup() == 'disable', reason=gl.HINT)
def test_frame_has_the_colour_to_look_for_and_the_time_limit_is_not_terminal():
    env = memmaze.make('9x9', seed=0)
    obs = env.step({'action': np.int32(0), 'reset': np.bool_(True)})
    frame = obs['image'][[0, -1]].reshape(-1, 3)
    assert (frame == frame[0]).all()
    assert env.act_space['action'].classes == 6
    inner = env.env.env  # The environment of dm_env within its adapter.
    while hasattr(inner, 'env'):
        inner = inner.env
    inner._time_limit = inner.physics.time() + 0.5
    for _ in range(4):
        obs = env.step({'action': np.int32(0), 'reset': np.bool_(False)})
        if obs['is_last']:
            break
    assert obs['is_last'] and not obs['is_terminal']
    env.close()
