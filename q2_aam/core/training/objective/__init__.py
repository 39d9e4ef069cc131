"""What a run learns: its losses, what is compared with UniFrac, and validation metrics."""
