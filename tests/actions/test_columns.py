"""Columns, names and predictions as real studies have them, through the actions."""

import hashlib
from pathlib import Path

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat
from qiime2.plugins import aam
from run_inputs import QUICK

from q2_aam.core.artifact import storage
from q2_aam.core.data.missing_words import are_of_insdc
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import write_predictions

load = qiime2.Artifact.import_data


@pytest.fixture(scope="module")
def table(simulated):
    return load("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def study(simulated, tmp_path_factory):
    """Return metadata as a file of a study has them, with words for what is missing."""
    frame = simulated.metadata[["age", "site"]].copy()
    frame["age"] = frame["age"].round(3).astype(str)
    frame.loc[frame.index[:4], "age"] = ["not applicable", "Missing: Not provided", "NA", ""]
    frame["ill"] = ["0", "1"] * (len(frame) // 2)
    frame["cohort"] = frame["ill"]
    frame.loc[frame.index[4:6], "ill"] = ["LabControl test", "not collected"]
    frame.loc[frame.index[6], "site"] = "not provided"
    path = tmp_path_factory.mktemp("study") / "metadata.tsv"
    frame.to_csv(path, sep="\t")
    return qiime2.Metadata.load(str(path))


REGRESSION = [
    aam.methods.train_regressor,
    aam.pipelines.regress_samples,
    aam.pipelines.cross_validate_regression,
]
CLASSIFICATION = [
    aam.methods.train_classifier,
    aam.pipelines.classify_samples,
    aam.pipelines.cross_validate_classification,
]


@pytest.mark.parametrize("action", REGRESSION, ids=lambda action: action.id)
def test_words_among_numbers_are_named_with_the_way_out(action, table, study):
    values = study.get_column("age").to_series().fillna("unknown")
    column = qiime2.CategoricalMetadataColumn(values)
    said = (
        r"4 of the table's 48 samples have a word for a missing value \(column 'age'\): .*"
        r"'not applicable' \(1\).* such as for sample 'sample01'.*--p-missing-samples ignore.*"
        r"reads the column as numbers, empty these cells\.$"  # 'unknown' is no word of INSDC
    )
    with pytest.raises(ValueError, match=said):
        action(table, column, **QUICK)


@pytest.mark.parametrize("action", CLASSIFICATION, ids=lambda action: action.id)
def test_words_among_classes_are_named(action, table, study):
    said = r"1 of the table's 48 samples have a word .* 'site'\): 'not provided' \(1\)"
    with pytest.raises(ValueError, match=said):
        action(table, study.get_column("site"), **QUICK)


@pytest.mark.parametrize(
    "word", ["missing", "not provided", " not applicable ", "Missing", "not available", "unknown"]
)
def test_words_of_insdc_are_those_that_qiime_2_knows(word, tmp_path):
    lines = ["sample-id\tage", "#q2:missing\tINSDC:missing", "a\t1.5", f"b\t{word}"]
    path = tmp_path / "metadata.tsv"
    path.write_text("\n".join(lines) + "\n")
    column = qiime2.Metadata.load(str(path)).get_column("age")
    assert are_of_insdc([word])[0] == isinstance(column, qiime2.NumericMetadataColumn)


# What compares predictions with a column needs its kind as much as what learns it.
SCORING = [aam.methods.score_regression, aam.visualizers.evaluate_regression]
CLASS_SCORING = [aam.methods.score_classification, aam.visualizers.evaluate_classification]


@pytest.fixture(scope="module")
def call(table, simulated):
    """Return a function that calls an action with a column, of whatever else it needs."""
    ages = simulated.metadata["age"].rename("prediction")
    sites = simulated.metadata["site"].rename("prediction")
    predicted = load("SampleData[RegressorPredictions]", ages)
    classes = load("SampleData[ClassifierPredictions]", sites)
    chances = load("SampleData[Probabilities]", pd.get_dummies(sites).astype(float))

    def called(action, column, **more):
        if action in SCORING:
            return action(predicted, column, **more)
        if action in CLASS_SCORING:
            return action(classes, chances, column, **more)
        return action(table, column, **more, **QUICK)

    return called


@pytest.mark.parametrize("action", CLASSIFICATION + CLASS_SCORING, ids=lambda action: action.id)
def test_numbers_for_classes_are_refused_with_the_way_out(action, call, study):
    said = (
        r"column 'cohort' is numeric \(2 different values, such as 0, 1\), .*below the header .*"
        r"'#q2:types' .*'categorical' in this column, or predict numbers with a regressor"
    )
    with pytest.raises(ValueError, match=said):
        call(action, study.get_column("cohort"))


@pytest.mark.parametrize("action", REGRESSION + SCORING, ids=lambda action: action.id)
def test_text_for_numbers_is_refused_with_the_way_out(action, call, study):
    said = (
        r"'site' has 47 values that are not finite .* such as 'gut' .*\(in all: .*'gut' \(\d+\).*"
        r"write numbers like 12.5, without a unit, and .* classes with a classifier"
    )
    with pytest.raises(ValueError, match=said):
        call(action, study.get_column("site"), missing_samples="ignore")


@pytest.mark.parametrize(
    "action", REGRESSION + SCORING + CLASSIFICATION + CLASS_SCORING, ids=lambda action: action.id
)
@pytest.mark.parametrize("missing_samples", ["error", "ignore"])
def test_an_empty_column_is_called_so(action, missing_samples, call, simulated):
    empty = pd.Series(np.nan, simulated.metadata.index, name="weight")
    said = r"None of the table's 48 samples, such as 'sample\d+', has .* column 'weight'; choose"
    with pytest.raises(ValueError, match=said):
        call(action, qiime2.NumericMetadataColumn(empty), missing_samples=missing_samples)


@pytest.mark.parametrize("action", [aam.methods.train_regressor, *SCORING], ids=lambda a: a.id)
def test_numbers_that_are_categorical_are_numbers(action, call, simulated):
    """As after '#q2:types', or where a word among the numbers has been left out."""
    text = qiime2.CategoricalMetadataColumn(simulated.metadata["age"].map("{:.3f}".format))
    assert call(action, text)


def test_numbers_are_learnt_without_the_words(table, study):
    age = study.get_column("age")
    assert isinstance(age, qiime2.CategoricalMetadataColumn)
    ignore = {"missing_samples": "ignore"}
    made = aam.methods.train_regressor(table, age, **ignore, **QUICK).regressor
    predictions = aam.methods.predict_regression(table, made).predictions
    assert predictions.view(pd.Series).name == "prediction"
    scores = aam.methods.score_regression(predictions, age, **ignore).scores
    assert scores.view(pd.DataFrame)["n_samples"].tolist() == [44]
    with pytest.raises(ValueError, match=r"3 of the table's 48 samples have a word|1 of .* no va"):
        aam.methods.score_regression(predictions, age)


@pytest.fixture(scope="module")
def ill(table, study):
    """Return a classifier of a column with words, and its predictions."""
    column = study.get_column("ill")
    model = aam.methods.train_classifier(table, column, missing_samples="ignore", **QUICK)
    return column, model.classifier, aam.methods.predict_classification(table, model.classifier)


def test_classes_are_learnt_without_the_words(ill):
    _, model, made = ill
    spec = storage.load(str(model.view(AAMModelDirectoryFormat))).spec
    assert spec.target.classes == ("0", "1")
    assert made.predictions.view(pd.Series).name == "prediction"


def test_words_are_no_true_classes_either(ill):
    column, _, (predictions, probabilities) = ill
    scored = aam.methods.score_classification(
        predictions, probabilities, column, missing_samples="ignore"
    ).scores
    assert scored.view(pd.DataFrame)["n_samples"].tolist() == [46]
    for action in (aam.methods.score_classification, aam.visualizers.evaluate_classification):
        with pytest.raises(ValueError, match=r"2 of the table's 48 samples have a word"):
            action(predictions, probabilities, column)


def test_groups_may_be_numbers(study, simulated):
    ages = load("SampleData[RegressorPredictions]", simulated.metadata["age"].rename("prediction"))
    age = qiime2.Metadata(simulated.metadata).get_column("age")
    cohort = study.get_column("cohort")
    assert isinstance(cohort, qiime2.NumericMetadataColumn)
    (scores,) = aam.methods.score_regression(ages, age, groups=cohort)
    assert scores.view(pd.DataFrame)["group"].tolist() == ["0", "1", "all samples"]
    (scores,) = aam.methods.score_regression(ages, age, groups=study.get_column("site"))
    assert scores.view(pd.DataFrame)["n_samples"].iloc[:-1].sum() == 47
    other = qiime2.CategoricalMetadataColumn(
        study.get_column("site").to_series().rename(lambda name: f"other.{name}")
    )
    with pytest.raises(ValueError, match=r"None of the sample .* 'sample\d+', .* 'other.sample"):
        aam.methods.score_regression(ages, age, groups=other)


NUMBERS = (
    *SCORING,
    aam.methods.tabulate_regression,
    aam.methods.score_columns,
    aam.visualizers.evaluate_columns,
)


@pytest.mark.parametrize("wrong", ["", "high", "inf"])
@pytest.mark.parametrize("of_forest", [False, True])
@pytest.mark.parametrize("action", NUMBERS, ids=lambda action: action.id)
def test_predictions_that_are_no_numbers_are_named(action, of_forest, wrong, simulated):
    said = simulated.metadata["age"].rename("prediction").map(str)
    wanting = said.where(said.index != "sample07", wrong)
    both = {"predictions": said, "forest_predictions": wanting}
    if not of_forest:
        both = {"predictions": wanting, "forest_predictions": said}
    kind, metadata = "SampleData[RegressorPredictions]", qiime2.Metadata(simulated.metadata)
    given = {name: load(kind, write_predictions(made)) for name, made in both.items()}
    if "columns" in action.id:
        given = {name: [made] for name, made in given.items()}
        given |= {"metadata": metadata, "columns": ["age"]}
    else:
        given |= {"metadata": metadata.get_column("age")}
    expected = f"1 of 48 predictions are not .* numbers, such as '{wrong}' of sample 'sample07'"
    with pytest.raises(ValueError, match=expected):
        action(**given)


# ---- the command line --------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that runs a qiime command, in a directory of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.chdir(tmp_path)
    testing = pytest.importorskip("click.testing")
    program = pytest.importorskip("q2cli.__main__").qiime
    return lambda line: testing.CliRunner().invoke(program, line.split())


def test_commands_follow_the_metadata_file(command, table, study, ill):
    table.save("table.qza")
    ill[2].predictions.save("predictions.qza")
    study.save("study.tsv")
    lines = Path("study.tsv").read_text().splitlines(keepends=True)
    columns = "--m-metadata-file study.tsv --m-metadata-column"
    train = (
        f"aam train-classifier --i-table table.qza {columns} cohort --p-rarefy-depth 9999999 "
        "--verbose"
    )
    Path("study.tsv").write_text("".join([lines[0], *lines[2:]]))  # without the types
    done = command(f"{train} --o-classifier classifier.qza")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "Metadata column 'cohort' is numeric (2 different values, such as 0, 1)" in said
    assert "begins with '#q2:types' and has the word 'categorical'" in said
    Path("study.tsv").write_text("".join([lines[0], "#q2:types\t\t\t\tcategorical\n", *lines[2:]]))
    done = command(f"{train} --o-classifier classifier.qza")
    assert "No sample is left after rarefaction to 9999999 reads" in " ".join(done.output.split())
    train = f"aam train-regressor --i-table table.qza {columns} age --verbose"
    Path("study.tsv").write_text("".join([lines[0], *lines[2:]]))
    done = command(f"{train.replace(' age ', ' ill ')} --o-regressor regressor.qza")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "2 of the table's 48 samples have a word for a missing value" in said
    assert "reads the column as numbers, empty these cells." in said
    more = "--p-missing-samples ignore"
    done = command(f"{train.replace(' age ', ' site ')} {more} --o-regressor regressor.qza")
    assert "write numbers like 12.5, without a unit" in " ".join(done.output.split())
    files = "--m-input-file study.tsv --m-input-file predictions.qza"
    done = command(f"metadata tabulate {files} --o-visualization both.qzv --verbose")
    assert done.exit_code == 0, done.output
    assert Path("both.qzv").is_file()


# ---- names -------------------------------------------------------------------------------------


def md5(sequence):
    return hashlib.md5(sequence.encode()).hexdigest()


def trained(simulated, tmp_path, name, tip, record):
    """Pre-train with names of features, tips and sequences, each made of the sequence."""
    features = list(simulated.table.ids("observation"))
    ids = [name(sequence) for sequence in features]
    renamed = biom.Table(simulated.table.matrix_data, ids, simulated.table.ids())
    newick = simulated.newick
    for sequence in features:
        newick = newick.replace(sequence, tip(sequence))
    tree, fasta = tmp_path / "tree.nwk", tmp_path / "sequences.fasta"
    tree.write_text(newick)
    fasta.write_text("".join(f">{record(sequence)}\n{sequence}\n" for sequence in features))
    made = aam.methods.pretrain(
        load("FeatureTable[Frequency]", renamed),
        load("Phylogeny[Rooted]", str(tree), NewickFormat),
        load("FeatureData[Sequence]", str(fasta), DNAFASTAFormat),
        **QUICK,
    )
    return storage.load(str(made.encoder.view(AAMModelDirectoryFormat)))


def test_names_in_other_forms_make_the_same_model(simulated, tmp_path):
    expected = trained(simulated, tmp_path, str, str, str)
    found = trained(simulated, tmp_path, md5, str, lambda s: f"{md5(s)};size=123;")
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], value)
