"""The pipelines: what they call with what, and whether their results are what they say."""

import json
import pickle
import re
from dataclasses import replace

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
import skbio
from clocks import Timed
from model_files import small_model
from pipeline_recorder import Promise, Recorder
from q2_sample_classifier import PredictionsDirectoryFormat
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat
from qiime2.plugins import aam
from sklearn.metrics import accuracy_score, r2_score

from benchmarks import accuracy
from q2_aam.actions.pipelines import jobs, studies
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data import progress
from q2_aam.core.data.splits.roles import roles_table
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.training.loop import progress_bar
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.scores import AAMScoresFormat

QUICK = {**run_inputs.QUICK, "embedding_dim": 16}
SHALLOW = {"rarefy_depth": 100, "forest": "no"}


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def phylogeny(tree_path):
    return qiime2.Artifact.import_data("Phylogeny[Rooted]", str(tree_path), NewickFormat)


def columns(simulated):
    """Return the columns age, site and split."""
    metadata = qiime2.Metadata(simulated.metadata)
    return (metadata.get_column(name) for name in ("age", "site", "split"))


def ids_of(table):
    return set(table.view(biom.Table).ids())


def read(model):
    return storage.load(str(model.view(AAMModelDirectoryFormat)))


# ---- what is called with what ------------------------------------------------------------------


def kept(call):
    """Return the samples that a call of filter_samples keeps."""
    return set(call["metadata"].ids)


