"""Several numeric columns in one pipeline: the same split, one pre-training, results together."""

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
from pipeline_recorder import Recorder
from q2_types.tree import NewickFormat
from qiime2.plugins import aam
from sklearn.metrics import mean_absolute_error, r2_score

from q2_aam.actions.pipelines import columns as of_columns
from q2_aam.actions.pipelines import studies
from q2_aam.core.evaluation.scores import regression_scores
from q2_aam.pages import columns as page_of_columns
from q2_aam.registration.columns import outputs_of_columns

QUICK = {**run_inputs.QUICK, "forest": "no"}
SHALLOW = {"rarefy_depth": 100, "forest": "no"}
BOTH = ["age", "pH"]


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def phylogeny(tree_path):
    return qiime2.Artifact.import_data("Phylogeny[Rooted]", str(tree_path), NewickFormat)


@pytest.fixture(scope="module")
def frame(simulated):
    """Return metadata with columns that can be learnt, and with some that cannot."""
    data = simulated.metadata.copy()
    data["pH"] = 7.5 - data["age"] / 40
    data.loc[data.index[::4], "pH"] = np.nan
    data["same"] = 3.0
    data["few"] = np.nan
    data.loc[data.index[:2], "few"] = [1.0, 2.0]
    data["empty"] = np.nan
    return data


@pytest.fixture(scope="module")
def metadata(frame):
    return qiime2.Metadata(frame)


def kept(call):
    """Return the samples that a call of filter_samples keeps."""
    return set(call["metadata"].ids)


def call(table, metadata, columns=BOTH, **options):
    ctx = Recorder()
    outputs = studies.regress_columns(ctx, table, metadata, columns, **{**SHALLOW, **options})
    return ctx, outputs


# ---- what is called with what ------------------------------------------------------------------


def test_nothing_is_waited_for(table, phylogeny, metadata):
    ctx, outputs = call(table, metadata, phylogeny=phylogeny, forest="yes")
    assert len(outputs) == len(aam.pipelines.regress_columns.signature.outputs)
    assert len(ctx.named("train_regressor")) == len(ctx.named("fit_regressor")) == 2
    assert len({id(output) for output in outputs}) == len(outputs)


@pytest.mark.parametrize("by_column", [False, True])
def test_split_is_the_same_for_all_columns(by_column, table, phylogeny, metadata, frame):
    split = {"split": metadata.get_column("split")} if by_column else {}
    ctx, _ = call(table, metadata, phylogeny=phylogeny, **split)
    trained = [kept(made["table"].inputs) for made in ctx.named("train_regressor")]
    tested = [kept(made["table"].inputs) for made in ctx.named("predict_regression")]
    has_ph = set(frame.index[frame["pH"].notna()])
    assert trained[0] | tested[0] == set(frame.index)
    assert not trained[0] & tested[0]
    assert (trained[1], tested[1]) == (trained[0] & has_ph, tested[0] & has_ph)
    if by_column:
        assert tested[0] == set(frame.index[frame["split"] == "test"])


def test_an_encoder_is_pretrained_once_on_samples_that_no_column_tests(table, phylogeny, metadata):
    ctx, outputs = call(table, metadata, phylogeny=phylogeny, pretrain_epochs=7)
    (pretraining,) = ctx.named("pretrain")
    assert pretraining["epochs"] == 7
    seen = kept(pretraining["table"].inputs)
    for made in ctx.named("train_regressor"):
        assert made["encoder"].inputs is pretraining
        assert kept(made["table"].inputs) <= seen
    for made in ctx.named("predict_regression"):
        assert not kept(made["table"].inputs) & seen
    assert outputs[2].inputs is pretraining


def test_columns_keep_to_the_order_asked_for(table, metadata):
    ctx, _ = call(table, metadata, ["pH", "age"])
    asked = [made["metadata"].name for made in ctx.named("train_regressor")]
    assert asked == ["pH", "age"]
    (scored,) = ctx.named("score_columns")
    assert scored["columns"] == ["pH", "age"]
    predicted = [
        each.inputs["regressor"].inputs["metadata"].name for each in scored["predictions"]
    ]
    assert predicted == ["pH", "age"]


def test_what_is_settled_for_all_reaches_each_column(table, metadata):
    ctx, _ = call(table, metadata, rarefy_depth=None, random_seed=5, loss_type="mae")
    options = [
        {name: made[name] for name in ("rarefy_depth", "random_seed", "loss_type", "from_scratch")}
        for made in ctx.named("train_regressor")
    ]
    assert options[0] == options[1]
    assert options[0]["rarefy_depth"] > 0
    assert options[0]["from_scratch"]  # these reads are not those of the encoder that ships
    assert options[0]["loss_type"] == "mae"


