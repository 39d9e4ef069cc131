"""The training loop, which is Lightning's: module, callbacks, checkpoints, resuming, optimizer."""

# Before anything else of Lightning, as it reads the environment when it is imported.
from q2_aam.core.training.loop import environment  # noqa: F401
