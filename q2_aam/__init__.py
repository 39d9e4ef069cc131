"""QIIME 2 plugin for Attention All Microbes: transformers over nucleotides and ASVs."""

__version__ = "0.1.0"
