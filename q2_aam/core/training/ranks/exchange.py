"""What ranks tell each other in a step: sums, and rows of a few numbers.

Nothing here is differentiated: gradients are added up by DDP alone.
"""

import torch
from torch import Tensor, distributed


def n_ranks() -> int:
    """Return how many ranks there are; one where there is no process group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def this_rank() -> int:
    """Return the number of this rank, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def total(values: Tensor) -> Tensor:
    """Add up a tensor over all ranks."""
    values = values.clone()
    if n_ranks() > 1:
        distributed.all_reduce(values)
    return values


def all_rows(mine: Tensor, sizes: list[int]) -> Tensor:
    """Put the rows of all ranks one after the other.

    Parameters
    ----------
    mine : Tensor of shape (n, D)
    sizes : list of int
        How many rows each rank has.

    Returns
    -------
    Tensor of shape (sum of sizes, D)
    """
    mine = mine.detach()
    if n_ranks() == 1:
        return mine
    padded = mine.new_zeros(max(sizes), mine.shape[1])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])


def rows_of_any_number(mine: Tensor) -> Tensor:
    """Put the rows of all ranks one after the other where no rank knows how many others have."""
    count = torch.tensor([[len(mine)]], device=mine.device)
    sizes = all_rows(count, [1] * n_ranks()).flatten().tolist()
    return all_rows(mine, sizes)
