"""A world model as a game: actions go in, and out comes what the model expects to see.

Beside it a real environment may be given the same actions. The model does not see that one after
the first step, so the two drift apart as far as the model is wrong.
"""

import base64
import io
import threading

import numpy as np
from PIL import Image

from embodied.run import videos

from . import keys, trained

RENDERED = 'log/render'


class Game:
    """What is played by one person, from several threads.

    agent   a `trained.Trained`
    env     an environment of its task, or None
    """

    def __init__(self, agent: trained.Trained, env=None):
        self.agent = agent
        self.env = env
        self.bindings = keys.bind(agent.act_space, agent.task)
        self.lock = threading.Lock()
        self.reset()

    def describe(self) -> dict:
        """What does not change: the task, keys and names."""
        return {
            'task': self.agent.task,
            'trained': self.agent.step,
            'real': self.env is not None,
            'keys': [{'code': x.code, 'symbol': x.symbol, 'text': x.text} for x in self.bindings],
        }

    def reset(self) -> dict:
        """Begin a new episode: that of the environment, else one that the model makes up."""
        with self.lock:
            self.steps, self.text, obs, self.real = 0, '', None, None
            self.agent.reset()
            if self.env is not None:
                obs = self.env.step({**keys.rest(self.agent.act_space), 'reset': np.bool_(True)})
                self.real = Side(obs, 0.0, 1.0)
            self.latent, first = self.agent.begin(obs)
            self.dream = Side(first.obs, 0.0, float(first.cont))
            return self.state()

    def press(self, pressed: list[int]) -> dict:
        """One step with keys that are held together, as numbers of bindings."""
        bindings = [self.bindings[i] for i in pressed]
        action = keys.action(self.agent.act_space, bindings)
        return self.step({k: v[None] for k, v in action.items()})

    def pilot(self) -> dict:
        """One step in which the policy acts, on what it imagines."""
        return self.step('greedy')

    def step(self, actions):
        with self.lock:
            steps = 1 if isinstance(actions, str) else None
            self.latent, dream = self.agent.go_on(self.latent, actions, steps)
            first = lambda tree: {k: v[0] for k, v in tree.items()}
            action = first(dream.action)
            self.dream = self.dream.then(first(dream.obs), dream.reward[0], dream.cont[0])
            if self.real and self.real.cont:
                obs = self.env.step({**action, 'reset': np.bool_(False)})
                self.real = self.real.then(obs, obs['reward'], 1 - float(obs['is_last']))
            self.steps += 1
            self.text = keys.describe(self.agent.act_space, action, self.bindings)
            return self.state()

    def state(self) -> dict:
        """All that there is to see now."""
        seen = {**self.agent.obs_space, **self.dream.obs}
        return {
            'step': self.steps,
            'action': self.text,
            'dream': self.dream.show(seen),
            'real': self.real.show({**seen, RENDERED: None}) if self.real else None,
        }


class Side:
    """An observation, and what has come before it.

    cont   probability that the episode goes on; of a real one 1, or 0 at its end
    """

    def __init__(self, obs, reward, cont, score=0.0):
        self.obs = obs
        self.reward, self.cont = (float(np.nan_to_num(x)) for x in (reward, cont))
        self.score = score + self.reward

    def then(self, obs, reward, cont):
        return Side(obs, reward, cont, self.score)

    def show(self, names):
        """As JSON: images as PNG, other values as lists of numbers."""
        values = {k: np.asarray(self.obs[k]) for k in names if k in self.obs}
        images = {k: v for k, v in values.items() if v.ndim == 3}
        vectors = {k: np.float64(v).reshape(-1) for k, v in values.items() if v.ndim < 3}
        return {
            'reward': self.reward,
            'score': self.score,
            'cont': self.cont,
            'images': {k.removeprefix('log/'): picture(v) for k, v in images.items()},
            'vectors': {k: np.nan_to_num(v).tolist() for k, v in vectors.items()},
        }


def picture(image):
    """An image (H, W, C) of bytes as the address of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(videos.rgb(image))).save(buffer, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'
