"""Quantiles that cannot cross."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from q2_aam.core.model.quantile_outputs import in_order, outwards

LEVELS = (0.05, 0.25, 0.5, 0.95)


NUMBERS = st.floats(-100, 100, width=32)


ROWS = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(7)), elements=NUMBERS)


@given(ROWS, st.integers(1, 5))
def test_in_order_never_crosses(raw, median):
    made = in_order(torch.from_numpy(raw), median)
    assert (made.diff(dim=1) >= 0).all()
    assert torch.equal(made[:, median], torch.from_numpy(raw)[:, median])


@given(ROWS, st.integers(1, 5))
def test_outwards_only_widens(moved, median):
    before, after = torch.from_numpy(moved), outwards(torch.from_numpy(moved), median)
    assert (after.diff(dim=1) >= 0).all()
    assert (after[:, :median] <= before[:, :median]).all()
    assert (after[:, median:] >= before[:, median:]).all()
    assert torch.equal(after[:, median], before[:, median])


def test_in_order_reaches_any_increasing_numbers():
    wanted = torch.tensor([[-3.0, -0.5, 0.2, 0.7]])
    steps = wanted.diff(dim=1).expm1().log()
    raw = torch.stack([steps[0, 0], steps[0, 1], wanted[0, 2], steps[0, 2]])[None]
    torch.testing.assert_close(in_order(raw, 2), wanted)
