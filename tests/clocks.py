"""A clock for tests of what takes time."""


class Timed:
    """Stands for the module `time`; its clock is set by hand."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        """Return the seconds that were set."""
        return self.now
