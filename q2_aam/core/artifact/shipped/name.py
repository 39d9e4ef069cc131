"""The name of the encoder that ships, which is also that of its folder; nothing is loaded here."""

NAME = "16s-v4-100nt-1"
