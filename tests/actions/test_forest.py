"""A random forest beside the model, in pipelines: what is called, and what the user sees."""

from dataclasses import asdict
from types import SimpleNamespace

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
import torch
from pipeline_recorder import Promise, Recorder
from qiime2.plugins import aam, sample_classifier
from scipy import sparse

from q2_aam.actions.pipelines import forest, run_time, studies
from q2_aam.core.options.config import DataConfig, Settings, TrainConfig

QUICK = {**run_inputs.QUICK, "embedding_dim": 8}
COLUMNS = {
    "regress_samples": "age",
    "classify_samples": "site",
    "cross_validate_regression": "age",
    "cross_validate_classification": "site",
}
IS_DECIDED = ("is trained on the same samples: it", "No random forest is trained beside")


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def metadata(simulated):
    return qiime2.Metadata(simulated.metadata)


def samples_of(evaluation, directory):
    """Read the table of samples that lies beside a page."""
    evaluation.export_data(str(directory))
    path = directory / "samples.tsv"
    return pd.read_csv(
        path, sep="\t", index_col=0, dtype={"sample-id": str}, float_precision="round_trip"
    )


def some_of(table, ids):
    """Return some samples as `filter_samples` of QIIME 2 does."""
    ids = qiime2.Metadata(pd.DataFrame(index=pd.Index(ids, name="id")))
    feature_table = qiime2.sdk.PluginManager().plugins["feature-table"]
    (kept,) = feature_table.actions["filter_samples"](table, metadata=ids)
    return kept


def by_hand(table, training, test, column, seed=0):
    """Return what q2-sample-classifier's own actions predict."""
    actions = sample_classifier.actions
    if isinstance(column, qiime2.NumericMetadataColumn):
        fit, predict = actions.fit_regressor, actions.predict_regression
    else:
        fit, predict = actions.fit_classifier, actions.predict_classification
    estimator, _ = fit(some_of(table, training), column, random_state=seed)
    return tuple(predict(some_of(table, test), estimator))


# ---- the forest is q2-sample-classifier's ------------------------------------------------------


@pytest.mark.parametrize(("name", "seed"), [("regress_samples", 0), ("classify_samples", 5)])
def test_forest_is_that_of_q2_sample_classifier(name, seed, table, metadata, tmp_path):
    column, split = (metadata.get_column(n) for n in (COLUMNS[name], "split"))
    made = getattr(aam.pipelines, name)(
        table, column, split=split, forest="yes", random_seed=seed, **QUICK
    )
    found = samples_of(made.evaluation, tmp_path)
    held = split.to_series() == "test"
    assert set(found.index) == set(held.index[held])
    predicted, *_ = by_hand(table, held.index[~held], held.index[held], column, seed)
    expected = predicted.view(pd.Series).loc[found.index]
    assert found["random forest"].tolist() == expected.tolist()
    # The two tables among the outputs give the same forest.
    tables = (made.training_table, made.test_table)
    training, test = (each.view(biom.Table).ids() for each in tables)
    assert (set(training), set(test)) == (set(held.index[~held]), set(held.index[held]))


def test_forest_of_each_fold_is_scored(table, metadata, tmp_path):
    age, split = (metadata.get_column(n) for n in ("age", "split"))
    made = aam.pipelines.cross_validate_regression(table, age, folds=split, forest="yes", **QUICK)
    found = samples_of(made.evaluation, tmp_path)
    fold = split.to_series()
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    for name in ("train", "test"):
        tested = fold.index[fold == name]
        (predicted,) = by_hand(table, fold.index[fold != name], tested, age)
        expected = predicted.view(pd.Series)
        assert found["random forest"][expected.index].tolist() == expected.tolist()
        error = np.abs(expected - age.to_series()[expected.index]).mean()
        assert scores["forest_mae"][name] == pytest.approx(error)
    errors = (found["random forest"] - age.to_series()[found.index]).abs()
    assert scores["forest_mae"]["all samples"] == pytest.approx(errors.mean())
    assert {"forest_r2", "forest_r2_low", "r2"} <= set(scores.columns)


