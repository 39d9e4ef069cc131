import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.artifact.samples_file import HEADER, check_header, parse, render
from q2_aam.core.data.splits.roles import LEFT_OUT, MAX_ID_BYTES, REASONS, TRAINING, roles_table

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=1)
PRINTABLE = IDS.filter(lambda name: min(name) >= " ")
LINES = HEADER + b"\na\ttraining\t\n"


@given(
    st.lists(PRINTABLE, unique=True, max_size=12),
    st.lists(st.sampled_from(REASONS), min_size=12, max_size=12),
)
def test_render_parse_round_trip(ids, reasons):
    training, validation, others = ids[:3], ids[3:6], ids[6:]
    table = roles_table(training, validation, dict(zip(others, reasons, strict=False)))
    again = parse(render(table))
    pd.testing.assert_frame_equal(again, table)
    assert list(again.index) == ids


def test_render_of_nothing_is_a_header():
    assert render(roles_table([], [], {})) == HEADER + b"\n"
    assert parse(HEADER + b"\n").empty


@pytest.mark.parametrize("name", ["01", "None", "nan", '"', "'", "#", " a ", "größe\u2028", "a,b"])
def test_ids_stay_as_they_are(name):
    assert list(parse(render(roles_table([name], ["b"], {}))).index) == [name, "b"]


def test_what_is_written_is_a_line_a_sample():
    table = roles_table(["a", "b"], ["c"], {"d": "no value"})
    assert render(table).decode().splitlines() == [
        "sample-id\trole\treason",
        "a\ttraining\t",
        "b\ttraining\t",
        "c\tvalidation\t",
        "d\tleft out\tno value",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "test", ""), "found b'a.ttest.t' in line 2"),
        (("a", TRAINING, "no value"), "in line 2"),
        (("a", LEFT_OUT, ""), "a reason in each line"),
        (("a", LEFT_OUT, "whatever"), "in line 2"),
        (("", TRAINING, ""), "in line 2"),
        (("a\tb", TRAINING, ""), "in line 2"),
        (("a\n", TRAINING, ""), "in line 2"),
        (("a\x1b", TRAINING, ""), "a control character"),
        (("a" * (MAX_ID_BYTES + 1), TRAINING, ""), f"at most {MAX_ID_BYTES} bytes"),
    ],
)
def test_render_refuses(row, message):
    name, role, reason = row
    table = pd.DataFrame({"role": [role], "reason": [reason]}, [name])
    with pytest.raises(ValueError, match=message):
        render(table)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must begin with the line b'sample-id.trole.treason'; found b''"),
        (HEADER, "must begin with the line"),
        (b"\xef\xbb\xbf" + LINES, "must begin with the line"),
        (LINES[:-1], "must end with a line feed"),
        (LINES + b"a\ttraining\t\n", "has the id 'a' twice"),
        (LINES + b"b\ttraining\n", "in line 3"),
        (LINES + b"b\ttraining\t\t\n", "in line 3"),
        (LINES + b"b\tTraining\t\n", "in line 3"),
        (LINES + b"\n", "in line 3"),
        (LINES.replace(b"\n", b"\r\n"), "must begin with the line"),
        (LINES + b"b\ttraining\t\r\n", "a control character"),
        (LINES + b"\x00\ttraining\t\n", "a control character"),
        (LINES + b"\x7f\ttraining\t\n", "a control character"),
        (LINES + b"\xff\ttraining\t\n", "is not UTF-8"),
        (LINES + b"\xed\xa0\x80\ttraining\t\n", "is not UTF-8"),
    ],
)
def test_parse_refuses(data, message):
    with pytest.raises(ValueError, match=message):
        parse(data)


def test_check_header_reads_the_first_line_only():
    check_header(HEADER + b"\n\xff\tnothing\n")
