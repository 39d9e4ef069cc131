"""Usage examples: what Galaxy and the generated documentation show of each action.

They run on simulated samples with models so small that each takes seconds. Nothing is made, and
torch is not imported, before an example is executed.
"""

from functools import lru_cache

import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat

from q2_aam.actions.releases import HAVE_COLLECTIONS
from q2_aam.types.predictions import read_predictions

SMALL = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "rarefy_depth": 100,
    "epochs": 2,
}
NOTE = (
    "These options make the model small and the training short, so the example takes seconds. "
    "Leave them out for real samples."
)


# ---- data --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _simulation():
    from q2_aam.core.data.simulate import SimulationConfig, simulate

    return simulate(SimulationConfig(n_samples=60, n_features=60, n_bp=40, depth=150, seed=7))


def table():
    """Return a simulated feature table, whose feature ids are sequences."""
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", _simulation().table)


def phylogeny():
    """Return the phylogeny of the simulated features."""
    from q2_types.tree import NewickFormat

    tree = NewickFormat()
    with tree.open() as handle:
        handle.write(_simulation().newick)
    return qiime2.Artifact.import_data("Phylogeny[Rooted]", tree)


def sample_metadata():
    """Return the metadata of the simulated samples: age, site and split."""
    return qiime2.Metadata(_simulation().metadata)


@lru_cache(maxsize=3)
def _model(action, column=None):
    from q2_aam.core import api

    data = _simulation()
    if column is not None:
        return getattr(api, action)(data.table, data.metadata[column], **SMALL)
    from q2_types.tree import NewickFormat

    return api.pretrain(data.table, str(phylogeny().view(NewickFormat)), **SMALL)


def _as_artifact(model):
    from q2_aam.core.artifact import storage
    from q2_aam.types.models import AAMModelDirectoryFormat

    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    return qiime2.Artifact.import_data(f"AAMModel[{model.spec.kind}]", directory)


def encoder():
    """Return a pre-trained encoder."""
    return _as_artifact(_model("pretrain"))


def regressor():
    """Return a model that predicts age."""
    return _as_artifact(_model("train_regressor", "age"))


def second_regressor():
    """Return another model that predicts age, of another seed."""
    from q2_aam.core import api

    data = _simulation()
    return _as_artifact(
        api.train_regressor(data.table, data.metadata["age"], random_seed=1, **SMALL)
    )


@lru_cache(maxsize=1)
def _quantile_model():
    from q2_aam.core import api

    data = _simulation()
    quantiles = {"loss_type": "quantile", "test_size": 0.4}
    return api.train_regressor(data.table, data.metadata["age"], **quantiles, **SMALL)


def quantile_regressor():
    """Return a model that predicts quantiles of age."""
    return _as_artifact(_quantile_model())


def age_medians():
    """Return predictions of age by the model that predicts quantiles."""
    from q2_aam.core import api

    ages = api.predict_regression(_simulation().table, _quantile_model())
    return qiime2.Artifact.import_data("SampleData[RegressorPredictions]", ages)


def age_intervals():
    """Return quantiles of age."""
    from q2_aam.core import api

    found = api.predict_quantiles(_simulation().table, _quantile_model())
    return qiime2.Artifact.import_data("SampleData[AAMIntervals]", found)


def classifier():
    """Return a model that predicts site."""
    return _as_artifact(_model("train_classifier", "site"))


def sample_embeddings():
    """Return embeddings of the samples."""
    from q2_aam.core import api

    vectors, _ = api.embed(_simulation().table, _model("pretrain"))
    return qiime2.Artifact.import_data("SampleData[AAMEmbedding]", vectors)


def predicted_ages(half=slice(None)):
    """Return predictions of age, of all samples or of a slice of them."""
    from q2_aam.core import api

    ages = api.predict_regression(_simulation().table, _model("train_regressor", "age"))
    return qiime2.Artifact.import_data("SampleData[RegressorPredictions]", ages[half])


def predicted_sites():
    """Return predictions of site."""
    return qiime2.Artifact.import_data("SampleData[ClassifierPredictions]", _sites()[0])


def site_probabilities(half=slice(None)):
    """Return the probabilities of the sites, of all samples or of a slice of them."""
    return qiime2.Artifact.import_data("SampleData[Probabilities]", _sites()[1][half])


def _sites():
    from q2_aam.core import api

    model = _model("train_classifier", "site")
    return api.predict_classification(_simulation().table, model)


FIRST, SECOND = slice(None, 30), slice(30, None)


