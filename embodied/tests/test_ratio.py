"""The ratio helper: the average is exact, whatever the steps between calls."""

import pytest

from embodied.core import ratio


@pytest.mark.parametrize('value', [0.03, 0.5, 1, 2.5])
@pytest.mark.parametrize('stride', [1, 4, 7])
def test_average(value, stride):
    counter = ratio.Ratio(value)
    total = sum(counter(step) for step in range(0, 1000 * stride, stride))
    assert abs(total - 1 - value * 999 * stride) <= 1.001


def test_never_and_always():
    assert [ratio.Ratio(0)(step) for step in range(3)] == [0, 0, 0]
    always = ratio.Ratio(-1)
    assert [always(5) for _ in range(3)] == [1, 1, 1]


def test_save_and_load():
    counter, other = ratio.Ratio(0.3), ratio.Ratio(0.3)
    for step in range(17):
        counter(step)
    other.load(counter.save())
    assert [other(x) for x in range(17, 40)] == [counter(x) for x in range(17, 40)]
