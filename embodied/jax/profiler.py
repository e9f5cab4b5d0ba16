"""A trace of a few updates on request, to open in XProf, TensorBoard or Perfetto."""

import jax


class Profiler:
    """Traces `amount` updates, beginning `skip` updates after the start, into `folder`."""

    def __init__(self, folder, amount, skip=5):
        self.folder = folder
        self.begin = skip
        self.end = skip + amount if amount else None
        self.count = 0

    def step(self):
        """Call before every update."""
        if self.end is None:
            return
        if self.count == self.begin:
            jax.profiler.start_trace(str(self.folder))
            print(f'Profiler: tracing {self.end - self.begin} updates into {self.folder}')
        elif self.count == self.end:
            self.close()
        self.count += 1

    def close(self):
        if self.end is not None and self.begin < self.count <= self.end:
            jax.profiler.stop_trace()
        self.end = None
