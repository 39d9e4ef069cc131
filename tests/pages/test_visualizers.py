"""The visualizers as a user of QIIME 2 calls them, and as a browser without network shows them."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import qiime2
from heavy_imports import FRAMEWORK, heavy_imports
from model_files import small_model
from qiime2.plugins import aam

from q2_aam.actions.visualizers import summarize_training
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.types.models import AAMModelDirectoryFormat

NASTY = "a.b[0] 'c' \"d\" </script><img src=x onerror=alert(1)> & größe"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


def sample_ids(n):
    return pd.Index([f"sample.{i}" for i in range(n)], name="sample-id")


def regression(n=60, seed=0, column="age", n_groups=3):
    """Make predictions, true values, and groups."""
    rng = np.random.default_rng(seed)
    ids = sample_ids(n)
    true = pd.Series(rng.normal(40, 12, size=n).round(1), ids, name=column)
    predicted = pd.Series(true + rng.normal(0, 5, size=n), ids, name=column)
    groups = pd.Series([f"{NASTY} {i % n_groups}" for i in range(n)], ids, name=NASTY)
    return predicted, true, groups


def classification(names=("gut", "oral", "skin"), n=60, seed=0):
    """Make predictions, probabilities and true classes."""
    rng = np.random.default_rng(seed)
    ids = sample_ids(n)
    true = rng.integers(len(names), size=n)
    odds = np.exp(rng.normal(size=(n, len(names))) + 2 * np.eye(len(names))[true])
    probabilities = pd.DataFrame(odds / odds.sum(axis=1, keepdims=True), ids, list(names))
    predicted = pd.Series([names[i] for i in odds.argmax(axis=1)], ids, name="site")
    return predicted, probabilities, pd.Series([names[i] for i in true], ids, name="site")


def numeric(series):
    return qiime2.NumericMetadataColumn(series)


def categorical(series):
    return qiime2.CategoricalMetadataColumn(series)


def evaluate_regression(predicted, true, groups=None, **options):
    artifact = qiime2.Artifact.import_data("SampleData[RegressorPredictions]", predicted)
    given = None if groups is None else categorical(groups)
    made = aam.visualizers.evaluate_regression(artifact, numeric(true), given, **options)
    return made.visualization


def evaluate_classification(predicted, probabilities, true, **options):
    made = aam.visualizers.evaluate_classification(
        qiime2.Artifact.import_data("SampleData[ClassifierPredictions]", predicted),
        qiime2.Artifact.import_data("SampleData[Probabilities]", probabilities),
        categorical(true),
        **options,
    )
    return made.visualization


def model_artifact(kind):
    directory = AAMModelDirectoryFormat()
    model = small_model(kind)
    model.history["learning_rate"] = [1e-4, 2e-4, 1e-5]
    model.history["seconds"] = 40.0
    storage.save(model, str(directory))
    return qiime2.Artifact.import_data(f"AAMModel[{kind}]", directory)


def export(visualization, directory):
    visualization.export_data(str(directory))
    return (Path(directory) / "index.html").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the directories of the three visualizations, and of a page with hostile names."""
    made = {
        "training": aam.visualizers.summarize_training(
            [model_artifact(kind) for kind in (ENCODER, REGRESSOR, CLASSIFIER)]
        ).visualization,
        "regression": evaluate_regression(*regression()),
        "classification": evaluate_classification(*classification()),
        "hostile": evaluate_classification(*classification((NASTY, "b", "None", "01", "e", "f"))),
    }
    parent = tmp_path_factory.mktemp("pages")
    for name, visualization in made.items():
        export(visualization, parent / name)
    return {name: parent / name for name in made}


NAMES = ("training", "regression", "classification", "hostile")


