"""Runs an exported policy. Needs NumPy, JAX and safetensors, and nothing else.

    agent = policy.Policy(FOLDER)
    agent.reset()
    action = agent.act({'vector': [[0.1, 0.0, 0.2, 0.0]]})

This file is copied into the folder, where it is called policy.py.
"""

import json
import pathlib
import re

import jax
import numpy as np
import safetensors.numpy


class Policy:
    """Acts for a batch of environments.

    obs_space, act_space   type, shape and bounds by name; integers are below `high`
    """

    def __init__(self, folder='.', seed=0):
        folder = pathlib.Path(folder)
        saved = json.loads((folder / 'spaces.json').read_text())
        weights = safetensors.numpy.load_file(folder / 'weights.safetensors')
        self.obs_space, self.act_space = saved['obs'], saved['act']
        self.inputs = saved['policy']['inputs']
        self.weights = {k: v for k, v in weights.items() if re.match(saved['policy']['weights'], k)}
        self.program = jax.jit(jax.export.deserialize((folder / 'policy.bin').read_bytes()).call)
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self):
        """Forget what was seen, so that the next observations are the first of episodes."""
        self.carry = None

    def act(self, obs, noise=None):
        """The most likely actions (B, ...) by name for observations (B, ...).

        `is_first` (B,) is true where an episode begins, by default after `reset`. The latents are
        sampled with standard Gumbel noise; zeros instead give the most likely ones.
        """
        return self.step(obs, noise)[0]

    def step(self, obs, noise=None):
        """Actions, and by name what the policy says of them: logits, or mean and stddev."""
        size = len(next(iter(obs.values())))
        obs = {'is_first': np.full(size, self.carry is None), **obs}
        obs = {k: np.asarray(obs[k], v['dtype']) for k, v in self.inputs['obs'].items()}
        if self.carry is None:
            zeros = lambda v: np.zeros((size, *v['shape']), v['dtype'])
            self.carry = {k: zeros(v) for k, v in self.inputs['carry'].items()}
        if noise is None:
            noise = self.rng.gumbel(size=(size, *self.inputs['noise']['shape']))
        noise = np.asarray(noise, np.float32)
        self.carry, action, dists = self.program(self.weights, self.carry, obs, noise)
        return jax.device_get((action, dists))
