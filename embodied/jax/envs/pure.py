"""A batch of environments that are pure functions: all of them step in one compiled program."""

import elements
import jax
import jax.numpy as jnp
import numpy as np

from ...core import base


class PureEnv(base.BatchEnv):
    """One environment for each seed, of `rules` for a single one:

        rules.obs_space, rules.act_space       without the flags and `reset`
        rules.reset(key) -> state, obs
        rules.step(key, state, action) -> state, obs, reward, terminal, last

    Observations and actions are dicts of arrays that fit the spaces. What an environment does
    depends on its own seed and actions only. New episodes are made one by one, which can cost far
    more than a step.
    """

    def __init__(self, rules, seeds):
        self._rules = rules
        self._keys = jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])
        self._state = None
        self._zeros = {
            k: np.zeros((len(seeds), *v.shape), v.dtype) for k, v in self.obs_space.items()
        }
        self._step = jax.jit(self._step_all)
        self._reset = jax.jit(self._reset_one)

    def __len__(self):
        return len(self._keys)

    @property
    def obs_space(self):
        return {
            **self._rules.obs_space,
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {**self._rules.act_space, 'reset': elements.Space(bool)}

    def step(self, action):
        action = dict(action)
        reset = np.asarray(action.pop('reset'))
        obs = {k: v.copy() for k, v in self._zeros.items()}
        if not reset.all():
            # Also of those that begin anew; what comes of that is replaced.
            self._keys, self._state, new = self._step(self._keys, self._require(), action, reset)
            obs.update({k: np.array(v) for k, v in jax.device_get(new).items()})
        for index in np.flatnonzero(reset):
            self._keys, self._state, new = self._reset(self._keys, self._require(), int(index))
            for key, value in jax.device_get(new).items():
                obs[key][index] = value
            for key in ('reward', 'is_last', 'is_terminal'):
                obs[key][index] = 0
        obs['is_first'] = reset.copy()
        return obs

    def save(self):
        leaves = jax.tree.leaves(self._require())
        return {'keys': np.asarray(self._keys), 'state': [np.asarray(x) for x in leaves]}

    def load(self, data):
        structure = jax.tree.structure(self._require())
        self._keys = jnp.asarray(data['keys'])
        self._state = jax.tree.unflatten(structure, [jnp.asarray(x) for x in data['state']])

    def _require(self):
        """The state of all environments, zeros before the first episode."""
        if self._state is None:
            one, _ = jax.eval_shape(self._rules.reset, self._keys[0])
            shape = lambda x: jnp.zeros((len(self), *x.shape), x.dtype)
            self._state = jax.tree.map(shape, one)
        return self._state

    def _step_all(self, keys, state, action, reset):
        new, use = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        keys = jnp.where(reset[:, None], keys, new)
        state, obs, reward, terminal, last = jax.vmap(self._rules.step)(use, state, action)
        flags = {'is_last': last, 'is_terminal': terminal}
        flags = {k: v.astype(bool) for k, v in flags.items()}
        return keys, state, {**obs, 'reward': reward.astype(jnp.float32), **flags}

    def _reset_one(self, keys, state, index):
        key, use = jax.random.split(keys[index])
        one, obs = self._rules.reset(use)
        state = jax.tree.map(lambda old, new: old.at[index].set(new), state, one)
        return keys.at[index].set(key), state, obs
