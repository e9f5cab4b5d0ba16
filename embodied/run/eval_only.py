"""Evaluation of an agent that was trained before: episodes, their numbers, videos of some."""

import contextlib
import pathlib

from ..core import driver
from ..core.system import signals
from ..core.workers import supervisor
from . import evaluate, pretrained, videos


def eval_only(make_agent, make_env, make_logger, args):
    """Let the agent of `from_checkpoint` play `eval_eps` episodes, then end.

    Of the checkpoint, only the agent is read. Prints the results and writes them to eval.json;
    `eval_video` of the episodes become videos/episode-<n>.mp4. SIGINT and SIGTERM end it with the
    episodes that are done. Without a checkpoint, the agent plays as it begins.
    """
    logdir = pathlib.Path(args.logdir)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stop())
        logger = make_logger()
        stack.callback(logger.close)
        agent = make_agent()
        stack.callback(agent.close)
        if args.from_checkpoint:
            logger.step.increment(pretrained.load(agent, args))
        envs = min(args.eval_envs, args.eval_eps)
        made = driver.makers(make_env, [evaluate.EVAL_INDEX + i for i in range(envs)])
        tolerance = supervisor.Tolerance.of(args, stop=stop)
        evaluator = evaluate.Evaluator(agent, made, args.parallel_envs, tolerance=tolerance)
        stack.callback(evaluator.close)
        cinema = videos.Videos(logdir / 'videos', agent, envs, args)
        evaluator.on_step(cinema.add)

        def on_episode(results):
            print(f'Evaluation episode {len(results)}: {results[-1]}', flush=True)
            cinema.finish(len(results))

        results = evaluator(args.eval_eps, on_episode, stop)
        if not results:
            print('No episode was completed.', flush=True)
            return
        stats = evaluate.summary(results)
        logger.add(stats, prefix='eval')
        logger.add(evaluator.stats(), prefix='eval_epstats')
        logger.write()
        evaluate.write(logdir / 'eval.json', int(logger.step), stats, results)
        print(evaluate.describe(stats), flush=True)