def test_groups_stay_whole(table, metadata, frame):
    person = pd.Series([f"p{i // 3}" for i in range(len(frame))], frame.index, name="person")
    column = qiime2.CategoricalMetadataColumn(person)
    ctx, _ = call(table, metadata, groups=column)
    for made, test in zip(
        ctx.named("train_regressor"), ctx.named("predict_regression"), strict=True
    ):
        persons = [set(person[list(kept(each["table"].inputs))]) for each in (made, test)]
        assert not persons[0] & persons[1]
        assert made["groups"] is column


# ---- what is refused ---------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once(table, metadata):
    ctx = Recorder()
    names = ["age", "weight", "site", "same", "few", "empty"]
    with pytest.raises(ValueError, match="5 of the 6 columns cannot be predicted") as error:
        studies.regress_columns(ctx, table, metadata, names, **SHALLOW)
    said = str(error.value)
    for part in (
        "'weight': the metadata has no such column.",
        "'site': it is categorical; predict classes with classify-samples.",
        "'same': ",
        "'few': ",
        "'empty': no sample of the table has a value.",
        "The numeric columns are 'age', 'empty', 'few', 'pH', 'same'.",
    ):
        assert part in said
    assert "'age':" not in said
    assert not ctx.calls


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["age", "age"], "1 of the 1 columns .* 'age': it is named more than once"),
        (["empty"], "'empty': no sample of the table has a value"),
        (["site"], "'site': it is categorical.* The numeric columns are"),
    ],
)
def test_columns_that_cannot_be_predicted(names, said, table, metadata):
    with pytest.raises(ValueError, match=said):
        call(table, metadata, names)


def test_a_covariate_among_the_columns_is_told_with_all_else(table, metadata):
    ctx, beside = Recorder(), {"covariates": metadata, "covariate_columns": ["pH", "site"]}
    said = "2 of the 3 columns .* 'weight': the .* 'pH': it is a covariate too; leave it out"
    with pytest.raises(ValueError, match=said):
        studies.regress_columns(ctx, table, metadata, [*BOTH, "weight"][::-1], **SHALLOW, **beside)
    assert not ctx.calls


@pytest.mark.parametrize("forest", ["auto", "yes", "no"])
def test_results_of_one_name_are_refused_at_the_start(forest, table, frame):
    metadata = qiime2.Metadata(frame.assign(pH_forest=frame["age"] + 1))
    names = ["pH_forest", "age", "pH"]
    if forest == "no":
        ctx, _ = call(table, metadata, names, forest=forest)
        assert len(ctx.named("train_regressor")) == 3
        return
    said = (
        "1 of the 3 columns .* 'pH_forest': its predictions are named 'pH_forest_prediction', as "
        "are those of the random forest for column 'pH'; rename it"
    )
    ctx = Recorder()
    with pytest.raises(ValueError, match=said):
        studies.regress_columns(ctx, table, metadata, names, **{**SHALLOW, "forest": forest})
    assert not ctx.calls


def test_covariates_alone_are_shown_beside_each_column(table, metadata):
    beside = {"covariates": metadata, "covariate_columns": ["site"]}
    ctx, _ = call(table, metadata, **beside)
    alone = [each for each in ctx.named("predict_regression") if each.get("only_covariates")]
    assert [each["regressor"].inputs["metadata"].name for each in alone] == BOTH
    for action in ("score_columns", "evaluate_columns"):
        (shown,) = ctx.named(action)
        assert [each.inputs for each in shown["covariate_predictions"]] == alone
    ctx, _ = call(table, metadata, stored_samples=0, **beside)
    assert "covariate_predictions" not in ctx.named("score_columns")[0]


def test_results_of_covariates_alone(table, metadata, frame, tmp_path):
    made = aam.pipelines.regress_columns(
        table, metadata, BOTH, split=metadata.get_column("split"), covariates=metadata,
        covariate_columns=["site"], **QUICK,
    )  # fmt: skip
    results, scores = made.results.view(pd.DataFrame), made.scores.view(pd.DataFrame)
    for name, found in zip(BOTH, scores["covariates_mae"], strict=True):
        said = results[f"{name}_covariates_prediction"].dropna()
        assert said.round(6).nunique() <= frame["site"].nunique()
        assert found == pytest.approx(mean_absolute_error(frame.loc[said.index, name], said))
    made.evaluation.export_data(str(tmp_path))
    assert "Beside the covariates alone" in (tmp_path / "index.html").read_text(encoding="ascii")


