"""Charts and the frame of pages, each by itself."""

import json
import math

import pytest

from q2_aam.pages import charts as charts
from q2_aam.pages import epoch_charts, frame, legend

NASTY = "a.b[0]['c'] \"d\" </script> \u2028 ñ"


def fields_of(value):
    """Collect the names of all fields that a specification refers to."""
    if isinstance(value, list):
        return {name for item in value for name in fields_of(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["field"]} if isinstance(value.get("field"), str) else set()
    return own | {name for key, item in value.items() if key != "datasets"
                  for name in fields_of(item)}  # fmt: skip


def samples(groups):
    return charts.records(
        sample=[NASTY] * 3,
        true=[1, 2, 3],
        predicted=[1.5, 2, math.inf],
        residual=[0.5, 0, math.nan],
        group=[groups[0] if groups else ""] * 3,
    )


def example(name):
    """Draw a chart of each kind, with values of users that are hard to bear."""
    names = [NASTY, legend.OTHER]
    ends = charts.records(at=[0, 1], low=[-1, 0], high=[1, 2])
    curve = charts.records(name=[NASTY, "b"], x=[0, 1], y=[0, 1], order=[0, 1])
    score = {"value": [1], "low": [0], "high": [2], "baseline": [3], "n": [9]}
    bins = charts.records(least=[0, 1], most=[1, 2], n=[3, 4])
    epochs = charts.records(
        epoch=[0], value=[math.nan], series=["training"], model=[NASTY], kept=[True]
    )
    matrix = charts.records(true=[NASTY], predicted=[NASTY], n=[3], share=[1])
    calibration = charts.records(confidence=[0.5], accuracy=[0.4], low=[0.1], high=[0.7], n=[5])
    made = {
        "course": lambda: epoch_charts.course(epochs, [NASTY], "Loss"),
        "courses": lambda: epoch_charts.course(epochs, [NASTY, "b"], "Loss"),
        "rate": lambda: epoch_charts.learning_rate(epochs, [NASTY]),
        "against": lambda: charts.predicted_against_true(samples(names), ends, names, NASTY),
        "ungrouped": lambda: charts.predicted_against_true(samples([]), ends, [], NASTY),
        "residuals": lambda: charts.residuals(samples(names), names, NASTY),
        "histogram": lambda: charts.histogram(bins, "Residual"),
        "groups": lambda: charts.group_scores(charts.records(group=[NASTY], **score), "Error"),
        "confusion": lambda: charts.confusion(matrix, 1),
        "large confusion": lambda: charts.confusion(matrix, 50),
        "roc": lambda: charts.class_curves(curve, [NASTY], ("x", "y"), diagonal=True),
        "recall": lambda: charts.class_curves(curve, [NASTY], ("x", "y"), diagonal=False),
        "reliability": lambda: charts.reliability(calibration),
    }
    return made[name]()


KINDS = ("course", "courses", "rate", "against", "ungrouped", "residuals", "histogram", "groups",
         "confusion", "large confusion", "roc", "recall", "reliability")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_charts_name_no_field_after_what_users_wrote(kind):
    spec = example(kind)
    columns = {name for rows in spec["datasets"].values() for row in rows for name in row}
    assert fields_of(spec) <= columns
    assert all(name.isidentifier() for name in columns)


@pytest.mark.parametrize("kind", KINDS)
def test_charts_are_as_wide_as_their_place_and_title_their_axes(kind):
    spec = example(kind)
    assert spec["width"] == "container"
    layers = spec.get("layer", [spec])
    titles = {
        channel: {
            title
            for layer in layers
            for title in [layer["encoding"].get(channel, {}).get("title")]
            if title
        }
        for channel in "xy"
    }
    assert titles["x"]
    assert titles["y"] or kind == "groups"


@pytest.mark.parametrize("kind", KINDS)
def test_charts_survive_being_put_into_a_page(kind):
    spec = example(kind)
    text = frame.in_script(spec)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == spec


def test_records_leave_out_what_is_not_finite():
    found = charts.records(a=[1, math.nan, -math.inf], b=["x", "y", "z"], c=[True, False, True])
    assert found == [
        {"a": 1.0, "b": "x", "c": True},
        {"a": None, "b": "y", "c": False},
        {"a": None, "b": "z", "c": True},
    ]


def test_legend_gives_what_is_beyond_the_palette_one_colour():
    names = [str(i) for i in range(9)]
    colours = [key.colour for key in legend.line_keys(names)]
    assert len(set(colours)) == len(legend.PALETTE) + 1
    assert colours[7:] == [legend.GREY] * 2
    assert legend.point_keys(["a", legend.OTHER])[1].colour == legend.GREY


def test_legend_of_a_course_names_what_is_in_the_chart():
    assert [k.label for k in legend.course_keys(["m"], {"m"}, {"validation"})] == ["validation"]
    both = legend.course_keys(["m", "n", "o"], {"n", "o"}, set(legend.SERIES))
    assert [key.label for key in both] == ["n", "o", "training", "validation"]
    assert both[0].colour == legend.PALETTE[1]
    assert legend.course_keys(["m"], {"m"}, {"validation"})[0].colour == legend.VERMILLION


def test_series_have_the_same_colour_in_every_chart():
    spec = epoch_charts.course(
        charts.records(epoch=[0], value=[1], series=["validation"], model=["m"], kept=[True]),
        ["m"],
        "Loss",
    )
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    key = legend.course_keys(["m"], {"m"}, {"validation"})[0]
    assert dict(zip(scale["domain"], scale["range"], strict=True))["validation"] == key.colour


def test_colours_stand_out_from_white():
    for colour in legend.PALETTE:
        assert luminance(colour) < 0.55


def luminance(colour):
    """Return the relative luminance of WCAG 2 of a colour, from 0 (black) to 1 (white)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "–"),
        (0.0, "0"),
        (0.4971, "0.497"),
        (-4.9852, "-4.985"),
        (49.852, "49.85"),
        (12345.6, "12346"),
        (0.00012345, "0.000123"),
        (1.5e7, "1.5e+07"),
        (math.inf, "inf"),
    ],
)
def test_number(value, text):
    assert frame.number(value) == text


def test_interval_and_count():
    assert frame.interval(0.5, 1.25) == "0.500 to 1.250"
    assert frame.interval(math.nan, math.nan) == "–"
    assert frame.count(1, "sample") == "1 sample"
    assert frame.count(20000, "sample") == "20,000 samples"


def test_library_is_one_script_without_what_could_end_it():
    text = frame.library()
    assert text.isascii()
    assert "</script" not in text.lower()
    assert "<!--" not in text
    assert "window.vegaEmbed=" in text


def test_write_escapes_every_text(tmp_path):
    figure = frame.Figure("<i>f", example("histogram"), "<i>d", [legend.Key("<i>k", "#000000")])
    table = frame.Table("<i>c", ["<i>h", "<i>n"], [["<i>r", "<i>v"]])
    section = frame.Section("<i>s", ["<i>p"], [figure], [table])
    frame.write(frame.Page("<i>t", ["<i>l"], [section], ["<i>n"]), str(tmp_path))
    text = (tmp_path / "index.html").read_text(encoding="ascii")
    shown = text[text.index("<main") : text.index("</main>")] + text[: text.index("</title>")]
    assert "<i>" not in shown
    for letter in "fdkchnrvsptl":
        assert f"&lt;i&gt;{letter}" in shown


@pytest.mark.parametrize("n", [1, 2, 3, 11, 12, 300])
def test_epochs_are_whole_and_marked_once(n):
    rows = charts.records(
        epoch=range(n),
        value=[1e-3 / (i + 1) for i in range(n)],
        series=["training"] * n,
        model=["m"] * n,
        kept=[False] * n,
    )
    for spec in (
        epoch_charts.course(rows, ["m"], "Loss"),
        epoch_charts.learning_rate(rows, ["m"]),
    ):
        axes = [layer["encoding"]["x"] for layer in spec["layer"]]
        assert axes[0]["axis"] == axes[1]["axis"]
        ticks = axes[0]["axis"]["values"]
        assert ticks == sorted(set(map(int, ticks)))
        assert len(ticks) == min(n, len(ticks)) <= 11
        assert ticks[0] == 0
        assert ticks[-1] < n
        assert axes[0]["scale"]["domain"] == [-0.5, n - 0.5]


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 10, 11, 99, 12_345])
def test_samples_of_a_histogram_are_whole_and_marked_once(highest):
    spec = charts.histogram(charts.records(least=[0, 1], most=[1, 2], n=[highest, 0]), "Residual")
    ticks = spec["encoding"]["y"]["axis"]["values"]
    assert ticks == sorted(set(map(int, ticks)))
    assert highest / 2.5 <= ticks[-1] <= highest
    assert len(ticks) <= 11


def test_learning_rate_steps_between_epochs():
    rows = charts.records(epoch=[0, 1], value=[1e-3, 1e-4], model=["m"] * 2)
    spec = epoch_charts.learning_rate(rows, ["m"])
    drawn = sorted(spec["datasets"]["levels"], key=lambda row: row["order"])
    assert [row["at"] for row in drawn] == [-0.5, 0.5, 0.5, 1.5]
    assert [row["value"] for row in drawn] == [1e-3, 1e-3, 1e-4, 1e-4]
    assert spec["layer"][0]["encoding"]["order"]["field"] == "order"
    assert "interpolate" not in spec["layer"][0]["mark"]
