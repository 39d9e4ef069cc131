"""What a model says of a batch.

Shapes: B samples, S ASVs of the largest of them, P masked positions, D embedding width, C outputs,
Q quantiles, K training samples that are asked as well.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """What a model says of a batch.

    Parameters
    ----------
    embedding : Tensor of shape (B, D), optional
        One vector a sample; its distances predict UniFrac.
    diversity : Tensor of shape (B,), optional
        Predicted Faith PD, in branch length.
    nucleotides : Tensor of shape (P, 4), optional
        Logits of A, C, G, T at the masked positions, in row-major order.
    abundance : Tensor of shape (B, S), optional
        Logits of the relative abundances within each sample; minus infinity where padded.
    target : Tensor of shape (B, C), optional
        The learnt value (C = 1), which is the median where quantiles are learnt and there is no
        comparison, or the logits of the classes.
    quantiles : Tensor of shape (B, Q), optional
        Quantiles of the learnt value, where the model has learnt them.
    compared : tuple of Tensor of shape (B + K, C)
        What each network of the ensemble predicts by its comparison.
    read : tuple of Tensor of shape (B, C) or (B, Q)
        What each network of the ensemble reads from the place of a sample alone.
    """

    embedding: Tensor | None = None
    diversity: Tensor | None = None
    nucleotides: Tensor | None = None
    abundance: Tensor | None = None
    target: Tensor | None = None
    quantiles: Tensor | None = None
    compared: tuple[Tensor, ...] = ()
    read: tuple[Tensor, ...] = ()
