"""Commands that measure speed, memory and accuracy; each has ``--help``."""
