"""What the actions do: QIIME 2 views in, one call of the core, a view out."""
