"""Prediction from the training samples that a model stores: kernel ridge regression and trees."""
