"""The pipelines: which samples train and which test, and the actions that they are made of."""