def test_forest_of_classes_in_folds(table, metadata, tmp_path):
    site, split = (metadata.get_column(n) for n in ("site", "split"))
    made = aam.pipelines.cross_validate_classification(
        table, site, folds=split, forest="yes", **QUICK
    )
    found = samples_of(made.evaluation, tmp_path)
    right = (found["random forest"] == site.to_series()[found.index]).mean()
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    assert scores["forest_accuracy"]["all samples"] == pytest.approx(right)


def test_samples_without_a_value_are_in_neither(table, simulated, tmp_path):
    """Empty cells, samples that the metadata lack, and words: what the model leaves out."""
    ages = simulated.metadata["age"].copy()
    ages.iloc[:4] = np.nan
    column = qiime2.NumericMetadataColumn(ages.iloc[:-3])
    made = aam.pipelines.regress_samples(
        table, column, forest="yes", missing_samples="ignore", **QUICK
    )
    found = samples_of(made.evaluation, tmp_path)
    assert found["random forest"].notna().all()
    tables = (made.training_table, made.test_table)
    training, test = (set(each.view(biom.Table).ids()) for each in tables)
    assert set(found.index) == test
    assert training | test == set(ages.index[4:-3])


# ---- what is called ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("chosen", ["yes", "no"])
def test_nothing_is_waited_for(name, chosen, table, metadata):
    ctx, n_models = Recorder(), 2 if "cross" in name else 1
    folds = {"n_folds": 2} if "cross" in name else {}
    column = metadata.get_column(COLUMNS[name])
    getattr(studies, name)(ctx, table, column, forest=chosen, rarefy_depth=100, **folds)
    kind = "classifier" if COLUMNS[name] == "site" else "regressor"
    fits = ctx.named(f"fit_{kind}")
    assert len(fits) == (n_models if chosen == "yes" else 0)
    (shown,) = ctx.named(f"evaluate_{'classification' if kind == 'classifier' else 'regression'}")
    beside = [parameter for parameter in shown if parameter.startswith("forest_")]
    outputs = ["forest_predictions"] + ["forest_probabilities"] * (kind == "classifier")
    assert beside == (outputs if chosen == "yes" else [])
    for fit in fits:
        assert fit["n_jobs"] == 1
        assert fit["random_state"] == 0
        assert set(fit["metadata"].ids) == set(table.view(biom.Table).ids())


@pytest.mark.parametrize("name", COLUMNS)
def test_forest_has_the_tables_of_the_model(name, table, metadata):
    ctx = Recorder()
    folds = {"n_folds": 3} if "cross" in name else {}
    column = metadata.get_column(COLUMNS[name])
    getattr(studies, name)(ctx, table, column, forest="yes", rarefy_depth=100, **folds)
    fits = ctx.named("fit_regressor") + ctx.named("fit_classifier")
    trained = ctx.named("train_regressor") + ctx.named("train_classifier")
    assert len(fits) == len(trained) == folds.get("n_folds", 1)
    for fit, training in zip(fits, trained, strict=True):
        assert fit["table"] is training["table"]
    tests = ctx.named("predict_regression") + ctx.named("predict_classification")
    ours, theirs = tests[: len(fits)], tests[len(fits) :]
    for own, other in zip(ours, theirs, strict=True):
        assert own["table"] is other["table"]


# ---- whether there is one ----------------------------------------------------------------------


def decided(caplog):
    return [text for text in caplog.messages if any(said in text for said in IS_DECIDED)]


def run(table, metadata, **options):
    ctx = Recorder()
    studies.regress_samples(ctx, table, metadata.get_column("age"), rarefy_depth=100, **options)
    return bool(ctx.named("fit_regressor"))


@pytest.mark.parametrize(("epochs", "is_long"), [(1, False), (10_000, True)])
def test_auto_depends_on_the_length_of_the_run(epochs, is_long, table, metadata, caplog):
    caplog.set_level("INFO")
    options = {"epochs": epochs, "patience": 10_000, "device": "cpu"}
    assert run(table, metadata, **options) == is_long
    (said,) = decided(caplog)
    assert said.startswith("A random forest" if is_long else "No random forest")
    assert ("--p-forest yes" in said) == (not is_long)


ORAL, ASVS, COUNTS = 1200, 3215, 62799


