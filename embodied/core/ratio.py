"""How many updates are due after a number of environment steps."""


class Ratio:
    """Turns a step counter into a number of repeats, `ratio` per step on average.

    The first call returns 1, whatever the step. 0 means never, a negative ratio every time.

        ratio = Ratio(train_ratio / (batch_size * batch_length))
        for _ in range(ratio(step)):
            train()
    """

    def __init__(self, ratio: float):
        self.ratio = ratio
        self.prev = None

    def __call__(self, step: int) -> int:
        if self.ratio == 0:
            return 0
        if self.ratio < 0:
            return 1
        if self.prev is None:
            self.prev = step
            return 1
        repeats = int((step - self.prev) * self.ratio)
        self.prev += repeats / self.ratio
        return repeats

    def save(self) -> dict:
        return {'prev': self.prev}

    def load(self, data: dict) -> None:
        self.prev = data['prev']
