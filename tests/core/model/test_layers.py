"""The building blocks of the model."""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from q2_aam.core.model import layers


def gradient_of(apply):
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    y = apply(lambda z: F.dropout(z, 0.5), x)
    y.sum().backward()
    return x.grad, y.detach(), torch.rand(1)


def test_recomputed_drops_the_same_again():
    gradient, y, _ = gradient_of(layers.recomputed)
    assert torch.equal(gradient, y)
    assert 0 < y.count_nonzero() < 1000


def test_recomputed_drops_the_same_again_on_an_apple_gpu(monkeypatch):
    """PyTorch leaves the random numbers of such a GPU alone, so that we put them back."""
    monkeypatch.setattr(torch.mps, "get_rng_state", torch.get_rng_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", torch.set_rng_state)

    def recomputed(function, x, **more):
        return checkpoint(function, x, use_reentrant=False, preserve_rng_state=False, **more)

    gradient, y, _ = gradient_of(recomputed)
    assert not torch.equal(gradient, y)
    gradient, y, drawn = gradient_of(
        lambda function, x: recomputed(function, x, context_fn=layers._same_draws)
    )
    assert torch.equal(gradient, y)
    assert torch.equal(drawn, gradient_of(lambda function, x: function(x))[2])


def test_attention_leaves_cudnn_out_on_a_gpu_alone():
    """Its plans for shapes that it has not seen took most of a training."""
    for device, expected in (("cuda", False), ("cpu", True)):
        with layers.attention_kernels(device):
            assert torch.backends.cuda.cudnn_sdp_enabled() is expected
            assert torch.backends.cuda.math_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled()
