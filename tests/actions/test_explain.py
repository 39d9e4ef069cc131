"""Looking into models as a user of QIIME 2 does, and what other plugins make of the results."""

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import skbio
from qiime2.plugin import ValidationError
from qiime2.plugins import aam, metadata, sample_classifier

from q2_aam.core import api
from q2_aam.core.explain import embeddings
from q2_aam.types.embeddings import AAMEmbeddingFormat


def as_artifact(model):
    from q2_aam.actions.views import save_model

    return qiime2.Artifact.import_data(f"AAMModel[{model.spec.kind}]", save_model(model))


OPTIONS = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "epochs": 1,
    "rarefy_depth": 100,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def site(simulated):
    return qiime2.Metadata(simulated.metadata).get_column("site")


@pytest.fixture(scope="module")
def trained_encoder(simulated, tree_path):
    return api.pretrain(simulated.table, tree_path, **OPTIONS)


@pytest.fixture(scope="module")
def trained_regressor(simulated):
    return api.train_regressor(simulated.table, simulated.metadata["age"], **OPTIONS)


@pytest.fixture(scope="module")
def embedded(table, trained_encoder):
    return aam.methods.embed(table, as_artifact(trained_encoder))


@pytest.fixture(scope="module")
def important(table, simulated, site):
    model = api.train_classifier(simulated.table, simulated.metadata["site"], **OPTIONS)
    return aam.methods.importance(table, as_artifact(model), groups=site, max_features=5)


def test_embed_opens_as_metadata_and_merges(embedded, simulated):
    assert str(embedded.embeddings.type) == "SampleData[AAMEmbedding]"
    opened = embedded.embeddings.view(qiime2.Metadata)
    assert opened.column_count == 16
    merged = opened.merge(qiime2.Metadata(simulated.metadata))
    assert merged.id_count == len(simulated.table.ids())
    page = metadata.visualizers.tabulate(merged).visualization
    assert str(page.type) == "Visualization"


def test_embed_is_stored_exactly(embedded, simulated, trained_encoder):
    expected, _ = api.embed(simulated.table, trained_encoder)
    pd.testing.assert_frame_equal(
        embedded.embeddings.view(pd.DataFrame).astype("float32"), expected.astype("float32"),
        check_exact=True,
    )  # fmt: skip


def test_embed_predicts_unifrac(embedded, simulated):
    assert str(embedded.distances.type) == "DistanceMatrix"
    distances = embedded.distances.view(skbio.DistanceMatrix)
    assert list(distances.ids) == list(simulated.table.ids())
    assert (distances.data >= 0).all()
    assert (distances.data < 1).all()
    found = skbio.stats.ordination.pcoa(distances, number_of_dimensions=3)
    assert found.samples.shape == (len(distances.ids), 3)


def test_distances_do_not_depend_on_blocks(simulated, trained_encoder, monkeypatch):
    _, whole = api.embed(simulated.table, trained_encoder)
    monkeypatch.setattr(embeddings, "BLOCK_NUMBERS", 16 * 7**2)
    _, blocks = api.embed(simulated.table, trained_encoder)
    np.testing.assert_allclose(whole.data, blocks.data, atol=1e-6)


def test_distances_of_a_model_without_unifrac_are_euclidean(simulated, trained_regressor, caplog):
    vectors, distances = api.embed(simulated.table, trained_regressor)
    assert "has not learnt UniFrac" in caplog.text
    expected = np.linalg.norm(vectors.iloc[0] - vectors.iloc[1])
    assert distances.data[0, 1] == pytest.approx(expected, rel=1e-3)


# ---- embeddings for others ---------------------------------------------------------------------


def test_a_table_of_embeddings_holds_them_exactly(embedded):
    made = aam.methods.embeddings_table(embedded.embeddings).table
    assert str(made.type) == "FeatureTable[Frequency]"
    vectors, table = embedded.embeddings.view(pd.DataFrame), made.view(biom.Table)
    assert list(table.ids()) == list(vectors.index)
    found = table.to_dataframe(dense=True).T
    assert (found.to_numpy() >= 0).all()
    assert found.shape == (48, 2 * 16)
    for name in vectors:
        above, below = found[f"{name}-positive"], found[f"{name}-negative"]
        assert (np.minimum(above, below) == 0).all()
        np.testing.assert_array_equal(above - below, vectors[name])


def test_a_table_of_embeddings_does_not_depend_on_other_samples(embedded):
    vectors = embedded.embeddings.view(pd.DataFrame)
    few = qiime2.Artifact.import_data("SampleData[AAMEmbedding]", vectors.iloc[[7, 3]])
    found = aam.methods.embeddings_table(few).table.view(biom.Table)
    whole = aam.methods.embeddings_table(embedded.embeddings).table.view(biom.Table)
    for name in vectors.index[[7, 3]]:
        np.testing.assert_array_equal(found.data(name), whole.data(name))


