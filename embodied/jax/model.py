"""What an algorithm writes: pure functions over ninjax modules. `Agent` compiles and runs them."""

import elements


class Model:
    """An algorithm. Its modules are made in the constructor, at the root of the name scope.

    The methods run inside of compiled programs, with parameters and a seed in the ninjax context.
    `B` is the batch and `T` is time; every carry is a tree of arrays with B in front.

        carry = model.initial(B)
        carry, act, out = model.policy(carry, obs, mode)     obs, act, out (B, ...)
        carry, out, metrics = model.train(carry, data)       data (B, T, ...)
        carry, metrics = model.report(carry, data)
        carry, images = model.dream(carry, data, seen)
    """

    obs_space: dict[str, elements.Space]
    act_space: dict[str, elements.Space]

    @property
    def policy_keys(self) -> str:
        """Regular expression of the parameters that `policy` reads."""
        raise NotImplementedError('Return a regular expression.')

    @property
    def entry_space(self) -> dict[str, elements.Space]:
        """Spaces of what `policy` stores in replay beside the transition, in the compute type."""
        raise NotImplementedError('Return spaces by name.')

    def needed(self, data: dict) -> dict:
        """What of a batch (B, T, ...) of NumPy arrays `train` and `report` need on the device."""
        return data

    @property
    def faults(self) -> list[str]:
        """Names for `metrics['fault']`, known once `train` has been traced."""
        return []

    def initial(self, batch_size: int):
        """First carry of `policy`, `train` and `report`."""
        raise NotImplementedError('Return a tree of arrays.')

    def policy(self, carry, obs, mode):
        """Actions for observations, in mode `train` or `eval`."""
        raise NotImplementedError('Return carry, actions and outputs.')

    def train(self, carry, data):
        """One update. `out['replay']`, if there, goes back to replay by `stepid`.

        An update that was left out, as something was not finite, says so by `metrics['fault']`,
        the number of a name in `faults`, from 1; 0 is a good one.
        """
        raise NotImplementedError('Return carry, outputs and metrics.')

    def report(self, carry, data):
        """Metrics of a batch, videos (T, H, W, C) among them, without an update."""
        raise NotImplementedError('Return carry and metrics.')

    def diagnose(self, metrics: dict, earlier: dict) -> list[str]:
        """What is wrong with the training, as for `embodied.Agent`. Not compiled."""
        return []

    def dream(self, carry, data, seen):
        """Images (B, T, H, W, C) as uint8 by the name of the observation, for people to look at.

        The first `seen` steps are observed, the rest are predicted from the recorded actions. The
        carry returned has seen all. A model that does not predict images returns none.
        """
        return carry, {}
