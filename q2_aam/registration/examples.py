"""Usage examples: what Galaxy and the generated documentation show of each action.

They run on simulated samples with models so small that each takes seconds (`example_data`).
"""

from q2_aam.actions.releases import HAVE_COLLECTIONS
from q2_aam.registration.example_data import ARTIFACTS, SMALL, sample_metadata, several_columns

NOTE = (
    "These options make the model small and the training short, so the example takes seconds. "
    "Leave them out for real samples."
)


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