PIPELINES = {
    "regress_samples": ("age", SHALLOW, 1),
    "classify_samples": ("site", SHALLOW, 1),
    "cross_validate_regression": ("age", {"n_folds": 3, **SHALLOW}, 3),
    "cross_validate_classification": ("site", {"n_folds": 3, **SHALLOW}, 3),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_is_waited_for(name, table, phylogeny, simulated):
    column, options, n_models = PIPELINES[name]
    metadata = qiime2.Metadata(simulated.metadata).get_column(column)
    ctx = Recorder()
    outputs = getattr(studies, name)(ctx, table, metadata, phylogeny=phylogeny, **options)
    assert len(outputs) == len(getattr(aam.pipelines, name).signature.outputs)
    assert len(ctx.named("pretrain")) == n_models
    assert len({id(output) for output in outputs}) == len(outputs)


@pytest.mark.parametrize("name", PIPELINES)
def test_held_out_samples_are_seen_by_nothing_that_trains(name, table, phylogeny, simulated):
    column, options, _ = PIPELINES[name]
    metadata = qiime2.Metadata(simulated.metadata).get_column(column)
    ctx = Recorder()
    getattr(studies, name)(ctx, table, metadata, phylogeny=phylogeny, **options)
    training = ctx.named("train_regressor") + ctx.named("train_classifier")
    tests = ctx.named("predict_regression") + ctx.named("predict_classification")
    predicted = []
    for pretraining, made, test in zip(ctx.named("pretrain"), training, tests, strict=True):
        seen, held = kept(made["table"].inputs), kept(test["table"].inputs)
        assert not seen & held
        assert seen | held == ids_of(table)
        assert kept(pretraining["table"].inputs) == seen
        assert made["encoder"].inputs is pretraining
        predicted += held
    assert len(predicted) == len(set(predicted))
    if "folds" in getattr(aam.pipelines, name).signature.parameters:
        assert set(predicted) == ids_of(table)


def test_options_reach_the_actions(table, phylogeny, simulated):
    age, _, _ = columns(simulated)
    ctx = Recorder()
    studies.regress_samples(
        ctx, table, age, phylogeny=phylogeny, pretrain_epochs=7, pretrain_lr=0.01, epochs=3,
        dropout=0.3, loss_type="mae", random_seed=5, **SHALLOW,
    )  # fmt: skip
    (pretraining,), (training,) = ctx.named("pretrain"), ctx.named("train_regressor")
    assert (pretraining["epochs"], pretraining["lr"], pretraining["dropout"]) == (7, 0.01, 0.3)
    assert (training["epochs"], training["lr"], training["dropout"]) == (3, 1e-3, 0.3)
    assert training["loss_type"] == "mae"
    for action in ("pretrain", "train_regressor", "evaluate_regression"):
        assert ctx.named(action)[0]["random_seed"] == 5


def test_given_encoder_is_used_and_returned(table, phylogeny, simulated):
    age, _, _ = columns(simulated)
    encoder = Promise("import", {})
    ctx = Recorder()
    outputs = studies.regress_samples(
        ctx, table, age, encoder=encoder, phylogeny=phylogeny, **SHALLOW
    )
    assert not ctx.named("pretrain")
    assert ctx.named("train_regressor")[0]["encoder"] is encoder
    assert ctx.named("train_regressor")[0]["phylogeny"] is phylogeny
    assert outputs[2] is encoder


def test_encoder_is_taken_out_of_other_models(table, simulated):
    age, _, _ = columns(simulated)
    model = Promise("import", {})
    model.type = qiime2.sdk.util.parse_type("AAMModel[SequenceRegressor]")
    ctx = Recorder()
    outputs = studies.regress_samples(ctx, table, age, encoder=model, **SHALLOW)
    assert outputs[2].action == "extract_encoder"
    assert outputs[2].inputs["model"] is model


def test_folds_of_a_column(table, simulated):
    age, site, _ = columns(simulated)
    ctx = Recorder()
    studies.cross_validate_regression(ctx, table, age, folds=site, **SHALLOW)
    of_sites = simulated.metadata.groupby("site").groups
    tested = [kept(call["table"].inputs) for call in ctx.named("predict_regression")]
    assert tested == [set(of_sites[name]) for name in sorted(of_sites)]
    by_fold = ctx.named("score_regression")[0]["groups"].to_series()
    assert by_fold.equals(simulated.metadata["site"].rename("fold"))


@pytest.fixture(scope="module")
def persons(simulated):
    """Return a column of 16 persons of three samples each, and the samples of each."""
    ids = simulated.metadata.index
    person = pd.Series([f"p{i // 3:02d}" for i in range(len(ids))], ids, name="person")
    column = qiime2.CategoricalMetadataColumn(person)
    return column, person


@pytest.mark.parametrize("name", PIPELINES)
def test_groups_stay_whole_and_reach_what_trains(name, table, phylogeny, simulated, persons):
    target, options, _ = PIPELINES[name]
    (column, person), ctx = persons, Recorder()
    metadata = qiime2.Metadata(simulated.metadata).get_column(target)
    getattr(studies, name)(ctx, table, metadata, phylogeny=phylogeny, groups=column, **options)
    training = ctx.named("train_regressor") + ctx.named("train_classifier")
    tests = ctx.named("predict_regression") + ctx.named("predict_classification")
    for pretraining, made, test in zip(ctx.named("pretrain"), training, tests, strict=True):
        seen, held = kept(made["table"].inputs), kept(test["table"].inputs)
        assert not set(person[list(seen)]) & set(person[list(held)])
        assert pretraining["groups"] is made["groups"] is column


def test_one_group_can_be_left_out_at_a_time(table, simulated):
    """More folds than a hundred, if there were more groups: here each sample is one."""
    age, _, _ = columns(simulated)
    each = pd.Series(simulated.metadata.index, simulated.metadata.index, name="sample")
    ctx, each = Recorder(), qiime2.CategoricalMetadataColumn(each)
    studies.cross_validate_regression(ctx, table, age, folds=each, groups=each, **SHALLOW)
    assert [len(kept(call["table"].inputs)) for call in ctx.named("predict_regression")] == [
        1
    ] * 48


def confounded(simulated):
    """Return metadata of three studies, of which one has all samples of skin and oral."""
    frame = simulated.metadata.copy()
    study = frame["site"].map({"gut": "A", "oral": "B", "skin": "B"})
    study.iloc[np.flatnonzero(frame["site"] == "gut")[:4]] = "C"
    return qiime2.Metadata(frame.assign(study=study))


def test_folds_whose_classes_nothing_teaches_are_refused(table, simulated):
    """Three studies, each with a class of its own: all predictions would be wrong."""
    _, site, _ = columns(simulated)
    ctx = Recorder()
    with pytest.raises(ValueError, match=r"3 of 3 folds .*'gut'.*None of the .* is of a class"):
        studies.cross_validate_classification(ctx, table, site, folds=site, **SHALLOW)
    assert not ctx.calls


def test_folds_that_cannot_be_trained_are_listed_before_anything_runs(table, simulated):
    metadata, ctx = confounded(simulated), Recorder()
    site, study = metadata.get_column("site"), metadata.get_column("study")
    with pytest.raises(ValueError, match=r"1 of 3 folds .*Fold 'B': .*only one class \('gut'\)"):
        studies.cross_validate_classification(ctx, table, site, folds=study, **SHALLOW)
    assert not ctx.calls
    studies.cross_validate_classification(
        ctx, table, site, folds=study, untrainable_folds="ignore", **SHALLOW
    )
    tested = [kept(call["table"].inputs) for call in ctx.named("predict_classification")]
    of_studies = study.to_series().groupby(study.to_series()).groups
    assert tested == [set(of_studies["A"]), set(of_studies["C"])]
    trained = kept(ctx.named("train_classifier")[0]["table"].inputs)
    assert trained == ids_of(table) - tested[0]


def test_a_split_that_cannot_be_trained_is_refused_before_anything_runs(table, simulated):
    metadata, ctx = confounded(simulated), Recorder()
    site, study = metadata.get_column("site"), metadata.get_column("study")
    with pytest.raises(ValueError, match="only one class"):
        studies.classify_samples(ctx, table, site, split=study, test_value="B", **SHALLOW)
    assert not ctx.calls


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pretrain_epochs": 3}, "pretrain_epochs would have no effect"),
        ({"freeze_base": True}, "freeze_base keeps an encoder .* a phylogeny to pre-train"),
        ({"attention_heads": 3}, "must be a multiple of attention_heads"),
        ({"target_penalty": 0.0}, "target_penalty is 0"),
        ({"test_fraction": 0.01}, "leaves none to test"),
    ],
)
def test_regress_samples_refuses_before_anything_runs(given, said, table, simulated):
    age, _, _ = columns(simulated)
    ctx = Recorder()
    with pytest.raises(ValueError, match=said):
        studies.regress_samples(ctx, table, age, **given)
    assert not ctx.calls


