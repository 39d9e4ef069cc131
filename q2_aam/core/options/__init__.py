"""Every option of a run: its name, default, range and help text. Loads without torch."""
