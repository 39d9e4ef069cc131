"""The nucleotide level against a slow one that reads patch after patch, and its invariances."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.data import nucleotides
from q2_aam.core.model.asv_encoder import ASVEncoder
from q2_aam.core.model.tensor_shapes import SURROUNDINGS
from q2_aam.core.options.config import ModelConfig

SMALL = ModelConfig(embedding_dim=16, attention_heads=2, attention_layers=2, max_bp=60)
SIZES = (1, 4, 6, 7, 8, 32)


def encoder_of(patch_size):
    torch.manual_seed(patch_size)
    return ASVEncoder(replace(SMALL, patch_size=patch_size)).eval()


def random_tokens(n, length, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 5, (n, length))).byte()


def slow_hidden(encoder, sequence):
    """Put the patches of one sequence into context [P, D], reading each window by itself."""
    size, windows = encoder.patch_size, []
    parts = encoder.composition[sequence.long()]  # [L, 5]
    for first in range(0, len(sequence), size):
        window = torch.zeros(size + 2 * SURROUNDINGS, nucleotides.N_PARTS)
        for place in range(len(window)):
            at = first - SURROUNDINGS + place
            if 0 <= at < len(sequence):
                window[place] = parts[at]
        windows.append(window.T.flatten())
    x = encoder.patch(torch.stack(windows)) + encoder.position[: len(windows)]
    return encoder.transformer(x[None])[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [1, 5, 24, 59, 60])
def test_patches_are_those_of_the_slow_way(size, length):
    encoder, tokens = encoder_of(size), random_tokens(3, length)
    embedded = encoder(tokens)
    for row, sequence in enumerate(tokens):
        hidden = slow_hidden(encoder, sequence)
        assert len(hidden) == -(-length // size)
        expected = encoder.pooling(hidden[None])[0]
        torch.testing.assert_close(embedded[row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_logits_of_a_nucleotide_come_from_its_own_place_in_its_patch(size):
    encoder, tokens = encoder_of(size), random_tokens(2, 23)
    masked_at = torch.zeros_like(tokens, dtype=torch.bool)
    masked_at[0, [0, 5, 22]] = masked_at[1, [7, 8]] = True
    found = iter(encoder.restore_masked(tokens, masked_at))
    masked = tokens.masked_fill(masked_at, nucleotides.MASK)
    for row, places in (0, [0, 5, 22]), (1, [7, 8]):
        logits = encoder.restore(slow_hidden(encoder, masked[row]))  # [P, 4 · size]
        for place in places:
            start = 4 * (place % size)
            expected = logits[place // size, start : start + 4]
            torch.testing.assert_close(next(found), expected, atol=1e-5, rtol=0)
    assert next(found, None) is None


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SIZES),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.integers(0, 10),
)
def test_reads_of_any_length_do_not_depend_on_padding(size, lengths, more):
    encoder = encoder_of(size)
    reads = [random_tokens(1, length, seed)[0] for seed, length in enumerate(lengths)]
    padded = torch.zeros((len(reads), max(lengths) + more), dtype=torch.uint8)
    for row, read in enumerate(reads):
        padded[row, : len(read)] = read
    together = encoder(padded)
    alone = torch.cat([encoder(read[None]) for read in reads])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_each_nucleotide_of_a_read_counts(size):
    encoder, tokens = encoder_of(size), random_tokens(1, 41)
    before = encoder(tokens)
    for place in range(41):
        changed = tokens.clone()
        changed[0, place] = changed[0, place] % 4 + 1
        assert (encoder(changed) - before).abs().max() > 1e-4
