"""The network: nucleotide level, sample level, prediction of a target; tensors and spec."""
