"""Newick trees, branches as a sparse matrix, UniFrac and Faith PD. Loads without torch."""
