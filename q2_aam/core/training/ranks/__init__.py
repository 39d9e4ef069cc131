"""One training loop by several processes (ranks), on the devices of one host or of several."""
