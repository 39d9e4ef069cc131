"""What the usage examples are given: simulated samples, and small models of them.

Nothing is made, and torch is not imported, before an example is executed.
"""

from functools import lru_cache

import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat

from q2_aam.types.predictions import read_predictions

SMALL = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "rarefy_depth": 100,
    "epochs": 2,
}


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
