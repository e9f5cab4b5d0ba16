"""The model card of an exported agent, and the scores that its logdir tells of. No JAX here."""

import json
import pathlib

import numpy as np

from embodied.envs import registry

RECENT = 100  # Training episodes that make a score, where there was no evaluation.
TEXT = """\
---
library_name: dreamerv3-embodied
pipeline_tag: reinforcement-learning
tags:
- reinforcement-learning
- dreamerv3
- world-model
- {task}
{index}---

# DreamerV3 on {task}

A DreamerV3 agent ([Hafner et al., 2025](https://doi.org/10.1038/s41586-025-08744-2)), trained for
{step:,} environment steps on `{task}`: a world model of {world:,} parameters, an actor and a critic
with {rest:,} more.

## Scores

{scores}

## How to use

With JAX and safetensors alone, in this folder:

```python
{example}```

With the program that it was trained by, which also knows the world model:

```python
import dreamerv3

agent = dreamerv3.load('.')
dream = agent.imagine(steps=50)
```

and `python -m dreamerv3.play .` opens the world model as a game.

## Inputs and outputs

| | type | shape | low | high |
| --- | --- | --- | --- | --- |
{spaces}

Continuous actions are from -1 to 1 where the environment has bounds, and integers are below `high`.

## Files

| file | content |
| --- | --- |
{files}

{parity}

## Limits

It was trained on this task and its options in `config.yaml`, and nothing is known about other ones.
Scores are those of the run that it comes from, with one seed.
"""
FILES = {
    'policy.bin': 'one step of the policy, written by `jax.export`, for CPU, CUDA and TPU',
    'policy.mlir': 'the same as StableHLO text',
    'policy.onnx': 'the same with its weights, for a single environment',
    'policy.py': 'runs `policy.bin`',
    'weights.safetensors': 'all parameters but those of the optimizer',
    'config.yaml': 'options of the agent and of its environment',
    'spaces.json': 'observations, actions and inputs of the policy',
    'scores.json': 'the scores above',
}


def write(loaded, folder: pathlib.Path, differences: dict) -> None:
    """scores.json and README.md of an agent (`trained.Trained`) in a folder with the other files.

    differences   largest ones between what was exported and the agent, by the name of the format
    """
    result = scores(loaded.stored.folder, loaded.step * repeat(loaded.stored.config))
    (folder / 'scores.json').write_text(json.dumps(result, indent=2) + '\n')
    files = [f'| `{k}` | {v} |' for k, v in FILES.items() if (folder / k).is_file()]
    sizes = {k: int(np.prod(v.shape)) for k, v in loaded.stored.params.items()}
    world = sum(
        v for k, v in sizes.items() if k.startswith(('enc/', 'dyn/', 'dec/', 'rew/', 'con/'))
    )
    text = TEXT.format(
        task=loaded.task,
        step=loaded.step,
        world=world,
        rest=sum(sizes.values()) - world,
        index=index(loaded.task, result),
        scores=describe(result),
        example=example(loaded.obs_space),
        spaces='\n'.join(space_rows({**loaded.obs_space, **loaded.act_space})),
        files='\n'.join(files),
        parity=parity(differences),
    )
    (folder / 'README.md').write_text(text)


def repeat(config):
    """What steps of the environment are multiplied by in logs."""
    suite = registry.split(config.task)[0]
    return config.env[suite].get('repeat', 1) if suite in config.env else 1


def scores(folder: pathlib.Path, step: int) -> dict:
    """How well an agent plays, by what stands beside its checkpoint, made at a step of the log.

    Numbers of the evaluation with the most steps, else of the last training episodes before; {} if
    there were none.
    """
    folder = folder.parent.parent if folder.parent.name == 'ckpt' else folder
    found = [read_json(x) for x in [folder / 'scores.json', *folder.glob('**/eval.json')]]
    found = [x for x in found if 'score_mean' in x]
    if found:
        best = max(found, key=lambda x: x.get('step', 0))
        return {'kind': 'evaluation', **{k: v for k, v in best.items() if k != 'results'}}
    path = folder / 'scores.jsonl'
    lines = path.read_text().splitlines() if path.is_file() else []
    rows = [json.loads(x) for x in lines if x.endswith('}')]
    rows = [x for x in rows if 'episode/score' in x and x['step'] <= step][-RECENT:]
    if not rows:
        return {}
    values = [x['episode/score'] for x in rows]
    result = {'kind': 'training', 'step': rows[-1]['step'], 'episodes': len(values)}
    functions = {'mean': np.mean, 'std': np.std, 'min': np.min, 'max': np.max}
    return result | {f'score_{k}': float(f(values)) for k, f in functions.items()}


def read_json(path):
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def describe(result):
    """Scores as a table, or a sentence that there are none."""
    if not result:
        return 'It comes without scores: no episode was finished, in training or in evaluation.'
    names = {'evaluation': 'evaluation, greedy', 'training': 'last episodes of training, sampled'}
    number = lambda key: f'{result[key]:.4g}' if key in result else ''
    cells = (names.get(result['kind'], result['kind']), f'{result.get("step", 0):,}')
    cells += tuple(map(number, ('episodes', 'score_mean', 'score_std', 'score_min', 'score_max')))
    return '\n'.join(
        [
            '| episodes of | steps | episodes | mean score | deviation | lowest | highest |',
            '| --- | --- | --- | --- | --- | --- | --- |',
            f'| {" | ".join(cells)} |',
        ]
    )


def index(task, result):
    """The score in the form that model hubs read."""
    if not result:
        return ''
    return f"""\
model-index:
- name: DreamerV3
  results:
  - task:
      type: reinforcement-learning
      name: reinforcement-learning
    dataset:
      name: {json.dumps(task)}
      type: {json.dumps(task)}
    metrics:
    - type: mean_reward
      value: {result['score_mean']:.4g} +/- {result.get('score_std', 0):.3g}
      name: mean_reward
"""


def example(obs_space):
    """Code that acts on an observation of zeros."""
    lines = [
        f'    {k!r}: np.zeros({(1, *s.shape)}, {s.dtype.name!r}),' for k, s in obs_space.items()
    ]
    return '\n'.join(
        [
            'import numpy as np',
            'import policy',
            '',
            "agent = policy.Policy('.')",
            'obs = {  # Of one environment; a batch of several goes as well.',
            *lines,
            '}',
            'print(agent.act(obs))  # Next observations follow; reset() where episodes begin.',
            '',
        ]
    )


def space_rows(spaces):
    """A row of the table for each space; bounds that differ between elements are the outermost."""
    bound = lambda x: 'none' if np.isinf(x).all() else f'{x:g}'
    for key, space in spaces.items():
        low, high = bound(np.min(space.low)), bound(np.max(space.high))
        shape = ' x '.join(map(str, space.shape)) or 'a number'
        yield f'| `{key}` | {space.dtype.name} | {shape} | {low} | {high} |'


def parity(differences):
    parts = ', '.join(f'{v:.2g} for {k}' for k, v in differences.items())
    return (
        'The largest difference between what the exported policy and the trained agent say of\n'
        f'actions, over 100 random observations: {parts}.'
    )