def test_scores_refuse_results_of_one_name(frame):
    metadata = qiime2.Metadata(frame.assign(age_forest=frame["age"] + 1))
    names = ["age", "age_forest"]
    made = [artifact(metadata.get_column(name).to_series()) for name in names]
    found = aam.methods.score_columns(made, metadata, names).results.view(pd.DataFrame)
    assert "age_forest_prediction" in found
    with pytest.raises(ValueError, match="Column 'age_forest': its predictions are named"):
        aam.methods.score_columns(made, metadata, names, forest_predictions=made)


def test_a_column_without_a_held_out_sample_is_refused(table, frame):
    data = frame.copy()
    data.loc[data["split"] == "test", "pH"] = np.nan
    metadata = qiime2.Metadata(data)
    n = data["pH"].notna().sum()
    with pytest.raises(ValueError, match=f"'pH': none of its {n} samples with a value is a test"):
        call(table, metadata, split=metadata.get_column("split"))


def test_samples_that_the_metadata_lacks(table, frame):
    metadata = qiime2.Metadata(frame.iloc[5:])
    with pytest.raises(ValueError, match=r"5 of the table's 48 samples .*missing_samples"):
        call(table, metadata)
    ctx, _ = call(table, metadata, missing_samples="ignore")
    made, test = ctx.named("train_regressor")[0], ctx.named("predict_regression")[0]
    assert kept(made["table"].inputs) | kept(test["table"].inputs) == set(frame.index[5:])


# ---- results -----------------------------------------------------------------------------------


def test_results_of_all_columns_lie_together(table, metadata, frame, tmp_path):
    made = aam.pipelines.regress_columns(
        table, metadata, BOTH, split=metadata.get_column("split"), **{**QUICK, "forest": "yes"}
    )
    results = made.results.view(pd.DataFrame)
    test = made.test_table.view(biom.Table).ids()
    assert set(results.index) == set(test) == set(frame.index[frame["split"] == "test"])
    scores = made.scores.view(pd.DataFrame).set_index("group")
    assert list(scores.index) == BOTH
    for name in BOTH:
        own = results[results[f"{name}_true_value"].notna()]
        assert own[f"{name}_true_value"].tolist() == frame.loc[own.index, name].tolist()
        assert scores["n_samples"][name] == len(own) == frame.loc[list(test), name].notna().sum()
        true, predicted = own[f"{name}_true_value"], own[f"{name}_prediction"]
        assert scores["r2"][name] == pytest.approx(r2_score(true, predicted))
        assert (predicted - true).tolist() == pytest.approx(own[f"{name}_error"].tolist())
        forest = mean_absolute_error(true, own[f"{name}_forest_prediction"])
        assert scores["forest_mae"][name] == pytest.approx(forest)
    # All of it can stand beside the metadata that it came from.
    merged = metadata.merge(made.results.view(qiime2.Metadata))
    assert {"age", "age_prediction"} <= set(merged.columns)
    made.evaluation.export_data(str(tmp_path))
    text = (tmp_path / "index.html").read_text(encoding="ascii")
    assert "Predictions of 2 columns" in text
    assert "The model is better than the random forest in" in text


def test_a_column_is_predicted_as_by_itself(table, metadata, frame):
    """By regress-samples, on the same split."""
    split = metadata.get_column("split")
    together = aam.pipelines.regress_columns(table, metadata, BOTH, split=split, **QUICK)
    results = together.results.view(pd.DataFrame)
    alone = aam.pipelines.regress_samples(
        table, metadata.get_column("pH"), split=split, missing_samples="ignore", **QUICK
    )
    expected = alone.predictions.view(pd.Series)
    found = results["pH_prediction"].dropna()
    assert set(found.index) == set(expected.index)
    np.testing.assert_allclose(found[expected.index], expected, rtol=1e-6)


def artifact(values):
    return qiime2.Artifact.import_data("SampleData[RegressorPredictions]", values.rename("p"))