class References(HTMLParser):
    """Collects what a page would load, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.styles, self.scripts = [], [], [], []
        self._within = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._within = tag
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data", "action", "formaction", "background"):
                self.loaded.append(value)
            elif name in ("href", "xlink:href"):
                (self.links if tag == "a" else self.loaded).append(value)
            elif name == "style":
                self.styles.append(value)

    def handle_endtag(self, tag):
        self._within = None

    def handle_data(self, data):
        if self._within == "style":
            self.styles.append(data)
        elif self._within == "script":
            self.scripts.append(data)


@pytest.mark.parametrize("name", NAMES)
def test_pages_refer_only_to_files_beside_them(pages, name):
    found = References((pages[name] / "index.html").read_text(encoding="ascii"))
    for reference in found.loaded:
        assert (pages[name] / reference).is_file(), reference
    for link in set(found.links) - {"http://qiime2.org/"}:
        assert (pages[name] / link).is_file(), link
    sheets = [path.read_text(encoding="utf-8") for path in pages[name].rglob("*.css")]
    for style in found.styles + sheets:
        assert "@import" not in style
        assert not re.search(r"url\(\s*['\"]?\s*(https?:)?//", style)


@pytest.mark.parametrize("name", NAMES)
def test_charts_have_their_data_with_them(pages, name):
    text = (pages[name] / "index.html").read_text(encoding="ascii")
    assert text.count("window.vegaEmbed=") == 1
    specs = re.search(r'<script type="application/json" id="aam-charts">(.*?)</script>', text)[1]
    assert "http" not in specs
    assert '"url"' not in specs
    charts = json.loads(specs)
    assert len(charts) >= (2 if name == "training" else 3)
    assert all(chart["description"] and chart["datasets"] for chart in charts)


WATCH = """<iframe src="%s/index.html" style="width:%dpx;height:900px"></iframe>"""
REPORT = """<script>
setTimeout(function () {
  var seen = [];
  document.querySelectorAll("iframe").forEach(function (frame) {
    var page = frame.contentDocument, view = frame.contentWindow;
    var charts = page.querySelectorAll(".aam-chart");
    seen.push({
      loaded: view.performance.getEntriesByType("resource").map(function (e) { return e.name; }),
      charts: charts.length,
      drawn: page.querySelectorAll("[role=graphics-document][aria-label] svg.marks").length,
      marks: page.querySelectorAll(".aam-chart svg .mark-group").length,
      overflow: page.documentElement.scrollWidth - view.innerWidth,
      images: page.querySelectorAll("img[src=x]").length,
    });
  });
  document.body.textContent = JSON.stringify(seen);
}, 20000);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the pages with")
def test_pages_work_in_a_browser_without_network(pages, tmp_path):
    widths = (400, 1280)
    frames = [WATCH % (pages[name].as_uri(), width) for name in NAMES for width in widths]
    (tmp_path / "index.html").write_text("<img src='https://example.invalid/control.png'>")
    frames.append(WATCH % (tmp_path.as_uri(), 400))
    (tmp_path / "watch.html").write_text(f"<body>{''.join(frames)}{REPORT}</body>")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=30000", "--dump-dom",
        (tmp_path / "watch.html").as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    seen = json.loads(html.unescape(re.search(r"<body>(\[.*\])</body>", shown, re.DOTALL)[1]))
    control = seen.pop()
    assert control["loaded"] == ["https://example.invalid/control.png"]  # requests are seen
    assert len(seen) == len(NAMES) * len(widths)
    for page in seen:
        assert not [name for name in page["loaded"] if not name.startswith(("file:", "data:"))]
        assert page["charts"] == page["drawn"] > 0
        assert page["marks"] > page["charts"]
        assert page["overflow"] <= 0
        assert page["images"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_described_and_every_table_labelled(pages, name):
    text = (pages[name] / "index.html").read_text(encoding="ascii")
    assert text.count("<figure ") == text.count("<figcaption>") == text.count('class="aam-chart"')
    labels = set(re.findall(r'<table [^>]*aria-labelledby="([\w-]+)"', text))
    assert labels
    assert labels <= set(re.findall(r' id="([\w-]+)"', text))
    assert text.count('role="region"') == text.count("<table ")


def test_hostile_names_are_shown_as_text(pages):
    text = (pages["hostile"] / "index.html").read_text(encoding="ascii")
    assert "<img src=x" not in text
    assert "alert(1)&gt; &amp; gr&#246;&#223;e" in text


def cells(text, caption):
    """Return the rows of the table that has this caption."""
    label = re.search(rf'id="([\w-]+)">{re.escape(caption)}', text)[1]
    table = re.search(rf'<table [^>]*aria-labelledby="{label}">(.*?)</table>', text, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[html.unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r)] for r in rows]


