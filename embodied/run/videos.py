"""Episodes as mp4: what the environment showed, and beside it what the agent expected to see."""

import numpy as np

from ..core.logs import scopes

BORDER = 2
SEEN, DREAMED = (0, 255, 0), (255, 0, 0)
HEIGHT = 256  # Smaller images are enlarged by a whole factor, to about this many pixels.
NO_IMAGE = (
    'run.eval_video: there is no video, as the environment shows no image. Those of Gymnasium do '
    'with --env.gym.render True'
)
LIMIT = 10_000  # Steps of an episode that are shown, as they are held in memory.


class Videos:
    """Collects the transitions of the episodes to show, and writes a file for each.

    videos = Videos(folder, agent, envs, args)
    evaluator.on_step(videos.add)
    videos.finish(number)          after each episode that ends
    """

    def __init__(self, folder, agent, envs, args):
        self.folder = folder
        self.agent = agent
        self.fps = args.fps
        self.length = max(2, args.report_length)
        amount = args.eval_video
        self.shares = [amount // envs + (i < amount % envs) for i in range(envs)]
        self.open = {}
        self.ended = None
        self.told = False

    def add(self, tran, worker):
        """One step of one environment."""
        if not self.shares[worker]:
            return
        if tran['is_first']:
            self.open[worker] = []
        if len(self.open[worker]) < LIMIT:
            # Copies, as a value is part of the batch of all workers, which it would keep alive.
            self.open[worker].append({k: np.array(v) for k, v in tran.items()})
        if tran['is_last']:
            self.shares[worker] -= 1
            self.ended = self.open.pop(worker)

    def finish(self, number):
        """Write the episode that has just ended, if it is one of those to show."""
        trans, self.ended = self.ended, None
        if trans is None:
            return
        episode = {k: np.stack([x[k] for x in trans]) for k in trans[0]}
        images = {k: v for k, v in episode.items() if v.dtype == np.uint8 and v.ndim == 4}
        if not images:
            if not self.told:
                print(NO_IMAGE, flush=True)
            self.told = True
            return
        path = self.folder / f'episode-{number}.mp4'
        frames = draw(images, self.agent.dream(episode, self.length), self.length)
        scopes.write_video(path, frames, self.fps)
        print(f'Wrote {path}', flush=True)


def draw(images: dict, dreams: dict, length: int) -> np.ndarray:
    """Images (T, H, W, C) by name and their dreams to one video (T, H', W', 3).

    Truth is on the left and dream on the right, in a green frame while the agent sees and in a red
    one while it dreams. Several images are below each other.
    """
    steps = len(next(iter(images.values())))
    seen = np.arange(steps) % length < observed(length)
    color = np.where(seen[:, None], SEEN, DREAMED)
    rows = []
    for key, truth in images.items():
        parts = [truth, dreams[key]] if key in dreams else [truth]
        x = enlarge(np.concatenate([rgb(x) for x in parts], 2))
        height, width = x.shape[1:3]
        row = np.empty((steps, height + 2 * BORDER, width + 2 * BORDER, 3), np.uint8)
        row[:] = (color if key in dreams else np.zeros((steps, 3)))[:, None, None]
        row[:, BORDER:-BORDER, BORDER:-BORDER] = x
        rows.append(row)
    width = max(x.shape[2] for x in rows)
    rows = [np.pad(x, [(0, 0), (0, 0), (0, width - x.shape[2]), (0, 0)]) for x in rows]
    return np.concatenate(rows, 1)


def observed(length: int) -> int:
    """How many of `length` steps an agent sees before it dreams, see `Agent.dream`."""
    return (length + 1) // 2


def rgb(image):
    """Less than three channels are shown as gray, of more the first three."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, -1)


def enlarge(frames):
    factor = max(1, HEIGHT // frames.shape[1])
    return frames.repeat(factor, 1).repeat(factor, 2)
