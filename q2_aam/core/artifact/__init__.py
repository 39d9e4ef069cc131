"""The model directory on disk: checked without torch, read and written in one place."""