def test_sample_classifier_learns_from_embeddings(table, simulated, trained_encoder):
    """Training and new samples are embedded apart, as in a study that goes on."""
    ids, model = list(simulated.table.ids()), as_artifact(trained_encoder)
    halves = []
    for part in (ids[:30], ids[30:]):
        counts = simulated.table.filter(part, inplace=False)
        counts = qiime2.Artifact.import_data("FeatureTable[Frequency]", counts)
        vectors = aam.methods.embed(counts, model).embeddings
        halves.append(aam.methods.embeddings_table(vectors).table)
    age = qiime2.Metadata(simulated.metadata).get_column("age")
    fitted = sample_classifier.methods.fit_regressor(
        halves[0], age, n_estimators=10, random_state=1, missing_samples="ignore"
    )
    (ages,) = sample_classifier.methods.predict_regression(halves[1], fitted.sample_estimator)
    assert list(ages.view(pd.Series).index) == ids[30:]
    assert ages.view(pd.Series).std() > 0
    (scores,) = aam.methods.score_regression(ages, age)
    assert scores.view(pd.DataFrame)["n_samples"].tolist() == [18]


def test_sample_classifier_splits_embeddings_itself(embedded, simulated, site):
    made = aam.methods.embeddings_table(embedded.embeddings).table
    age = qiime2.Metadata(simulated.metadata).get_column("age")
    forest = {"n_estimators": 5, "random_state": 1, "cv": 2}
    ages = sample_classifier.pipelines.regress_samples(made, age, **forest).predictions
    assert set(ages.view(pd.Series).index) < set(simulated.metadata.index)
    sites = sample_classifier.pipelines.classify_samples(made, site, **forest).predictions
    assert set(sites.view(pd.Series)) <= {"gut", "oral", "skin"}


def test_sample_classifier_takes_predicted_distances(embedded, site):
    found = sample_classifier.pipelines.classify_samples_from_dist(embedded.distances, site, k=3)
    assert len(found.predictions.view(pd.Series)) == 48


def test_metatable_loses_dimensions_of_embeddings(embedded):
    """Why q2-sample-classifier's own way from metadata to a table is not enough."""
    (made,) = sample_classifier.pipelines.metatable(embedded.embeddings.view(qiime2.Metadata))
    vectors = embedded.embeddings.view(pd.DataFrame)
    kept = set(made.view(biom.Table).ids("observation"))
    assert kept == set(vectors.columns[(vectors >= 0).all()])
    assert len(kept) < 16


def test_embed_features_of_a_table_or_of_sequences(table, simulated, trained_encoder, tmp_path):
    model = as_artifact(trained_encoder)
    of_table = aam.methods.embed_features(model, table=table).embeddings
    assert str(of_table.type) == "FeatureData[AAMEmbedding]"
    fasta = tmp_path / "sequences.fna"
    names = list(simulated.table.ids("observation"))
    fasta.write_text("".join(f">{i}\n{name}\n" for i, name in enumerate(names)))
    sequences = qiime2.Artifact.import_data("FeatureData[Sequence]", str(fasta))
    of_sequences = aam.methods.embed_features(model, sequences=sequences).embeddings
    by_number = of_sequences.view(pd.DataFrame)
    by_name = of_table.view(pd.DataFrame).loc[names]
    order = [str(i) for i in range(len(names))]
    np.testing.assert_allclose(by_number.loc[order], by_name, atol=1e-5)
    assert of_table.view(qiime2.Metadata).id_count == len(names)


def test_embed_features_of_nothing(trained_encoder):
    with pytest.raises(ValueError, match="nothing to embed"):
        aam.methods.embed_features(as_artifact(trained_encoder))


def test_importance_is_taken_by_heatmap_and_tabulate(table, important, site):
    assert str(important.importance.type) == "FeatureData[Importance]"
    results = sample_classifier.pipelines.heatmap(
        table, important.importance, sample_metadata=site, feature_count=8
    )
    assert str(results.heatmap.type) == "Visualization"
    for artifact in (important.importance, important.mean_effects, important.sample_effects):
        page = metadata.visualizers.tabulate(artifact.view(qiime2.Metadata)).visualization
        assert str(page.type) == "Visualization"


def test_importance_has_a_column_for_each_group(important):
    columns = list(important.importance.view(pd.DataFrame).columns)
    assert columns == ["importance_gut", "importance_oral", "importance_skin"]
    effects = important.sample_effects.view(pd.DataFrame)
    assert (effects.astype(bool).sum(axis=1) <= 5).all()


def test_importance_and_mean_effects_are_tabulated_together(important):
    both = important.importance.view(qiime2.Metadata).merge(
        important.mean_effects.view(qiime2.Metadata)
    )
    assert {"importance_gut", "mean_effect_gut"} <= set(both.columns)
    page = metadata.visualizers.tabulate(both).visualization
    assert str(page.type) == "Visualization"


def test_importance_refuses_encoders(table, simulated, trained_encoder):
    with pytest.raises(ValueError, match="predicts no metadata"):
        api.importance(simulated.table, trained_encoder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\tx\n", "nothing is embedded"),
        ("id\na\n", "expected 2"),
        ("id\tx\na\t1\t2\n", "3 tab-separated fields"),
        ("id\tx\na\tnan\n", "finite number"),
        ("id\tx\na\tb\n", "finite number"),
        ("id\tx\na\t1\na\t2\n", "occurs twice"),
    ],
)
def test_embedding_format_refuses(content, message, tmp_path):
    path = tmp_path / "embeddings.tsv"
    path.write_text(content)
    with pytest.raises(ValidationError, match=message):
        AAMEmbeddingFormat(str(path), mode="r").validate("max")
