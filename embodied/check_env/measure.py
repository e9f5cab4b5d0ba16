"""What an environment costs: time of steps and resets, memory of a transition; and how it looks."""

import time
from typing import NamedTuple

import elements
import numpy as np

from ..core import random, wrappers
from ..core.logs import scopes

SECONDS = 20  # At most, whatever the number of steps.
FRAMES = 300  # Of a video, at most.


class Facts(NamedTuple):
    """What an agent's package is told to give advice.

    Spaces as an agent gets them, without `log/` and `reset`; steps per second of one environment on
    one core; seconds of a reset; mean length of random episodes, None if none has ended; bytes of a
    transition without latents.
    """

    obs_space: dict
    act_space: dict
    speed: float
    reset: float
    length: float | None
    nbytes: int


def measure(env, steps: int, seed: int = 0) -> tuple[Facts, list]:
    """Facts about an environment as a run would use it, and frames of its first steps."""
    env = wrappers.wrap(env)
    agent = random.RandomAgent(env.obs_space, env.act_space, seed)
    reset, resets, times, lengths, frames, length, obs = True, [], [], [], [], 0, None
    began = time.perf_counter()
    while len(times) < steps and (not times or time.perf_counter() - began < SECONDS):
        action = {**agent.act(obs), 'reset': np.bool_(reset)}
        start = time.process_time()
        obs = env.step(action)
        (resets if reset else times).append(time.process_time() - start)
        length = 0 if reset else length + 1
        reset = bool(obs['is_last'])
        if reset:
            lengths.append(length)
        if len(frames) < FRAMES and (image := picture(obs)) is not None:
            frames.append(image.copy())
    obs_space = {k: v for k, v in env.obs_space.items() if not k.startswith('log/')}
    act_space = {k: v for k, v in env.act_space.items() if k != 'reset'}
    facts = Facts(
        obs_space,
        act_space,
        speed=len(times) / max(sum(times), 1e-9),
        reset=float(np.mean(resets)),
        length=float(np.mean(lengths)) if lengths else None,
        nbytes=sum(map(nbytes, [*obs_space.values(), *act_space.values()])),
    )
    return facts, frames


def nbytes(space: elements.Space) -> int:
    """Bytes of a value."""
    return int(np.prod(space.shape)) * np.dtype(space.dtype).itemsize


def picture(obs: dict) -> np.ndarray | None:
    """The image in an observation, or the one that is rendered for people."""
    for value in obs.values():
        if value.ndim == 3 and value.dtype == np.uint8:
            return value
    return None


def write_video(path, frames: list, fps: int = 15) -> None:
    """Frames as an mp4, small ones enlarged."""
    factor = max(1, 256 // frames[0].shape[0])
    video = np.stack(frames).repeat(factor, 1).repeat(factor, 2)
    scopes.write_video(path, video, fps)
