"""Which samples are held back: by chance, and in whole groups."""