def test_pretraining_options_are_checked_before_anything_runs(table, phylogeny, simulated):
    age, _, _ = columns(simulated)
    ctx = Recorder()
    with pytest.raises(ValueError, match="penalty and nuc_penalty are both 0"):
        studies.regress_samples(
            ctx, table, age, phylogeny=phylogeny, pretrain_penalty=0.0, pretrain_nuc_penalty=0.0
        )
    assert not ctx.calls


def test_split_value_that_none_has(table, simulated):
    age, _, split = columns(simulated)
    with pytest.raises(ValueError, match=r"value 'held' .*'split'.*'test', 'train'"):
        aam.pipelines.regress_samples(table, age, split=split, test_value="held")


@pytest.mark.parametrize("name", ["split", "folds"])
def test_columns_that_divide_groups_are_refused(name, table, simulated, persons):
    age, _, split = columns(simulated)
    pipeline = "regress_samples" if name == "split" else "cross_validate_regression"
    ctx = Recorder()
    with pytest.raises(ValueError, match=r"groups of metadata column 'person' are divided"):
        getattr(studies, pipeline)(ctx, table, age, groups=persons[0], **{name: split}, **SHALLOW)
    assert not ctx.calls


@pytest.mark.parametrize("missing", ["age", "split"])
def test_samples_without_values(missing, table, simulated):
    frame = simulated.metadata.copy()
    frame.loc[frame.index[:2], missing] = np.nan
    metadata = qiime2.Metadata(frame)
    age, split = metadata.get_column("age"), metadata.get_column("split")
    ctx = Recorder()
    with pytest.raises(ValueError, match=rf"2 of the table's 48 samples.*column '{missing}'"):
        studies.regress_samples(ctx, table, age, split=split)
    studies.regress_samples(ctx, table, age, split=split, missing_samples="ignore", **SHALLOW)
    used = set().union(*(kept(call) for call in ctx.named("filter_samples")))
    assert used == set(frame.index[2:])


def test_numbers_among_words_for_missing_values_are_used(table, simulated):
    values = simulated.metadata["age"].astype(str)
    values.iloc[:3] = "not collected"
    age = qiime2.CategoricalMetadataColumn(values)
    for pipeline in (
        studies.regress_samples,
        studies.cross_validate_regression,
    ):
        ctx = Recorder()
        pipeline(ctx, table, age, missing_samples="ignore", **SHALLOW)
        used = set().union(*(kept(call) for call in ctx.named("filter_samples")))
        assert used == set(values.index[3:])


def changed(simulated, change, names=None):
    """Return a table artifact of counts (features by samples) that `change` has altered."""
    counts = simulated.table.matrix_data.toarray()
    features, ids = list(simulated.table.ids("observation")), list(simulated.table.ids())
    ids = [(names or {}).get(name, name) for name in ids]
    change(counts, features)
    return qiime2.Artifact.import_data(
        "FeatureTable[Frequency]", biom.Table(counts, features, ids)
    )


