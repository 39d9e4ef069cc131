"""What other plugins of QIIME 2 make of our results: they are shown, drawn and filtered by."""

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import skbio
from qiime2.plugins import aam, feature_table, metadata, sample_classifier

from q2_aam.registration import example_data


def column(name):
    return example_data.sample_metadata().get_column(name)


def is_page(results):
    (page,) = results
    return str(page.type) == "Visualization"


@pytest.fixture(scope="module")
def scores():
    return aam.methods.score_regression(
        example_data.predicted_ages(), column("age"), groups=column("site")
    ).scores


@pytest.fixture(scope="module")
def importance():
    return aam.methods.importance(example_data.table(), example_data.classifier(), max_features=5)


@pytest.mark.parametrize(
    ("result", "columns"),
    [
        (example_data.encoder, {"train/unifrac_loss", "val/nuc_accuracy"}),
        (example_data.regressor, {"val/mae", "val/r2"}),
        (example_data.predicted_ages, {"prediction"}),
        (example_data.predicted_sites, {"prediction"}),
        (example_data.site_probabilities, {"gut", "oral", "skin"}),
        ("scores", {"group", "n_samples", "r2", "r2_low"}),
    ],
)
def test_results_are_tabulated(result, columns, request):
    artifact = request.getfixturevalue(result) if isinstance(result, str) else result()
    opened = artifact.view(qiime2.Metadata)
    assert columns <= set(opened.columns)
    assert is_page(metadata.visualizers.tabulate(opened))


PREDICTED = {
    "numbers": (example_data.predicted_ages, example_data.age_intervals),
    "classes": (example_data.predicted_sites, example_data.site_probabilities),
}


@pytest.mark.parametrize("kind", PREDICTED)
def test_predictions_are_merged_with_the_metadata_that_they_predict(kind):
    merged = example_data.sample_metadata()
    for predicted in PREDICTED[kind]:
        merged = merged.merge(predicted().view(qiime2.Metadata))
    assert merged.id_count == 60
    assert {"age", "site", "prediction"} <= set(merged.columns)
    assert is_page(metadata.visualizers.tabulate(merged))


def test_scatterplot():
    predicted = example_data.predicted_ages()
    assert is_page(sample_classifier.visualizers.scatterplot(predicted, column("age")))


@pytest.mark.parametrize("probabilities", [None, example_data.site_probabilities])
def test_confusion_matrix(probabilities):
    page = sample_classifier.visualizers.confusion_matrix(
        example_data.predicted_sites(), column("site"), probabilities and probabilities()
    )
    assert is_page(page)


def test_heatmap(importance):
    made = sample_classifier.pipelines.heatmap(
        example_data.table(),
        importance.importance,
        sample_metadata=column("site"),
        feature_count=7,
    )
    assert is_page([made.heatmap])
    assert made.filtered_table.view(biom.Table).shape[0] == 7


@pytest.mark.parametrize("turn", ["first", "second"])
def test_no_test_finds_a_figure_of_another(turn):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert pyplot.get_fignums() == []
    pyplot.figure()


def test_emperor_after_pcoa():
    emperor = pytest.importorskip("qiime2.plugins.emperor")
    distances = aam.methods.embed(example_data.table(), example_data.encoder()).distances
    found = skbio.stats.ordination.pcoa(distances.view(skbio.DistanceMatrix))
    pcoa = qiime2.Artifact.import_data("PCoAResults", found)
    assert is_page(emperor.visualizers.plot(pcoa, example_data.sample_metadata()))


def test_pcoa_and_group_significance():
    diversity = pytest.importorskip("qiime2.plugins.diversity")
    distances = aam.methods.embed(example_data.table(), example_data.encoder()).distances
    assert str(diversity.methods.pcoa(distances).pcoa.type) == "PCoAResults"
    assert is_page(diversity.visualizers.beta_group_significance(distances, column("site")))


def test_samples_are_filtered_by_predictions():
    predicted = example_data.predicted_ages().view(pd.Series)
    kept = feature_table.methods.filter_samples(
        example_data.table(),
        metadata=example_data.predicted_ages().view(qiime2.Metadata),
        where=f"prediction > {float(np.median(predicted))!r}",
    ).filtered_table
    expected = predicted.index[predicted > np.median(predicted)]
    assert set(kept.view(biom.Table).ids()) == set(expected)


def test_features_are_filtered_by_importance(importance):
    values = importance.importance.view(pd.DataFrame)["importance"]
    kept = feature_table.methods.filter_features(
        example_data.table(),
        metadata=importance.importance.view(qiime2.Metadata),
        where="importance > 0",
    ).filtered_table
    assert 0 < (values > 0).sum() < len(values)
    assert set(kept.view(biom.Table).ids("observation")) == set(values.index[values > 0])


def test_tables_of_a_pipeline_are_filtered_and_summarized():
    made = aam.pipelines.regress_samples(example_data.table(), column("age"), **example_data.SMALL)
    more = feature_table.methods.filter_samples(made.training_table, min_frequency=200)
    assert more.filtered_table.view(biom.Table).shape[1] < 48
    whole = feature_table.methods.merge([made.training_table, made.test_table]).merged_table
    assert whole.view(biom.Table).shape[1] == 60
    assert is_page(feature_table.visualizers.summarize(made.test_table))
