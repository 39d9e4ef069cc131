"""Building blocks of the model.

Shapes: N sequences or sets in a batch, T their padded length, D embedding width, H heads.
A mask is boolean [N, T], true where there is a token and false where there is padding; None means
that nothing is padded, which takes the faster path.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from q2_aam.core.model.tensor_shapes import FEED_FORWARD_RATIO

LEAST_DEVIATION = 1e-4

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def recomputed(function: Callable, x: Tensor, *others):
    """Apply a function and keep only its inputs: it is applied once more for the gradient.

    Dropout drops the same both times. PyTorch sees to that on CPUs and CUDA GPUs; not on Apple's.
    """
    if x.device.type != "mps":
        return checkpoint(function, x, *others, use_reentrant=False)
    return checkpoint(function, x, *others, use_reentrant=False, context_fn=_same_draws)


def _same_draws():
    return nullcontext(), _draws_of(torch.mps.get_rng_state())


@contextmanager
def _draws_of(state: Tensor) -> Iterator[None]:
    now = torch.mps.get_rng_state()
    torch.mps.set_rng_state(state)
    try:
        yield
    finally:
        torch.mps.set_rng_state(now)


def attention_kernels(device: str) -> AbstractContextManager:
    """Leave cuDNN's kernels of attention out on a GPU.

    They take a second to plan for each shape that they have not seen, and nearly every mini-batch
    has another number of ASVs and samples.
    """
    return sdpa_kernel(KERNELS) if device == "cuda" else nullcontext()


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017).

    Parameters
    ----------
    dim : int
        D, a multiple of heads.
    heads : int
        H.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let each token look at the others; x and the result are [N, T, D]."""
        n, t, d = x.shape
        # Cut along the last axis, so that the gradients are put together again by one copy.
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (p.view(n, t, self.heads, -1).transpose(1, 2) for p in parts)  # [N, H, T, D/H]
        attend = None if mask is None else mask[:, None, None, :]  # [N, 1, 1, T]
        with attention_kernels(x.device.type):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
        return self.out(y.transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    """A pre-norm transformer layer (Xiong et al., 2020): attention, then feed-forward."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, FEED_FORWARD_RATIO * dim)
        self.contract = nn.Linear(FEED_FORWARD_RATIO * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform x [N, T, D] into [N, T, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        hidden = F.gelu(self.expand(self.feed_forward_norm(x)))
        return x + self.dropout(self.contract(hidden))


class Transformer(nn.Module):
    """A stack of blocks with a closing norm.

    Set ``recompute`` to keep only the input of each block in training and recompute the rest for
    the gradient (Chen et al., 2016): the same result with less memory.
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.recompute = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform x [N, T, D] into [N, T, D]."""
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x = recomputed(block, x, mask)
            else:
                x = block(x, mask)
        return self.norm(x)


class Pooling(nn.Module):
    """Summarise a set of tokens: an attention-weighted mean beside the maximum.

    The mean says how much there is of something, the maximum whether there is any of it, which is
    what presence-based measures such as unweighted UniFrac ask.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(dim, heads)
        self.value = nn.Linear(dim, dim)
        self.combine = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool x [N, T, D] over T into [N, D]; an empty set gives a constant."""
        n, _, d = x.shape
        score, present = self.score(x), x  # [N, T, H], [N, T, D]
        if mask is not None:
            score = score.masked_fill(~mask[..., None], torch.finfo(score.dtype).min)
            present = x.masked_fill(~mask[..., None], torch.finfo(x.dtype).min)
        weight = score.softmax(dim=1)
        # Weights sum to one, so that values can be taken of means: the same as means of values.
        mean = weight.transpose(1, 2) @ x  # [N, H, D]
        by_head = self.value.weight.view(self.heads, -1, d)  # [H, D/H, D]
        value = torch.einsum("nhd,hed->nhe", mean, by_head).reshape(n, d) + self.value.bias
        return self.combine(torch.cat([value, present.amax(dim=1)], dim=-1))


class Standardise(nn.Module):
    """Shift and scale each number to mean 0 and standard deviation 1 of the data it was fitted to.

    What an encoder says of different samples differs little beside what it says of all; without
    this the layers above would first have to learn to see the difference.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def fit(self, x: Tensor) -> None:
        """Take the scale of x [N, D]; numbers that do not vary are only shifted."""
        self.mean.copy_(x.mean(dim=0))
        deviation = x.std(dim=0, correction=0)
        self.deviation.copy_(torch.where(deviation > LEAST_DEVIATION, deviation, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Scale x [..., D]."""
        return (x - self.mean) / self.deviation
