import os
import select
import signal
import subprocess
import sys

import elements
import numpy as np
import pytest

from embodied.core.workers import worker
from embodied.tests import fakes

ACTION = {'act': np.int32(3), 'move': np.zeros(2, np.float32), 'reset': np.bool_(False)}


@pytest.fixture
def start():
    """Starts workers and ends them after the test."""
    workers = []

    def fn(make_env, index=0):
        workers.append(worker.ProcessWorker(make_env, index))
        workers[-1].start()()
        return workers[-1]

    yield fn
    for x in workers:
        x.close()
        x.join(5)


def wait_for_end(pid, timeout=10):
    """Whether a process that is nobody's child here ends in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout)[0])
    finally:
        os.close(fd)


def test_process_has_no_jax_and_is_another_one(start):
    obs = start(fakes.Spy).step(ACTION)()
    assert not obs['log/jax']
    assert obs['log/pid'] != os.getpid()
    assert obs['seen_act'] == 3


def test_steps_run_at_the_same_time(start, tmp_path):
    # Opening one end of a pipe waits for the other end: one after the other, they would never pass.
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    modes = (os.O_RDONLY, os.O_WRONLY)
    hows = [lambda mode=mode: os.close(os.open(path, mode)) for mode in modes]
    workers = [start(lambda how=how: fakes.Failing(how, at=1)) for how in hows]
    promises = [x.step(ACTION) for x in workers]
    assert [int(x()['count']) for x in promises] == [1, 1]


def test_functions_and_classes_of_a_test_travel(start):
    scale = 7

    class Scaled(fakes.Count):
        def step(self, action):
            obs = super().step(action)
            return {**obs, 'count': obs['count'] * scale}

    assert start(lambda: Scaled()).step(ACTION)()['count'] == 7


def test_values_go_through_memory_and_those_without_a_size_through_the_pipe(start):
    class Talking(fakes.Count):
        @property
        def obs_space(self):
            return {**super().obs_space, 'log/text': elements.Space(str)}

        @property
        def act_space(self):
            return {**super().act_space, 'say': elements.Space(str)}

        def step(self, action):
            text = np.array(f'{action["say"]} {self.count}')
            return {**super().step(action), 'log/text': text}

    one = start(Talking)
    obs = one.step({**ACTION, 'say': np.array('hello')})()
    assert obs['log/text'] == 'hello 0' and obs['seen_act'] == 3
    image = obs['image']
    assert image.shape == (4, 6, 3) and (image == 1).all()
    one.step({**ACTION, 'say': np.array('again')})()
    assert (image == 2).all()  # It is the same memory.


def test_an_environment_may_keep_its_actions(start):
    class Keeping(fakes.Count):
        first = None

        def step(self, action):
            self.first = action if self.first is None else self.first
            obs = super().step(action)
            return {**obs, 'seen_act': self.first['act'], 'seen_move': self.first['move']}

    one = start(Keeping)
    one.step(ACTION)()
    obs = one.step({**ACTION, 'act': np.int32(5), 'move': np.ones(2, np.float32)})()
    assert obs['seen_act'] == 3 and (obs['seen_move'] == 0).all()


@pytest.mark.skipif(not os.path.exists('/dev/shm'), reason='memory has no files here')
def test_memory_leaves_nothing_behind(start):
    before = set(os.listdir('/dev/shm'))
    descriptors = len(os.listdir('/proc/self/fd'))
    one = start(fakes.Spy)
    pid = int(one.step(ACTION)()['log/pid'])
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid)
    one.close()
    one.join(5)
    assert set(os.listdir('/dev/shm')) == before
    assert len(os.listdir('/proc/self/fd')) == descriptors


@pytest.mark.parametrize(
    'how, cause',
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 'its process was killed by SIGKILL'),
        (lambda: os._exit(3), 'its process exited with code 3'),
        (lambda: sys.exit('enough'), 'SystemExit: enough'),
        (lambda: 1 / 0, 'ZeroDivisionError: division by zero'),
    ],
)
def test_death_and_errors_are_told(start, how, cause):
    one = start(lambda: fakes.Failing(how, at=2), index=5)
    one.step(ACTION)()
    with pytest.raises(worker.EnvError) as info:
        one.step(ACTION)()
    assert str(info.value).splitlines()[0] == f'Environment 5 failed at its step 2: {cause}'
    with pytest.raises(worker.EnvError, match=r'Environment 5 .* its process'):
        one.step(ACTION)()  # It is gone, and says so instead of waiting.


def test_observation_that_cannot_travel_is_an_error(start):
    class Odd(fakes.Count):
        @property
        def obs_space(self):
            return {**super().obs_space, 'log/fn': elements.Space(object)}

        def step(self, action):
            return {**super().step(action), 'log/fn': np.array(lambda: None, object)}

    with pytest.raises(worker.EnvError, match='pickle'):
        start(Odd).step(ACTION)()


def test_death_while_starting():
    one = worker.ProcessWorker(lambda: os._exit(4), 2)
    promise = one.start()
    with pytest.raises(
        worker.EnvError, match='2 could not be made: its process exited with code 4'
    ):
        promise()
    one.close()
    one.join(5)


def test_interrupt_is_for_the_parent(start):
    one = start(fakes.Spy)
    pid = int(one.step(ACTION)()['log/pid'])
    os.kill(pid, signal.SIGINT)
    assert one.step(ACTION)()['count'] == 2


def test_close_closes_the_environment_and_ends_the_process(start, tmp_path):
    class Closing(fakes.Spy):
        def close(self):
            (tmp_path / 'closed').write_text('yes')

    one = start(Closing)
    pid = int(one.step(ACTION)()['log/pid'])
    one.step(ACTION)  # Nobody waits for this one.
    one.close()
    one.close()
    one.join(5)
    assert (tmp_path / 'closed').read_text() == 'yes'
    assert wait_for_end(pid)


def test_environment_that_hangs_in_close_is_killed():
    class Hanging(fakes.Spy):
        def close(self):
            signal.pause()

    one = worker.ProcessWorker(Hanging, 0)
    one.start()()
    pid = int(one.step(ACTION)()['log/pid'])
    one.close()
    one.join(timeout=0)
    assert wait_for_end(pid)


PARENT = """
import os, signal, threading
from embodied.core import driver
from embodied.tests import fakes

