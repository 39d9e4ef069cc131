"""One run: preparation, losses, training loop, callbacks, checkpoints, resuming, devices."""