def seconds(monkeypatch, threads, options=(), **job):
    """Estimate the time of a run on the oral samples, at the default options."""
    settings = Settings.from_options({})
    training = asdict(TrainConfig()) | asdict(DataConfig()) | {"freeze_base": None}
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    given = SimpleNamespace(encoder=None)
    job = {"encoder": None, "pretrains": False, "device": "cpu", **job}
    job["training"] = job["pretraining"] = training | dict(options)
    return run_time.seconds_of_run(SimpleNamespace(given=given, settings=settings, **job), COUNTS)


def test_first_command_has_none_and_pretraining_has_one(monkeypatch):
    """Measured: 8 to 13 s for the forest; 61 s with the encoder that ships, else 6.3 minutes."""
    needed = run_time.seconds_of_forest(ORAL, ASVS, classes=False)
    assert 13 <= needed < 20
    first = seconds(monkeypatch, 2, {"freeze_base": True}, encoder=object())
    assert first < 61 < 10 * needed
    own = seconds(monkeypatch, 2, pretrains=True)
    assert 10 * needed < own < 6.3 * 60
    assert seconds(monkeypatch, 16, pretrains=True) < 10 * needed


def test_a_gpu_and_an_encoder_that_is_not_made_yet_say_nothing_of_the_time(monkeypatch):
    least = run_time.OF_ACTIONS
    assert seconds(monkeypatch, 1, pretrains=True, device="cuda") == least
    given = SimpleNamespace(encoder=Promise("pretrain", {}))
    job = SimpleNamespace(given=given, encoder=given.encoder, device="cpu")
    assert run_time.seconds_of_run(job, COUNTS) == least


def test_counts_are_those_of_rarefied_samples():
    rng = np.random.default_rng(3)
    counts = sparse.csr_matrix(rng.poisson(0.6, (200, 12)) * rng.integers(1, 30, (200, 12)))
    assert run_time.counts_read(counts, 0, 1000) == counts.nnz
    assert run_time.counts_read(counts, 0, 5) == 12 * 5
    found = []
    for i, column in enumerate(counts.T.toarray()):
        reads = np.repeat(np.arange(200), column)
        drawn = np.random.default_rng(i).choice(reads, 300, replace=False)
        found.append(len(np.unique(drawn)))
    assert run_time.counts_read(counts, 300, 1000) == pytest.approx(sum(found), rel=0.1)
    deepest = counts.sum(axis=0).max()
    assert run_time.counts_read(counts, int(deepest) + 1, 1000) == 0


@pytest.mark.parametrize("chosen", ["yes", "no"])
def test_what_is_asked_for_is_not_estimated(chosen, table, metadata, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(forest, "seconds_of_run", None)
    assert run(table, metadata, forest=chosen) == (chosen == "yes")
    assert not decided(caplog)


@pytest.fixture
def failing(monkeypatch):
    """Let forests fail from the second fold on."""

    def fails(self, kind, training_table, test_table):
        if len(seen) == 1:
            raise ValueError("no trees here.")
        seen.append(training_table)
        return ("a prediction",)

    seen = []
    monkeypatch.setattr(forest.Forest, "_predict", fails)
    monkeypatch.setattr(forest, "_takes_little", lambda *given: True)


def test_a_forest_that_nobody_asked_for_may_fail(table, metadata, caplog, failing, tmp_path):
    made = aam.pipelines.cross_validate_regression(
        table, metadata.get_column("age"), n_folds=2, forest="auto", **QUICK
    )
    assert caplog.text.count("There is no random forest beside the model") == 1
    assert "no trees here" in caplog.text
    assert "random forest" not in samples_of(made.evaluation, tmp_path)
    assert "forest_r2" not in made.fold_scores.view(pd.DataFrame)


def test_a_forest_that_is_asked_for_must_not_fail(table, metadata, failing):
    said = r"forest beside the model could not .* no trees here\. To .* without .*--p-forest no"
    ctx, age = Recorder(), metadata.get_column("age")
    options = {"n_folds": 2, "forest": "yes", "rarefy_depth": 100}
    with pytest.raises(ValueError, match=said):
        studies.cross_validate_regression(ctx, table, age, **options)
    assert not ctx.named("evaluate_regression")