def relabelled(simulated, label, names=None):
    """Return the column 'visit', made of the number of each sample."""
    ids = simulated.metadata.index.map(lambda name: (names or {}).get(name, name))
    values = [label(i) for i in range(len(ids))]
    return qiime2.CategoricalMetadataColumn(pd.Series(values, ids, name="visit", dtype=object))


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda i: f"{1 + i % 3:02d}", "'visit' has 3 classes .*'01' as 1; '02' as 2"),
        (lambda i: ["None", "some"][i % 2], "'None' as a missing value.*'None' to 'visit None'"),
        (lambda i: ["a\tb", "c"][i % 2], "control character such as a tab"),
        (lambda i: "same", "only one class"),
    ],
)
@pytest.mark.parametrize("name", ["classify_samples", "cross_validate_classification"])
def test_classes_that_results_cannot_hold_are_refused_at_the_start(
    name, label, said, table, phylogeny, simulated
):
    column, ctx = relabelled(simulated, label), Recorder()
    with pytest.raises(ValueError, match=said):
        getattr(studies, name)(ctx, table, column, phylogeny=phylogeny, **SHALLOW)
    assert not ctx.calls


def test_train_classifier_refuses_classes_that_results_cannot_hold(table, simulated):
    column = relabelled(simulated, lambda i: ["NA", "2"][i % 2])
    with pytest.raises(ValueError, match=r"'visit' has 1 class that .*'NA' as a missing value"):
        aam.methods.train_classifier(table, column, **QUICK)
    # Only the samples of the table count.
    elsewhere = column.to_series()
    elsewhere.index = elsewhere.index + "x"
    both = pd.concat([simulated.metadata["site"].rename("visit"), elsewhere])
    with pytest.raises(ValueError, match="No sample is left after rarefaction"):
        aam.methods.train_classifier(
            table, qiime2.CategoricalMetadataColumn(both), **QUICK | {"rarefy_depth": 10_000}
        )


def negative_count(counts, features):
    counts[3, 0] = -1


def no_sequence(counts, features):
    features[5] = "9f2e77"


def shallow_fold(counts, features):
    counts[:, 2::3] = 0
    counts[0, 2::3] = 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (negative_count, "not counts, such as -1"),
        (no_sequence, "not DNA sequences, such as '9f2e77'"),
        (shallow_fold, None),
    ],
)
def test_what_only_a_later_step_would_refuse_is_refused_at_the_start(change, said, simulated):
    """Fold 2 alone has what cannot be used: it is predicted last."""
    folds = relabelled(simulated, lambda i: f"fold{i % 3}")
    numbers = pd.Series(np.arange(48) % 7.0, simulated.metadata.index, name="age")
    table, ctx = changed(simulated, change), Recorder()
    call = (ctx, table, qiime2.NumericMetadataColumn(numbers))
    if said is None:  # shallow samples are predicted, but not learnt from
        studies.cross_validate_regression(*call, folds=folds, **SHALLOW)
        assert len(ctx.named("predict_regression")) == 3
        return
    with pytest.raises(ValueError, match=said):
        studies.cross_validate_regression(*call, folds=folds, **SHALLOW)
    assert not ctx.calls


def test_sample_ids_that_break_results_are_refused_at_the_start(simulated):
    name = str(simulated.table.ids()[7])
    names = {name: "a\tb"}
    column, ctx = relabelled(simulated, lambda i: "xy"[i % 2], names), Recorder()
    with pytest.raises(ValueError, match=r"1 sample ids have a control character .*'a\\tb'"):
        studies.classify_samples(
            ctx, changed(simulated, lambda *_: None, names), column, **SHALLOW
        )
    assert not ctx.calls


def test_folds_that_cannot_be_left_out_are_named_together(table, simulated):
    folds = relabelled(simulated, lambda i: f"fold{i % 3}")
    # Without fold 0, all values are equal.
    values = [float(i) if i % 3 == 0 else 5.0 for i in range(48)]
    numbers = pd.Series(values, simulated.metadata.index, name="age")
    ctx = Recorder()
    said = r"1 of 3 folds cannot be predicted.*Fold 'fold0': .*'age' has the same value"
    with pytest.raises(ValueError, match=said):
        studies.cross_validate_regression(
            ctx, table, qiime2.NumericMetadataColumn(numbers), folds=folds, **SHALLOW
        )
    assert not ctx.calls