def test_summarize_training_says_what_each_model_is(pages):
    text = (pages["training"] / "index.html").read_text(encoding="ascii")
    facts = {row[0]: row[1:] for row in cells(text, "What it is, and what it was trained on")}
    kinds = [f"AAMModel[{kind}]" for kind in (ENCODER, REGRESSOR, CLASSIFIER)]
    assert facts["Kind"] == kinds
    assert facts["Column"] == ["–", "age", "größe"]
    assert facts["Classes"][2] == "3: klein, mittel, groß"
    model = small_model(REGRESSOR)
    assert facts["Parameters"][1] == f"{sum(t.numel() for t in model.weights.values()):,}"
    # The total loss in validation is missing, 0.1, infinite.
    assert facts["Epoch that was kept"] == ["1 (chosen by val_loss)"] * 3
    assert facts["Time"] == ["2 min"] * 3
    options = {row[0]: row[1:] for row in cells(text, "All options")}
    assert options["token-limit *"][:4] == ["77", "77", "77", "1024"]
    assert options["target-transform *"][:4] == ["–", "log-zscore", "–", "zscore"]
    assert options["epochs"][:4] == ["10", "10", "10", "10"]
    versions = dict(row[:2] for row in cells(text, "Packages that made it"))
    assert versions["torch"] == model.versions["torch"]


def test_summarize_training_needs_no_torch(tmp_path):
    storage.save(small_model(REGRESSOR), tmp_path / "model")
    (tmp_path / "out").mkdir()
    program = (
        "from q2_aam.actions.visualizers import summarize_training; "
        f"summarize_training({str(tmp_path / 'out')!r}, [{str(tmp_path / 'model')!r}])"
    )
    assert not [said for said in heavy_imports(program, FRAMEWORK) if "torch" in said]
    assert (tmp_path / "out" / "history-1.tsv").is_file()


def test_summarize_training_of_a_model_without_validation(tmp_path):
    model = small_model(ENCODER)
    model.history = pd.DataFrame({"epoch": [0, 1], "train/total_loss": [2.0, 1.0]})
    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    artifact = qiime2.Artifact.import_data(f"AAMModel[{ENCODER}]", directory)
    text = export(aam.visualizers.summarize_training([artifact]).visualization, tmp_path / "v")
    facts = dict(cells(text, "What it is, and what it was trained on")[1:])
    assert facts["Epoch that was kept"] == "1 (the last)"
    history = pd.read_csv(tmp_path / "v" / "history-1.tsv", sep="\t")
    assert history["train/total_loss"].tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("test_size", "said"),
    [(0.25, "36, without those held out for validation"), (0.0, "48")],
)
def test_summarize_training_counts_the_samples_trained_on(
    test_size, said, simulated, quick, tmp_path
):
    quick |= {"epochs": 1, "test_size": test_size}
    model = api.train_regressor(simulated.table, simulated.metadata["age"], **quick)
    storage.save(model, tmp_path / "model")
    (tmp_path / "page").mkdir()
    summarize_training(str(tmp_path / "page"), [str(tmp_path / "model")])
    text = (tmp_path / "page" / "index.html").read_text(encoding="ascii")
    assert dict(cells(text, "What it is, and what it was trained on")[1:])["Samples"] == said


def test_summarize_training_of_an_unchanging_metric_and_of_no_epoch(tmp_path):
    for name, history in {
        "constant": {"epoch": [0, 1], "val/accuracy": [0.375, 0.375]},
        "empty": {"epoch": [], "val/accuracy": []},
    }.items():
        model = small_model(ENCODER)
        model.history = pd.DataFrame(history)
        storage.save(model, tmp_path / name)
        (tmp_path / f"page-{name}").mkdir()
        summarize_training(str(tmp_path / f"page-{name}"), [str(tmp_path / name)])
    text = (tmp_path / "page-constant" / "index.html").read_text(encoding="ascii")
    assert '"domain":[0.3375,0.4125]' in text
    text = (tmp_path / "page-empty" / "index.html").read_text(encoding="ascii")
    assert "it has no history." in text


