"""How what ships with q2-aam was made, to be made again."""