def test_a_phylogeny_that_lacks_a_feature_of_one_fold_is_refused_at_the_start(simulated):
    tree = skbio.TreeNode.read([simulated.newick])
    names = [tip.name for tip in tree.tips()]
    phylogeny = qiime2.Artifact.import_data("Phylogeny[Rooted]", tree.shear(set(names[1:])))
    ids = list(simulated.table.ids())

    def only_in_the_first(counts, features):
        row = features.index(names[0])
        counts[row] = 0
        counts[row, 0] = 50

    table, column = changed(simulated, only_in_the_first), qiime2.Metadata(simulated.metadata)
    split = relabelled(simulated, lambda i: "test" if i in (0, 7) else "train")
    age, ctx = column.get_column("age"), Recorder()
    given = {"phylogeny": phylogeny, **SHALLOW}
    # Held out, the feature is not needed; in training, it is.
    studies.regress_samples(ctx, table, age, split=split, **given)
    assert kept(ctx.named("predict_regression")[0]["table"].inputs) == {ids[0], ids[7]}
    # Nor is it where nothing is learnt of the phylogeny.
    frozen = given | {"encoder": Promise("import", {}), "freeze_base": True}
    studies.cross_validate_regression(Recorder(), table, age, n_folds=2, **frozen)
    folds, ctx = relabelled(simulated, lambda i: f"fold{i % 2}"), Recorder()
    with pytest.raises(ValueError, match=r"1 of 2 folds .*Fold 'fold1': .*tips of the"):
        studies.cross_validate_regression(ctx, table, age, folds=folds, **given)
    assert not ctx.calls


def test_held_out_classes_that_nothing_teaches_are_refused_at_the_start(table, simulated):
    column = relabelled(simulated, lambda i: "new" if i < 4 else "ab"[i % 2])
    split = relabelled(simulated, lambda i: "test" if i < 4 else "train")
    ctx = Recorder()
    with pytest.raises(ValueError, match=r"None of the 4 held-out .* are 'new'; training has 'a'"):
        studies.classify_samples(ctx, table, column, split=split, **SHALLOW)
    assert not ctx.calls


# ---- what comes out ----------------------------------------------------------------------------


def test_regress_samples(table, phylogeny, simulated):
    age, _, split = columns(simulated)
    made = aam.pipelines.regress_samples(
        table, age, phylogeny=phylogeny, split=split, pretrain_epochs=2, **QUICK
    )
    is_test = simulated.metadata["split"] == "test"
    assert ids_of(made.test_table) == set(is_test.index[is_test])
    assert ids_of(made.training_table) == set(is_test.index[~is_test])
    assert set(made.predictions.view(pd.Series).index) == ids_of(made.test_table)
    encoder, regressor = read(made.used_encoder), read(made.regressor)
    assert (encoder.spec.kind, len(encoder.history)) == (ENCODER, 2)
    assert (regressor.spec.kind, len(regressor.history)) == (REGRESSOR, 1)
    for page in (made.evaluation, made.training_summary):
        assert "index.html" in page.get_index_paths()["html"]
    again = aam.methods.predict_regression(made.test_table, made.regressor).predictions
    pd.testing.assert_series_equal(again.view(pd.Series), made.predictions.view(pd.Series))


def test_classify_samples_from_scratch(table, simulated):
    _, site, _ = columns(simulated)
    made = aam.pipelines.classify_samples(table, site, test_fraction=0.25, random_seed=3, **QUICK)
    assert len(ids_of(made.test_table)) == 12
    assert list(made.probabilities.view(pd.DataFrame).columns) == ["gut", "oral", "skin"]
    encoder, classifier = read(made.used_encoder), read(made.classifier)
    assert encoder.spec.kind == ENCODER
    for name, value in encoder.weights.items():
        assert value.equal(classifier.weights[f"base_model.{name}"])
    # What was taken out is a whole encoder: another model can start from it.
    age = qiime2.Metadata(simulated.metadata).get_column("age")
    started = aam.methods.train_regressor(table, age, made.used_encoder, **QUICK).regressor
    assert str(started.type) == "AAMModel[SequenceRegressor]"


