"""The training loop, which is Lightning's: module, callbacks, checkpoints, resuming, optimizer."""
