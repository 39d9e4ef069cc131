"""How good predictions are: scores with intervals, ROC and calibration curves."""