def test_classes_that_training_left_out_do_not_lose_the_results(simulated, tmp_path):
    """Classes 0, 1, 2 and empty cells; all of class 2 is too shallow to train on."""

    def shallow(counts, features):
        for i in range(48):
            if i % 4 == 2:
                counts[:, i] = 0
                counts[0, i] = 20
        counts[:, 5] = 0

    ids = list(simulated.table.ids())
    names = dict(zip(ids[:24], ["NA", "None", "01", "1", *ids[4:24]], strict=True))
    column = relabelled(simulated, lambda i: [None, "0", "2", "1"][i % 4], names)
    made = aam.pipelines.classify_samples(
        changed(simulated, shallow, names),
        column,
        missing_samples="ignore",
        test_fraction=0.5,
        **QUICK,
    )
    assert set(made.predictions.view(pd.Series).astype(str)) <= {"0", "1"}
    assert list(made.probabilities.view(pd.DataFrame).columns) == ["0", "1"]
    made.evaluation.export_data(str(tmp_path))
    shown = pd.read_csv(tmp_path / "samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert set(shown["sample-id"]) <= set(column.to_series().dropna().index)
    assert len(shown) == 18
    assert set(shown["true"]) == {"0", "1", "2"}
    results = made.results.view(qiime2.Metadata)
    assert isinstance(results.get_column("visit_prediction"), qiime2.CategoricalMetadataColumn)
    frame = results.to_dataframe()
    assert set(frame.index) == set(names.values()) | set(ids[24:])
    assert set(frame["visit_true_value"].dropna()) == {"0", "1", "2"}
    assert set(frame.index[frame["visit_role"] == "test"]) == set(shown["sample-id"])
    visits = column.to_series()
    left_out = set(frame.index[frame["visit_reason"] == "no value"])
    assert left_out == set(visits.index[visits.isna()])
    assert "confusion_matrix" not in aam.pipelines.classify_samples.signature.outputs


def test_cross_validate_regression(table, simulated, capsys, monkeypatch):
    for module in (jobs, progress, progress_bar):  # so that nothing takes long enough to be told
        monkeypatch.setattr(module, "time", Timed())
    age, _, _ = columns(simulated)
    made = aam.pipelines.cross_validate_regression(table, age, n_folds=2, **QUICK)
    said = capsys.readouterr().err.splitlines()
    others = re.compile(r"INFO: (Fitting|Computing on|\d+% of the reads)")
    assert [line for line in said if not others.match(line)] == [
        "WARNING: Only 48 samples: below 50, scores vary much from one split to the next.",
        "INFO: Training starts from scratch, as the encoder that ships with q2-aam has another "
        "embedding_dim, attention_heads, attention_layers.",
        "INFO: No random forest is trained beside the model: it would take about 1 s, the rest of "
        "the run at least 4 s. To have one, choose forest 'yes' (--p-forest yes).",
        *(line for fold in (1, 2) for line in said_of_fold(fold, said)),
        "INFO: Merging the predictions of all folds.",
        "INFO: Scoring the predictions.",
        "INFO: Drawing predicted against true values.",
        "INFO: Summarizing the training.",
        "INFO: Putting true values and predictions into a table.",
        "INFO: Putting the models of all folds together.",
    ]
    predictions = made.predictions.view(pd.Series)
    assert set(predictions.index) == ids_of(table)
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    assert list(scores.index) == ["fold1", "fold2", "all samples"]
    assert list(scores["n_samples"]) == [24, 24, 48]
    true = simulated.metadata["age"][predictions.index]
    assert scores["r2"]["all samples"] == pytest.approx(r2_score(true, predictions))
    tabulated = made.fold_scores.view(qiime2.Metadata)
    assert isinstance(tabulated.get_column("mae"), qiime2.NumericMetadataColumn)


def said_of_fold(fold, said):
    """Return what is to be said of a fold, with its numbers as they are in what was said."""
    name = f"INFO: Fold {fold} of 2 (fold{fold}):"
    epochs = [line for line in said if line.startswith("Epoch 1 of 1: loss ")]
    weights = [line for line in said if line.startswith("INFO: A prediction is a weighted mean: ")]
    return [
        f"{name} 24 samples to train, 24 to test.",
        f"{name} Training a regressor.",
        epochs[fold - 1],
        weights[fold - 1],
        f"{name} Predicting the samples to test.",
    ]


def test_pipelines_name_their_steps(table, phylogeny, simulated, caplog):
    age, _, _ = columns(simulated)
    caplog.set_level("INFO")
    options = {"phylogeny": phylogeny, "test_fraction": 0.25, **SHALLOW, "forest": "yes"}
    studies.regress_samples(Recorder(), table, age, **options)
    assert [text for text in caplog.messages if "samples" in text or "raining" in text] == [
        "Only 48 samples: below 50, scores vary much from one split to the next; cross-validate "
        "before trusting them.",
        "36 samples to train, 12 to test.",
        "Pre-training an encoder.",
        "Training a regressor.",
        "Predicting the samples to test.",
        "Training a random forest on the same samples.",
        "Summarizing the training.",
    ]


def test_cross_validation_is_as_by_hand(table, phylogeny, simulated, tree_path):
    age, _, split = columns(simulated)
    made = aam.pipelines.cross_validate_regression(
        table, age, phylogeny=phylogeny, folds=split, **QUICK
    )
    found = made.predictions.view(pd.Series)
    is_test = simulated.metadata["split"] == "test"
    for held in (is_test, ~is_test):
        training = samples_of(simulated.table, held.index[~held])
        encoder = api.pretrain(training, tree_path, **QUICK)
        model = api.train_regressor(
            training, simulated.metadata["age"], encoder=encoder, phylogeny=tree_path, **QUICK
        )
        expected = api.predict_regression(samples_of(simulated.table, held.index[held]), model)
        np.testing.assert_allclose(found[expected.index], expected, rtol=1e-5)


def samples_of(table, ids):
    """Return some samples, without the features that none of them has."""
    kept = table.filter(set(ids), inplace=False)
    return kept.remove_empty(axis="observation", inplace=False)


def test_cross_validate_classification(table, simulated):
    _, site, split = columns(simulated)
    made = aam.pipelines.cross_validate_classification(table, site, folds=split, **QUICK)
    predictions = made.predictions.view(pd.Series)
    assert set(predictions.index) == ids_of(table)
    assert set(made.probabilities.view(pd.DataFrame).index) == ids_of(table)
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    assert list(scores.index) == ["test", "train", "all samples"]
    true = simulated.metadata["site"][predictions.index]
    assert scores["accuracy"]["all samples"] == pytest.approx(accuracy_score(true, predictions))


def test_folds_are_left_out_and_groups_are_kept(table, simulated, caplog):
    """A study whose samples alone have two classes; groups are the halves of studies."""
    metadata = confounded(simulated)
    study = metadata.get_column("study").to_series()
    half = study + pd.Series(np.arange(len(study)) % 2, study.index).astype(str)
    made = aam.pipelines.cross_validate_classification(
        table, metadata.get_column("site"), folds=metadata.get_column("study"),
        groups=qiime2.CategoricalMetadataColumn(half.rename("half")), untrainable_folds="ignore",
        **QUICK,
    )  # fmt: skip
    assert set(made.predictions.view(pd.Series).index) == set(study.index[study != "B"])
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    assert list(scores.index) == ["A", "C", "all samples"]
    assert caplog.text.count("Fold 'B'") == 1


# ---- the methods that they are put together from -----------------------------------------------


def predictions_of(values, kind="ClassifierPredictions"):
    ids = pd.Index([f"s{v}{i}" for i, v in enumerate(values)], name="sample-id")
    return qiime2.Artifact.import_data(f"SampleData[{kind}]", pd.Series(values, ids, name="site"))


def test_merge_predictions_keeps_class_names():
    (merged,) = aam.methods.merge_predictions(
        [predictions_of(["01", "1.0"]), predictions_of(["NA"])]
    )
    assert str(merged.type) == "SampleData[ClassifierPredictions]"
    path = merged.view(PredictionsDirectoryFormat).path / "predictions.tsv"
    assert path.read_text() == "sample-id\tprediction\ns010\t01\ns1.01\t1.0\nsNA0\tNA\n"


def test_merge_predictions_refuses_samples_twice():
    one = predictions_of(["a", "b"])
    with pytest.raises(ValueError, match="2 samples, such as 'sa0', are predicted more than once"):
        aam.methods.merge_predictions([one, one])


def test_merge_predictions_refuses_mixed_kinds():
    with pytest.raises(ValueError, match="No solution for inputs"):
        aam.methods.merge_predictions(
            [predictions_of(["a"]), predictions_of([1.5], "RegressorPredictions")]
        )


def test_merge_probabilities_gives_unknown_classes_none():
    one = pd.DataFrame({"b": [0.4], "a": [0.6]}, pd.Index(["s1"], name="sample-id"))
    other = pd.DataFrame({"c": [1.0]}, pd.Index(["s2"], name="sample-id"))
    artifacts = [qiime2.Artifact.import_data("SampleData[Probabilities]", x) for x in (one, other)]
    merged = aam.methods.merge_probabilities(artifacts).merged_probabilities.view(pd.DataFrame)
    assert merged.to_numpy().tolist() == [[0.6, 0.4, 0.0], [0.0, 0.0, 1.0]]
    assert list(merged.columns) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [ENCODER, REGRESSOR, CLASSIFIER])
