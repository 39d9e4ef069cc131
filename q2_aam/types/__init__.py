"""Semantic types, their formats and transformers."""