def test_predictions_and_columns_belong_together(frame, metadata):
    with pytest.raises(ValueError, match="There are 1 predictions and 2 columns"):
        aam.methods.score_columns([artifact(frame["age"])], metadata, BOTH)
    with pytest.raises(ValueError, match="no numeric column 'site'"):
        aam.methods.score_columns([artifact(frame["age"])], metadata, ["site"])
    with pytest.raises(ValueError, match=r"None of the 48 samples .* column 'empty'"):
        aam.methods.score_columns([artifact(frame["age"])], metadata, ["empty"])
    with pytest.raises(ValueError, match=r"random forest for column 'age' .* of the 48 samples"):
        aam.methods.score_columns(
            [artifact(frame["age"])], metadata, ["age"],
            forest_predictions=[artifact(frame["age"].iloc[1:])],
        )  # fmt: skip


def tables(n=60, n_columns=2, error=2.0, forest=None):
    rng = np.random.default_rng(0)
    ids = pd.Index([f"s{i}" for i in range(n)], name="sample-id")
    made = {}
    for i in range(n_columns):
        true = pd.Series(rng.normal(40, 10, n), ids)
        data = {"true_value": true, "prediction": true + rng.normal(0, error, n)}
        data["error"] = data["prediction"] - true
        if forest is not None:
            data["forest_prediction"] = true + rng.normal(0, forest, n)
        made[f"column{i}"] = pd.DataFrame(data)
    return made


def test_page_counts_the_columns_that_are_predicted():
    good, bad = tables(n_columns=1), tables(n_columns=3, error=60.0)
    page = page_of_columns.page({"good": good["column0"], "bad": bad["column2"]}, 0)
    assert page.lead == [
        "1 of 2 columns are clearly predicted better than by their means (the 95% interval of R² "
        "is above 0): good."
    ]
    page = page_of_columns.page({"bad": bad["column2"]}, 0)
    assert page.lead == ["No column is clearly predicted better than by its mean (R² above 0)."]


def test_page_counts_the_columns_that_a_forest_predicts_as_well():
    made = tables(forest=6.0) | {"worse": tables(1000, error=6.0, forest=1.0)["column0"]}
    page = page_of_columns.page(made, 0)
    assert "better than the random forest in 2 of 3 columns, worse in 1, and no" in page.lead[1]
    (scores,) = page.sections[1].tables
    assert (
        "fewer reads than rarefy_depth, which the model left out" in page.sections[1].paragraphs[1]
    )
    assert [row[-1] for row in scores.rows] == ["better", "better", "worse"]
    assert len(scores.columns) == len(scores.rows[0])
    table = page.downloads["scores.tsv"].table.loc["worse"]
    of_forest = table[(table["made by"] == "random forest") & (table["score"] == "mae")]
    expected = regression_scores(made["worse"]["true_value"], made["worse"]["forest_prediction"])
    assert of_forest["value"].item() == pytest.approx(expected["mae"].value)


def test_page_of_many_columns_draws_some():
    page = page_of_columns.page(tables(30, n_columns=24), 0)
    assert len(page.sections[1].figures) == 20
    assert page.sections[1].paragraphs == ["Shown are the first 20 of 24 columns."]


# ---- collections, which this QIIME 2 may not have ----------------------------------------------


class Collection:
    """Stands for the type of collections."""

    def __class_getitem__(cls, kind):
        return f"Collection[{kind}]"


def test_models_and_predictions_are_outputs_where_there_are_collections():
    without, having = (outputs_of_columns(each) for each in (None, Collection))
    new = {name: str(kind) for name, (kind, _) in having.items() if name not in without}
    assert new == {
        "regressors": "Collection[AAMModel[SequenceRegressor]]",
        "predictions": "Collection[SampleData[RegressorPredictions]]",
    }
    assert list(having) == [*list(without)[:3], *new, *list(without)[3:]]


def test_the_pipeline_returns_collections_where_there_are_any(table, metadata, monkeypatch):
    monkeypatch.setattr(studies, "HAVE_COLLECTIONS", True)
    ctx, outputs = call(table, metadata)
    named = dict(zip(outputs_of_columns(Collection), outputs, strict=True))
    assert list(named["regressors"]) == list(named["predictions"]) == BOTH
    trained = ctx.named("train_regressor")
    assert [each.inputs for each in named["regressors"].values()] == trained
    (scored,) = ctx.named("score_columns")
    assert list(named["predictions"].values()) == scored["predictions"]


def test_names_in_collections_are_those_that_qiime2_takes():
    names = ["age", "pH (soil)", "pH [soil]", "größe", "a/b"]
    made = of_columns.by_column(names, range(5))
    assert made == {"age": 0, "pH__soil_": 1, "pH__soil__2": 2, "gr__e": 3, "a_b": 4}