def test_extract_encoder(kind, tmp_path):
    directory = AAMModelDirectoryFormat()
    samples = roles_table(["sample01"], ["sample02"], {})
    warned = replace(small_model(kind), warnings=("sample07 is shallow",), samples=samples)
    storage.save(warned, str(directory))
    model = qiime2.Artifact.import_data(f"AAMModel[{kind}]", directory)
    encoder = aam.methods.extract_encoder(model).encoder
    encoder.validate("max")
    spec = read(encoder).spec
    assert (spec.kind, spec.target, spec.stored) == (ENCODER, None, None)
    assert read(encoder).warnings == ()  # they may name samples
    assert read(encoder).samples is None
    encoder.export_data(str(tmp_path))
    assert not any(b"sample0" in path.read_bytes() for path in tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id\tgroup\tn_samples\tr2\n",
        "group\tn_samples\nall\t3\n",
        "id\tgroup\tn_samples\tr2\na\tx\t3\thigh\n",
        "id\tgroup\tn_samples\na\tx\t3\na\ty\t3\n",
    ],
)
def test_scores_format_refuses_what_is_no_score(text, tmp_path):
    path = tmp_path / "scores.tsv"
    path.write_text(text)
    with pytest.raises(qiime2.plugin.ValidationError, match="scores in"):
        AAMScoresFormat(str(path), mode="r").validate()