def several_columns():
    """Return metadata with two numeric columns: age, and pH, which falls with age."""
    metadata = _simulation().metadata[["age"]]
    return qiime2.Metadata(metadata.assign(pH=_ph_at(metadata["age"])))


def predicted_ph():
    """Return predictions of pH."""
    ages = predicted_ages().view(PredictionsDirectoryFormat)
    found = _ph_at(read_predictions(ages).astype(float))
    return qiime2.Artifact.import_data("SampleData[RegressorPredictions]", found.rename("pH"))


def _ph_at(age):
    return 7.5 - age / 40


ARTIFACTS = {
    "table": table,
    "phylogeny": phylogeny,
    "encoder": encoder,
    "regressor": regressor,
    "classifier": classifier,
    "second_regressor": second_regressor,
    "quantile_regressor": quantile_regressor,
    "sample_embeddings": sample_embeddings,
    "age_medians": age_medians,
    "age_intervals": age_intervals,
    "predicted_ages": predicted_ages,
    "predicted_sites": predicted_sites,
    "predicted_ph": predicted_ph,
    "site_probabilities": site_probabilities,
    "predictions_fold1": lambda: predicted_ages(FIRST),
    "predictions_fold2": lambda: predicted_ages(SECOND),
    "probabilities_fold1": lambda: site_probabilities(FIRST),
    "probabilities_fold2": lambda: site_probabilities(SECOND),
}


# ---- examples ----------------------------------------------------------------------------------


def _example(action, inputs, outputs, columns=None, /, **parameters):
    """Make an example of one call.

    Parameters
    ----------
    action : str
        What is called.
    inputs : dict
        For each input the name of an artifact in `ARTIFACTS`, or a list of such names.
    outputs : dict
        For each output the name that the example gives it.
    columns : dict, optional
        For each metadata parameter the name of the column.
    **parameters
        All others.
    """

    def example(use):
        given = {}
        for parameter, names in inputs.items():
            listed = names if isinstance(names, list) else [names]
            made = [use.init_artifact(name, ARTIFACTS[name]) for name in listed]
            given[parameter] = made if isinstance(names, list) else made[0]
        if "columns" in parameters:
            given["metadata"] = use.init_metadata("several_columns", several_columns)
        if columns:
            metadata = use.init_metadata("sample_metadata", sample_metadata)
            for parameter, name in columns.items():
                given[parameter] = use.get_metadata_column(name, name, metadata)
        if "epochs" in parameters:
            use.comment(NOTE)
        use.action(
            use.UsageAction(plugin_id="aam", action_id=action),
            use.UsageInputs(**given, **parameters),
            use.UsageOutputNames(**outputs),
        )

    example.__name__ = action
    return example


TABLE = {"table": "table"}
WITH_TREE = {"table": "table", "phylogeny": "phylogeny"}
WITH_ENCODER = {"table": "table", "encoder": "encoder"}
WITH_MODEL = {"table": "table", "model": "encoder"}
AGE, SITE = {"metadata": "age"}, {"metadata": "site"}
PAGES = {"evaluation": "evaluation", "training_summary": "training_summary", "results": "results"}
SPLIT_OUTPUTS = {
    "training_table": "training_table",
    "test_table": "test_table",
    "used_encoder": "used_encoder",
}
PREDICTED_SITES = {"predictions": "predicted_sites", "probabilities": "site_probabilities"}
PREDICTED_COLUMNS = {"predictions": ["predicted_ages", "predicted_ph"]}
BOTH = {"columns": ["age", "pH"]}
COLUMNS_OUTPUTS = SPLIT_OUTPUTS | {"scores": "scores", "results": "results"} | PAGES
if HAVE_COLLECTIONS:
    COLUMNS_OUTPUTS |= {"regressors": "regressors", "predictions": "predictions"}

