"""The encoder that comes with the package: its files, and which reads it is for."""
