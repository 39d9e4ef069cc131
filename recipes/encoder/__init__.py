"""How the encoder that ships was made: from a corpus of many studies, without labels.

Run ``python -m recipes.encoder --help``. docs/encoder.md says what came out.
"""