def test_evaluate_regression_shows_the_scores(pages):
    predicted, true, _ = regression()
    text = (pages["regression"] / "index.html").read_text(encoding="ascii")
    scores = {row[0]: row[1] for row in cells(text, "Scores of all samples")}
    assert scores["Mean absolute error"] == f"{(predicted - true).abs().mean():.3f}"
    scores = pd.read_csv(pages["regression"] / "scores.tsv", sep="\t", index_col=0)
    assert scores.loc["pearson", "value"] == pytest.approx(np.corrcoef(predicted, true)[0, 1])
    assert (scores["low"] < scores["value"]).all()
    groups = cells(text, "Scores by ")
    assert [row[1] for row in groups[1:]] == ["20", "20", "20"]
    samples = pd.read_csv(pages["regression"] / "samples.tsv", sep="\t", index_col=0)
    assert samples["residual"].to_numpy() == pytest.approx((predicted - true).to_numpy())


def test_evaluate_regression_follows_missing_samples(tmp_path):
    predicted, true, groups = regression()
    true.iloc[:3] = np.nan
    with pytest.raises(ValueError, match=r"3 of the table's 60 samples have no value"):
        evaluate_regression(predicted, true)
    groups = groups.iloc[:50]
    made = evaluate_regression(predicted, true, groups, missing_samples="ignore")
    text = export(made, tmp_path / "v")
    assert "3 predicted samples without a true value are left out." in text
    assert "10 samples without a group" in text
    assert len(pd.read_csv(tmp_path / "v" / "samples.tsv", sep="\t")) == 57


def test_evaluate_regression_refuses_classes():
    predicted, true, _ = regression()
    with pytest.raises(ValueError, match="evaluate-classification"):
        evaluate_regression(predicted.map(lambda value: f"class{value:.0f}"), true)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_evaluate_regression_of_few_samples(n, tmp_path):
    text = export(evaluate_regression(*regression(n)), tmp_path / "v")
    assert "scores and their intervals say little" in text


def test_evaluate_regression_of_a_constant(tmp_path):
    predicted, true, _ = regression(30)
    text = export(evaluate_regression(predicted * 0 + 3, true * 0 + 3), tmp_path / "v")
    assert (
        dict(row[:2] for row in cells(text, "Scores of all samples"))["R² (1 is perfect)"] == "–"
    )


def test_evaluate_regression_of_many_samples_draws_some(tmp_path):
    predicted, true, groups = regression(20_000, n_groups=50)
    text = export(evaluate_regression(predicted, true, groups), tmp_path / "v")
    assert "Shown are 2,000 of 20,000 samples" in text
    assert "Shown are the 40 largest groups of 50" in text
    assert len(text) < 3_000_000


def test_evaluate_classification_shows_the_scores(pages):
    predicted, probabilities, true = classification()
    text = (pages["classification"] / "index.html").read_text(encoding="ascii")
    scores = {row[0]: row[1] for row in cells(text, "Scores of all samples")}
    assert float(scores["Accuracy"]) == pytest.approx((predicted == true).mean(), abs=1e-3)
    confusion = pd.read_csv(pages["classification"] / "confusion.tsv", sep="\t", index_col=0)
    assert (
        confusion.equals(pd.crosstab(true, predicted))
        or (confusion.to_numpy() == pd.crosstab(true, predicted).to_numpy()).all()
    )
    by_class = [row[0] for row in cells(text, "Scores by class")[1:]]
    assert by_class == list(probabilities.columns)


NAMES_OF_CLASSES = [
    ("01", "2", "None"),
    ("1", "1.0", "3"),
    ("0", "1"),
    ("a", "7", "nan"),
    ("NA", "n/a", "null", "NULL"),
    ("true", "false", "TRUE"),
    ("id", "sample-id", "1e5"),
    ("b c", "größe", "日本 語", "a,b;c|d", "\"q\" 'r'"),
]


