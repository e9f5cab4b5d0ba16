"""Outputs of the logger together: which are made, the terminal, and errors that end nothing."""

import io
import json
import types

import elements
import numpy as np

from embodied.core.logs import outputs


class Terminal(io.StringIO):
    def isatty(self):
        return True


def config(names=('jsonl', 'scope'), pattern='score'):
    return types.SimpleNamespace(outputs=names, filter=pattern, fps=15)


def steps(path):
    return [json.loads(x)['step'] for x in path.read_text().splitlines()]


def test_logger_writes_all(tmp_path, capsys):
    step = elements.Counter()
    logger = elements.Logger(step, outputs.make_outputs(config(), tmp_path))
    for _ in range(3):
        step.increment(10)
        logger.add({'score': 1.5, 'length': 7}, prefix='episode')
        logger.add({'loss': np.float32(2)}, prefix='train')
        logger.write()
    assert steps(tmp_path / 'metrics.jsonl') == [10, 20, 30]
    assert (tmp_path / 'scores.jsonl').read_text().splitlines()[0] == (
        '{"step": 10, "episode/score": 1.5}'
    )
    assert sorted(x.name for x in (tmp_path / 'scope').iterdir()) == [
        'episode-length.float',
        'episode-score.float',
        'train-loss.float',
    ]
    assert capsys.readouterr().out.splitlines()[:2] == [
        'Step 10',
        '  episode/score       1.5',
    ]
    outputs.truncate(tmp_path, 20)
    assert steps(tmp_path / 'metrics.jsonl') == steps(tmp_path / 'scores.jsonl') == [10, 20]
    assert (tmp_path / 'scope' / 'train-loss.float').stat().st_size == 2 * 16


def test_only_the_terminal(tmp_path):
    assert len(outputs.make_outputs(config(('terminal',)), tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_terminal_has_columns(monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    stream = Terminal()
    names = ('a', 'bb', 'ccc', 'dddd', 'eeeee')
    summaries = [(1200, k, np.asarray(i / 3)) for i, k in enumerate(names)]
    outputs.Terminal('', stream)(summaries)
    assert stream.getvalue().split('\n') == [
        '\r\x1b[KStep 1,200',
        '  a             0  ccc      0.6667  eeeee     1.333',
        '  bb       0.3333  dddd          1',
        '',
    ]


def test_terminal_filters():
    stream = io.StringIO()
    terminal = outputs.Terminal('^b', stream)
    terminal(((1, 'a', np.asarray(1)), (1, 'b', 'text'), (1, 'bv', np.zeros(3))))
    assert stream.getvalue() == ''
    terminal(((1, 'b', np.asarray(np.nan)),))
    assert stream.getvalue() == 'Step 1\n  b       nan\n'


def test_numbers_are_short():
    got = [outputs.number(x) for x in (0, 1, 0.12345, 123.456, 12345.6, 1e6, 1e-5, -2e7, np.inf)]
    assert got == ['0', '1', '0.1235', '123.5', '12346', '1.00e+06', '1.00e-05', '-2.00e+07', 'inf']


def test_failing_output_is_told_once_and_tried_again():
    stream, calls = io.StringIO(), []

    def output(summaries):
        calls.append(summaries)
        if len(calls) in (1, 2, 4):
            raise OSError('No space\nleft')

    safe = outputs.Safe(output, stream)
    for i in range(5):
        safe(i)
    assert calls == [0, 1, 2, 3, 4]
    line = 'Output function failed, will try again: OSError: No space left\n'
    # Once for the first two, and again after it had worked.
    assert stream.getvalue() == 2 * line


def test_last_attempt_at_the_end():
    stream, calls = io.StringIO(), []

    class Output:
        closed = 0

        def __call__(self, summaries):
            calls.append(summaries)
            if len(calls) == 1:
                raise OSError('No space')

        def close(self):
            self.closed += 1
            raise OSError('No way')

    output = Output()
    safe = outputs.Safe(output, stream)
    logger = elements.Logger(elements.Counter(), [safe])
    logger.add({'score': 1})
    logger.close()
    assert calls[1:] == [()]
    assert output.closed == 1
    assert stream.getvalue().splitlines() == [
        'Output Output failed, will try again: OSError: No space',
        'Output Output failed, at the end of the run: OSError: No way',
    ]


def test_outputs_stack(tmp_path):
    names = ('jsonl', 'tensorboard', 'mlflow', 'wandb', 'scope')
    made = outputs.make_outputs(config(names), tmp_path, {'task': 'x'})
    kinds = [type(x.output).__name__ for x in made]
    assert kinds == ['Terminal', *['JSONL'] * 3, 'Scope', 'TensorBoard', 'WandB', 'MLflow']
    assert made[-1].output.options == {'task': 'x'}
    assert list(tmp_path.iterdir()) == []  # Nothing is opened before there is something to write.


def test_all_are_set_aside(tmp_path):
    for name in ('scope', 'tensorboard', 'wandb', 'mlflow'):
        (tmp_path / name).mkdir()
    (tmp_path / 'metrics.jsonl').touch()
    (tmp_path / 'config.yaml').touch()
    folder = outputs.set_aside(tmp_path)
    assert sorted(x.name for x in tmp_path.iterdir()) == ['before-1', 'config.yaml']
    assert len(list(folder.iterdir())) == 5
