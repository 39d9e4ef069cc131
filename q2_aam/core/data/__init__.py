"""What a model reads: sequences, sample tables, metadata, targets, mini-batches, simulations."""