@pytest.mark.parametrize("names", NAMES_OF_CLASSES)
def test_evaluate_classification_keeps_every_word(names, tmp_path):
    predicted, probabilities, true = classification(names)
    # The first is not the most probable one, so that words cannot be taken from there.
    predicted.iloc[0] = probabilities.iloc[0].idxmin()
    ids = pd.Index(["NA", "None", "01", "1.0", *predicted.index[4:]], name="sample-id")
    for table in (predicted, probabilities, true):
        table.index = ids
    text = export(evaluate_classification(predicted, probabilities, true), tmp_path / "v")
    options = {"sep": "\t", "header": None, "dtype": str, "keep_default_na": False}
    samples = pd.read_csv(tmp_path / "v" / "samples.tsv", **options | {"header": 0})
    assert samples["predicted"].tolist() == predicted.tolist()
    assert samples["true"].tolist() == true.tolist()
    assert samples["sample-id"].tolist() == list(ids)
    confusion = pd.read_csv(tmp_path / "v" / "confusion.tsv", **options)
    assert confusion.iloc[0, 1:].tolist() == confusion.iloc[1:, 0].tolist() == list(names)
    assert [row[0] for row in cells(text, "Scores by class")[1:]] == list(names)


def test_evaluate_classification_refuses_a_column_without_a_class_of_the_model():
    predicted, probabilities, true = classification()
    said = (
        r"No value of metadata column 'site' in the 60 predicted samples .* the column has "
        r"'Gut', 'Oral', 'Skin'; the classes are 'gut', 'oral', 'skin'\. Give the column"
    )
    with pytest.raises(ValueError, match=said):
        evaluate_classification(predicted, probabilities, true.str.capitalize())
    artifacts = [
        qiime2.Artifact.import_data("SampleData[ClassifierPredictions]", predicted),
        qiime2.Artifact.import_data("SampleData[Probabilities]", probabilities),
    ]
    with pytest.raises(ValueError, match=said):
        aam.methods.score_classification(*artifacts, categorical(true.str.capitalize()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda true: true * 12 + 500, "are below all true values"),
        (lambda true: true - 500, "are above all true values"),
        (lambda true: true.sample(frac=1, random_state=1).to_numpy() * 0.3 + 20,
         "worse than predicting the mean"),
        (lambda true: true, None),
    ],
)  # fmt: skip
def test_evaluate_regression_notes_a_column_that_seems_to_be_another(change, said, tmp_path):
    predicted, true, _ = regression()
    given = pd.Series(np.asarray(change(true)), true.index, name="bmi")
    text = export(evaluate_regression(predicted, given), tmp_path / "v")
    asked = "Check that bmi is the column that was predicted, in the same units." in text
    assert asked == (said is not None)
    assert said is None or said in text


def test_evaluate_classification_names_classes_the_model_does_not_know(tmp_path):
    predicted, probabilities, true = classification()
    true.iloc[:2] = "soil"
    text = export(evaluate_classification(predicted, probabilities, true), tmp_path / "v")
    assert "2 samples of classes that the model does not know (soil)" in text


def test_evaluate_classification_refuses_probabilities_of_other_samples():
    predicted, probabilities, true = classification()
    with pytest.raises(ValueError, match=r"'sample\.0' has none"):
        evaluate_classification(predicted, probabilities.iloc[5:], true)


def test_evaluate_classification_says_where_predictions_are_not_the_most_probable(tmp_path):
    predicted, probabilities, true = classification()
    predicted.iloc[0] = probabilities.iloc[0].idxmin()
    text = export(evaluate_classification(predicted, probabilities, true), tmp_path / "v")
    assert "In 1 sample the predicted class is not the most probable one" in text


def test_evaluate_classification_of_one_true_class(tmp_path):
    predicted, probabilities, true = classification(n=20)
    text = export(evaluate_classification(predicted, probabilities, true.map(lambda _: "gut")),
                  tmp_path / "v")  # fmt: skip
    assert "Curves need samples of at least two classes." in text


def test_evaluate_classification_of_many_classes(tmp_path):
    made = evaluate_classification(*classification([f"c{i}" for i in range(50)], n=2000))
    text = export(made, tmp_path / "v")
    assert "The 7 largest classes have colours" in text
    assert len(text) < 3_000_000


def test_pages_are_the_same_for_the_same_seed(tmp_path):
    for name in "first", "again":
        export(evaluate_regression(*regression(), random_seed=3), tmp_path / name)
    first, again = ((tmp_path / name / "index.html").read_text() for name in ("first", "again"))
    assert first == again
