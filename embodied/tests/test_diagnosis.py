"""Verdicts in the log of a run: what the agent says, what takes the time, what is missing."""

import types

import numpy as np

from embodied.run import diagnosis
from embodied.tests import runs


def make(updates=5, length=99, ready=True, train_ratio=4, verdicts=()):
    seen = []
    agent = types.SimpleNamespace(diagnose=lambda *args: seen.append(args) or [*verdicts])
    learner = types.SimpleNamespace(
        updates=updates,
        batch_steps=1024,
        ready=ready,
        args=types.SimpleNamespace(train_ratio=train_ratio),
    )
    return diagnosis.Diagnosis(agent, range(length), learner), seen


SLOW_ENVS = {
    'driver/sum': 90.0,
    'driver/frac': 0.9,
    'driver/agent.policy/sum': 1.0,
    'driver/agent.policy/frac': 0.01,
    'driver/agent.policy/count': 100,
    'driver/agent.policy/min': 0.01,
}


def test_agent_is_asked_about_scalars():
    diagnose, seen = make(verdicts=['bad'])
    metrics = {'loss': np.float32(1), 'video': np.zeros((2, 3))}
    assert diagnose(metrics, {}, 0) == ['bad']
    assert diagnose({'loss': 2.0}, {}, 2) == ['bad']
    assert diagnose({}, {}, 5) == []  # There is nothing to judge.
    assert diagnose({'loss': 3.0}, {}, 5) == ['bad']
    assert seen == [
        ({'loss': 1.0}, {}),
        ({'loss': 2.0}, {'loss': 1.0}),
        ({'loss': 3.0}, {'loss': 2.0}),
    ]


def test_slow_parts_matter_where_something_is_learned():
    diagnose, _ = make()
    assert diagnose({'loss': 1.0}, SLOW_ENVS, 0) == []  # Once may be chance.
    (text,) = diagnose({'loss': 1.0}, SLOW_ENVS, 0)
    assert text.startswith('environments take 89% of the time')
    assert diagnose({}, SLOW_ENVS, 0) == []
    for _ in range(3):
        assert diagnose({'loss': 1.0}, SLOW_ENVS, 5) == []


def test_empty_replay_is_told():
    text = 'no update yet: replay holds 99 of 1,024 steps of a batch'
    assert make(updates=0, ready=False)[0]({}, {}, 0) == [text]
    assert make(updates=0, ready=True)[0]({}, {}, 0) == []
    assert make(updates=3, ready=False)[0]({}, {}, 0) == []
    assert make(updates=0, ready=False, train_ratio=0)[0]({}, {}, 0) == []


def test_verdicts_are_in_the_log(tmp_path, capsys):
    parts = runs.Parts(tmp_path)
    parts.agent.diagnose = lambda metrics, earlier: [f'loss is {metrics["loss"]:.0f}', 'bad']
    parts.train()
    lines = capsys.readouterr().out.splitlines()
    assert any(x.startswith('! loss is ') for x in lines)
    assert lines.count('! bad') == sum(x.startswith('! loss is ') for x in lines) > 1
    texts = sorted((tmp_path / 'scope' / 'diagnosis.txt').glob('*-*.txt'))
    assert texts[-1].read_text().splitlines()[-1] == 'bad'


def test_quiet_where_all_is_well(tmp_path, capsys):
    runs.Parts(tmp_path).train()
    lines = capsys.readouterr().out.splitlines()
    assert [x for x in lines if x.startswith('!') and 'no update yet' not in x] == []
