import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.artifact.history_file import MAX_BYTES, MAX_COLUMNS, column_names, parse, render


@given(
    st.sets(st.integers(0, 10**9), max_size=6),
    st.lists(st.lists(st.floats() | st.none(), min_size=6, max_size=6), max_size=4),
)
def test_render_parse_round_trip(epochs, columns):
    table = pd.DataFrame({"epoch": np.array(sorted(epochs), dtype=np.int64)})
    for i, values in enumerate(columns):
        table[f"val/metric-{i}"] = np.array(values, dtype=float)[: len(table)]
    pd.testing.assert_frame_equal(parse(render(table)), table, check_exact=True)


def test_render_missing_values_are_empty():
    table = pd.DataFrame({"epoch": [0, 1], "lr": [0.1, float("nan")]})
    assert render(table) == b"epoch\tlr\n0\t0.1\n1\t\n"


def test_render_of_nothing_is_a_header():
    assert render(pd.DataFrame()) == b"epoch\n"
    assert parse(b"epoch\n").empty


def test_render_thins_what_is_too_long():
    n, columns = 20_002, 12
    values = np.random.default_rng(0).random((n, columns))
    table = pd.DataFrame(values, columns=[f"val/{i}" for i in range(columns)])
    table.insert(0, "epoch", np.arange(n))
    data = render(table)
    expected = table.iloc[[*range(0, n - 1, 2), n - 1]].reset_index(drop=True)
    assert MAX_BYTES / 2 < len(data) <= MAX_BYTES
    pd.testing.assert_frame_equal(parse(data), expected, check_exact=True)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lr": [0.1], "epoch": [1]}, "the first of them 'epoch'"),
        ({"epoch": [1, 1]}, "not increasing"),
        ({"epoch": [-1]}, "not increasing integers from 0"),
        ({"epoch": [1], "a\tb": [0.1]}, "has 3 columns"),
    ],
)
def test_render_refuses(table, message):
    with pytest.raises(ValueError, match=message):
        render(pd.DataFrame(table))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must begin with a line of different column names"),
        (b"epoch", "must begin"),
        (b"step\tlr\n", "must begin"),
        (b"epoch\tlr\tlr\n", "must begin"),
        (b"epoch\t\xff\n", "is not UTF-8"),
        (b"epoch\t\n", "printable names"),
        (b"epoch" + b"".join(b"\t%d" % i for i in range(MAX_COLUMNS)) + b"\n", "at most 500"),
        (b"epoch\tlr\n0\t0.1", "end with a line feed"),
        (b"epoch\tlr\r\n0\t0.1\r\n", "printable|line feed"),
        (b"epoch\tlr\n0\t0.1\n1\n", "has 2 columns but not in line 3"),
        (b"epoch\tlr\n0\t0.1\t2\n", "has 2 columns but not in line 2"),
        (b"epoch\n\n", "not increasing integers"),
        (b"epoch\tlr\n0.5\t1\n", "not increasing integers"),
        (b"epoch\tlr\ninf\t1\n", "not increasing integers"),
        (b"epoch\tlr\n1\t0\n0\t1\n", "not increasing integers"),
        (b"epoch\tlr\n0\tfast\n", "a cell that is not a number"),
        (b'epoch\tlr\n0\t"1"\n', "a cell that is not a number"),
        (b"epoch\tlr\n0\t\xff\n", "a cell that is not a number"),
    ],
)
def test_parse_refuses(data, message):
    with pytest.raises(ValueError, match=message):
        parse(data)


def test_column_names_reads_the_first_line_only():
    assert column_names(b"epoch\tval/total_loss\n\xff\xff") == ["epoch", "val/total_loss"]
