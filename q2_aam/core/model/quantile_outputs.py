"""Quantiles as a model predicts them: in order, whatever its weights are.

Shapes: B samples, Q quantiles.
"""

import torch
from torch import Tensor, nn


def in_order(raw: Tensor, median: int) -> Tensor:
    """Make quantiles of any numbers [..., Q]: the median, and steps up and down from it.

    So they cannot cross, whatever the weights are.
    """
    raw = raw.float()
    middle, steps = raw[..., median, None], nn.functional.softplus(raw)
    below = middle - steps[..., :median].flip(-1).cumsum(dim=-1).flip(-1)
    above = middle + steps[..., median + 1 :].cumsum(dim=-1)
    return torch.cat([below, middle, above], dim=-1)


def outwards(quantiles: Tensor, median: int) -> Tensor:
    """Bring quantiles [B, Q] that were moved one by one back into order, by widening alone."""
    below = quantiles[:, : median + 1].flip(1).cummin(dim=1).values.flip(1)
    above = quantiles[:, median:].cummax(dim=1).values
    return torch.cat([below, above[:, 1:]], dim=1)
