"""What a model has learnt: embeddings, distances, and which ASVs drive a prediction."""