_CALLS = {
    "pretrain": (WITH_TREE, {"encoder": "encoder"}, None, SMALL),
    "train_regressor": (WITH_ENCODER, {"regressor": "regressor"}, AGE, SMALL),
    "train_classifier": (WITH_ENCODER, {"classifier": "classifier"}, SITE, SMALL),
    "shipped_encoder": ({}, {"encoder": "encoder"}),
    "combine_models": (
        {"models": ["regressor", "second_regressor"]},
        {"ensemble": "ensemble"},
    ),
    "extract_encoder": ({"model": "regressor"}, {"encoder": "encoder"}),
    "predict_regression": (
        {**TABLE, "regressor": "regressor"},
        {"predictions": "predicted_ages"},
    ),
    "predict_intervals": (
        {**TABLE, "regressor": "quantile_regressor"},
        {"intervals": "age_intervals"},
    ),
    "predict_classification": ({**TABLE, "classifier": "classifier"}, PREDICTED_SITES),
    "merge_predictions": (
        {"predictions": ["predictions_fold1", "predictions_fold2"]},
        {"merged_predictions": "predicted_ages"},
    ),
    "merge_probabilities": (
        {"probabilities": ["probabilities_fold1", "probabilities_fold2"]},
        {"merged_probabilities": "site_probabilities"},
    ),
    "score_regression": (
        {"predictions": "predicted_ages"},
        {"scores": "scores"},
        {**AGE, "groups": "site"},
    ),
    "score_classification": (PREDICTED_SITES, {"scores": "scores"}, SITE),
    "tabulate_regression": (
        {"predictions": "predicted_ages", "models": ["regressor"]},
        {"results": "results"},
        {**AGE, "groups": "site"},
    ),
    "tabulate_classification": (
        {**PREDICTED_SITES, "models": ["classifier"], "table": "table"},
        {"results": "results"},
        SITE,
    ),
    "embed": (WITH_MODEL, {"embeddings": "sample_embeddings", "distances": "distances"}),
    "embeddings_table": ({"embeddings": "sample_embeddings"}, {"table": "embeddings_table"}),
    "embed_features": (WITH_MODEL, {"embeddings": "asv_embeddings"}),
    "importance": (
        {**TABLE, "model": "classifier"},
        {
            "importance": "importance",
            "mean_effects": "mean_effects",
            "sample_effects": "sample_effects",
        },
        {"groups": "site"},
        {"max_features": 5},
    ),
    "known_reads": ({**TABLE, "model": "regressor"}, {"known_reads": "known_reads"}),
    "summarize_training": (
        {"models": ["encoder", "regressor"]},
        {"visualization": "training_summary"},
    ),
    "evaluate_regression": (
        {"predictions": "predicted_ages"},
        {"visualization": "evaluation"},
        {**AGE, "groups": "site"},
    ),
    "evaluate_classification": (PREDICTED_SITES, {"visualization": "evaluation"}, SITE),
    "regress_samples": (
        WITH_TREE,
        {
            **SPLIT_OUTPUTS,
            "regressor": "regressor",
            "predictions": "predicted_ages",
            **PAGES,
        },
        AGE,
        SMALL,
    ),
    "classify_samples": (
        WITH_TREE,
        {
            **SPLIT_OUTPUTS,
            "classifier": "classifier",
            **PREDICTED_SITES,
            **PAGES,
        },
        {**SITE, "split": "split"},
        {"test_value": "test", **SMALL},
    ),
    "score_columns": (PREDICTED_COLUMNS, {"scores": "scores", "results": "results"}, None, BOTH),
    "evaluate_columns": (PREDICTED_COLUMNS, {"visualization": "evaluation"}, None, BOTH),
    "regress_columns": (WITH_TREE, COLUMNS_OUTPUTS, None, BOTH | SMALL),
    "cross_validate_regression": (
        WITH_TREE,
        {
            "regressor": "ensemble",
            "predictions": "predicted_ages",
            "fold_scores": "fold_scores",
            **PAGES,
        },
        AGE,
        {"n_folds": 2, **SMALL},
    ),
    "cross_validate_classification": (
        TABLE,
        {
            "classifier": "ensemble",
            **PREDICTED_SITES,
            "fold_scores": "fold_scores",
            **PAGES,
        },
        SITE,
        {"n_folds": 2, **SMALL},
    ),
}


def _made_of(action, inputs, outputs, columns=None, parameters=None):
    return _example(action, inputs, outputs, columns, **(parameters or {}))


EXAMPLES = {action: {action: _made_of(action, *call)} for action, call in _CALLS.items()}
"""Examples by the name of the action, each by its own name."""

EXAMPLES["evaluate_regression"]["evaluate_intervals"] = _example(
    "evaluate_regression",
    {"predictions": "age_medians", "intervals": "age_intervals"},
    {"visualization": "evaluation"},
    {**AGE, "groups": "site"},
)


def attach(plugin):
    """Give the registered actions of the plugin their examples."""
    # One that is missing, or too many, fails a test; it must not fail every `qiime` command.
    for name, action in plugin.actions.items():
        action.examples.update(EXAMPLES.get(name, {}))