class Env(fakes.Count):
    def step(self, action):
        obs = super().step(action)
        if self.count == 3:
            os.write(1, f'{os.getpid()}\\n'.encode())
            HANG
        return obs

def main():
    drv = driver.Driver([Env, Env])
    policy = fakes.CountPolicy()
    drv.reset(policy.init)
    drv(policy, steps=6)
    signal.pause() if MAIN else threading.Event().wait()

# Not guarded against being imported: workers do not run the main script again.
main() if MAIN else threading.Thread(target=main).start()
"""


@pytest.mark.parametrize(
    'main, hang',
    [
        ('True', 'pass'),
        ('True', 'signal.pause()'),
        ('False', 'pass'),
    ],
)
def test_workers_die_with_a_killed_parent(main, hang, tmp_path):
    script = tmp_path / 'main.py'
    script.write_text(PARENT.replace('HANG', hang).replace('MAIN', main))
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(x for x in sys.path if x)},
    )
    with parent:
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    assert len(set(pids)) == 2
    assert all(wait_for_end(pid) for pid in pids)


def test_local_worker_keeps_the_interface():
    env = fakes.Count()
    one = worker.LocalWorker(lambda: env, 0)
    obs_space, _ = one.start()()
    assert 'count' in obs_space
    assert one.step(ACTION)()['count'] == 1
    one.close()
    one.close()
    one.join(5)
    assert env.closed == 1
