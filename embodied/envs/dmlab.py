"""DeepMind Lab, built from source. Module `deepmind_lab`; docs/environments.md says how.

Written from its documentation and tested on a stand-in, not run with the simulator itself.
"""

import functools
import re
import zlib

import elements
import numpy as np

from ..core import base

LEVELS = (
    *('rooms_collect_good_objects_train', 'rooms_exploit_deferred_effects_train'),
    *('rooms_select_nonmatching_object', 'rooms_watermaze', 'rooms_keys_doors_puzzle'),
    *('language_select_described_object', 'language_select_located_object'),
    *('language_execute_random_task', 'language_answer_quantitative_question'),
    *('lasertag_one_opponent_small', 'lasertag_three_opponents_small'),
    *('lasertag_one_opponent_large', 'lasertag_three_opponents_large'),
    *('natlab_fixed_large_map', 'natlab_varying_map_regrowth', 'natlab_varying_map_randomized'),
    *('skymaze_irreversible_path_hard', 'skymaze_irreversible_path_varied'),
    *('psychlab_arbitrary_visuomotor_mapping', 'psychlab_continuous_recognition'),
    *('psychlab_sequential_comparison', 'psychlab_visual_search'),
    *('explore_object_locations_small', 'explore_object_locations_large'),
    *('explore_obstructed_goals_small', 'explore_obstructed_goals_large'),
    *('explore_goal_locations_small', 'explore_goal_locations_large'),
    *('explore_object_rewards_few', 'explore_object_rewards_many'),
)
# Look right and down in pixels per frame, strafe right, forward, fire, jump, crouch.
IMPALA = (
    *((0, 0, 0, 1, 0, 0, 0), (0, 0, 0, -1, 0, 0, 0), (0, 0, -1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0)),
    *((-20, 0, 0, 0, 0, 0, 0), (20, 0, 0, 0, 0, 0, 0), (-20, 0, 0, 1, 0, 0, 0)),
    *((20, 0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0, 0)),
)
POPART = (
    *((0, 0, 0, 1, 0, 0, 0), (0, 0, 0, -1, 0, 0, 0), (0, 0, -1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0)),
    *((-10, 0, 0, 0, 0, 0, 0), (10, 0, 0, 0, 0, 0, 0), (-60, 0, 0, 0, 0, 0, 0)),
    *((60, 0, 0, 0, 0, 0, 0), (0, 10, 0, 0, 0, 0, 0), (0, -10, 0, 0, 0, 0, 0)),
    *((-10, 0, 0, 1, 0, 0, 0), (10, 0, 0, 1, 0, 0, 0), (-60, 0, 0, 1, 0, 0, 0)),
    *((60, 0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0, 0)),
)
ACTIONS = {'impala': IMPALA, 'popart': POPART}
WORDS, VOCABULARY = 16, 1000


def check(task: str) -> None:
    """Raises a ValueError for a level that does not exist; those with a / are not known here."""
    if '/' not in task and task not in LEVELS:
        raise ValueError(
            f'task: unknown dmlab level {task!r}, allowed are paths such as tests/empty_room_test '
            f'and those of DMLab-30: {", ".join(LEVELS)}'
        )


class DMLab(base.Env):
    """Images from the first person, and instructions as numbers where the level gives them.

    Arguments:
        level: name of a level of DMLab-30, or the path of any other.
        repeat: frames for which each action is held; their rewards are summed.
        size: height and width of the image.
        mode: `train`, or `test` for the levels and settings that are held out.
        actions: the 15 of the PopArt paper, `popart`, or the 9 of `impala`.
        episodic: the end of an episode is terminal; the simulator does not tell it from a limit of
            time, which most levels end by.
        text: observe `instr` (int32, 16), one number per word; None = where the level is about
            language.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(
        self,
        level,
        repeat=4,
        size=(64, 64),
        mode='train',
        actions='popart',
        episodic=True,
        text=None,
        seed=None,
    ):
        check(level)
        # Not at the top: a level can be checked without the simulator.
        import deepmind_lab

        height, width = size
        self._size = tuple(size)
        self._repeat = repeat
        self._actions = np.array(ACTIONS[actions], np.intc)
        self._episodic = episodic
        self._text = level.startswith('language') if text is None else text
        config = {'height': str(height), 'width': str(width), 'logLevel': 'WARN'}
        if mode == 'test':
            config.update(allowHoldOutLevels='true', mixerSeed=str(0x600D5EED))
            level = re.sub('_train$', '_test', level)
        self._env = deepmind_lab.Lab(
            level=level if '/' in level else f'contributed/dmlab30/{level}',
            observations=['RGB_INTERLEAVED', *(['INSTR'] if self._text else [])],
            config=config,
        )
        self._rng = np.random.default_rng(seed)
        self._last = None  # The last observation, as there is none at the end of an episode.
        self._done = True

    @functools.cached_property
    def obs_space(self):
        spaces = {'image': elements.Space(np.uint8, (*self._size, 3))}
        if self._text:
            spaces['instr'] = elements.Space(np.int32, (WORDS,), 0, VOCABULARY + 1)
        return {
            **spaces,
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {
            'action': elements.Space(np.int32, (), 0, len(self._actions)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._done:
            self._env.reset(seed=int(self._rng.integers(2**31)))
            self._done = False
            return self._obs(0.0, is_first=True)
        reward = self._env.step(self._actions[int(action['action'])], num_steps=self._repeat)
        self._done = not self._env.is_running()
        terminal = self._done and self._episodic
        return self._obs(reward, is_last=self._done, is_terminal=terminal)

    def close(self):
        self._env.close()

    def _obs(self, reward, is_first=False, is_last=False, is_terminal=False):
        if not is_last:
            values = self._env.observations()
            self._last = {'image': np.array(values['RGB_INTERLEAVED'])}
            if self._text:
                self._last['instr'] = _encode(values['INSTR'])
        return {
            **self._last,
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }


def _encode(text):
    """Words as numbers from 1, the same in every process; 0 fills up."""
    words = re.findall(r'\w+', text.lower())[:WORDS]
    result = np.zeros(WORDS, np.int32)
    result[: len(words)] = [1 + zlib.crc32(x.encode()) % VOCABULARY for x in words]
    return result
