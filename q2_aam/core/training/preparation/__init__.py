"""From what the user gave to what the training loop takes."""