def test_scores_survive_with_odd_groups():
    table = pd.DataFrame(
        {"group": ["NA", "01"], "n_samples": [3, 2], "r2": [0.1 + 0.2, np.nan]},
        pd.Index(["group1", "all"], name="id"),
    )
    again = qiime2.Artifact.import_data("AAMScores", table).view(pd.DataFrame)
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_source_of_pipelines_is_theirs():
    source = aam.pipelines.cross_validate_regression.source
    assert "def cross_validate_regression(\n    ctx,\n    given" in source
    assert "predictions, scores, evaluation, summary" in source


def test_pipelines_can_be_sent_to_other_processes():
    """QIIME 2 pickles actions to run them asynchronously and in parallel."""
    for action in (aam.pipelines.regress_samples, aam.methods.pretrain):
        again = pickle.loads(pickle.dumps(action))
        assert again.signature == action.signature
        assert list(again.examples) == list(action.examples)


# ---- real samples ------------------------------------------------------------------------------


@pytest.mark.slow
def test_cross_validate_real_samples(real_data):
    directory = real_data / "vaginal-ravel"
    table = qiime2.Artifact.import_data(
        "FeatureTable[Frequency]", biom.load_table(str(directory / "table.biom"))
    )
    sequences = qiime2.Artifact.import_data(
        "FeatureData[Sequence]", str(directory / "sequences.fna"), DNAFASTAFormat
    )
    metadata = qiime2.Metadata.load(str(directory / "metadata.tsv"))
    made = aam.pipelines.cross_validate_classification(
        table,
        metadata.get_column("nugent_category"),
        sequences=sequences,
        folds=metadata.get_column("fold"),
        missing_samples="ignore",
        **QUICK | {"epochs": 2, "rarefy_depth": 500},
    )
    scores = made.fold_scores.view(pd.DataFrame).set_index("group")
    assert list(scores.index) == [*(f"fold{i}" for i in range(5)), "all samples"]
    assert scores["n_samples"]["all samples"] == 342
    assert scores["accuracy"]["all samples"] > 0.9  # a constant prediction has 0.72


@pytest.mark.slow
def test_cross_validate_gives_the_scores_of_the_benchmark(real_data, tmp_path):
    """On the oral samples, by their column of folds; a small model, as this is about the folds."""
    directory, target = real_data / "oral-age", tmp_path / "scores.json"
    options = {name: value for name, value in QUICK.items() if name not in ("lr", "device")}
    options |= {"rarefy_depth": 500, "batch_size": 64}
    accuracy.main(
        ["--data", str(directory), "--pretrain-epochs", "0", "--epochs", "1",
         "--without-forest", "--json", str(target),
         *(f"--option={name}={value}" for name, value in options.items() if name != "epochs")]
    )  # fmt: skip
    expected = json.loads(target.read_text())["rows"][0]
    table = biom.load_table(str(directory / "table.biom"))
    metadata = qiime2.Metadata.load(str(directory / "metadata.tsv"))
    made = aam.pipelines.cross_validate_regression(
        qiime2.Artifact.import_data("FeatureTable[Frequency]", table),
        metadata.get_column("age"),
        folds=metadata.get_column("fold"),
        **options,
    )
    scores = made.fold_scores.view(pd.DataFrame).set_index("group").loc["all samples"]
    assert scores["n_samples"] == expected["samples"] == 1500
    assert scores["r2"] == pytest.approx(expected["R2"], abs=1e-4)
    assert scores["mae"] == pytest.approx(expected["MAE"], abs=1e-3)
