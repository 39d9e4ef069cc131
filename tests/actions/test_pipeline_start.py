"""Pipelines that are given neither an encoder nor a phylogeny: what their steps start from."""

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
from pipeline_recorder import Recorder
from qiime2.plugins import aam

from q2_aam.actions.pipelines import studies
from q2_aam.core.artifact import storage
from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.data import nucleotides
from q2_aam.core.model.specification import ENCODER
from q2_aam.types.models import AAMModelDirectoryFormat

IDS = [f"s{i}" for i in range(30)]


def table_of(change=lambda read: read):
    letters = np.array(list(nucleotides.BASES))
    reads = ["".join(letters[row - nucleotides.FIRST_BASE]) for row in encoder.sketch()[:40]]
    counts = np.random.default_rng(0).integers(0, 60, (40, 30))
    table = biom.Table(counts, [change(read) for read in reads], IDS)
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", table)


def turned(read):
    return read[::-1].translate(str.maketrans("ACGT", "TGCA"))


@pytest.fixture(scope="module")
def table():
    return table_of()


@pytest.fixture(scope="module")
def age():
    ages = pd.Series(np.linspace(20, 60, 30), pd.Index(IDS, name="id"), name="age")
    return qiime2.NumericMetadataColumn(ages)


def test_a_pipeline_hands_the_encoder_that_ships_to_training(table, age):
    ctx = Recorder()
    outputs = studies.regress_samples(ctx, table, age)
    assert len(ctx.named("shipped_encoder")) == 1
    (training,) = ctx.named("train_regressor")
    assert training["encoder"].action == "shipped_encoder"
    assert training["freeze_base"] is True
    assert outputs[2] is training["encoder"]


def test_all_folds_start_from_one_encoder_and_draw_as_many_reads(table, age):
    ctx = Recorder()
    studies.cross_validate_regression(ctx, table, age, n_folds=3)
    assert len(ctx.named("shipped_encoder")) == 1
    training = ctx.named("train_regressor")
    assert len({id(each["encoder"]) for each in training}) == 1
    depths = {each["rarefy_depth"] for each in training}
    assert len(training) == 3
    assert len(depths) == 1
    assert 0 < depths.pop() <= 5000


def test_the_encoder_that_ships_learns_where_that_is_asked_for(table, age):
    ctx = Recorder()
    studies.regress_samples(ctx, table, age, freeze_base=False)
    assert ctx.named("train_regressor")[0]["freeze_base"] is False


def test_other_reads_start_from_scratch_with_one_warning(age, caplog):
    ctx = Recorder()
    studies.cross_validate_regression(ctx, table_of(turned), age, n_folds=3)
    assert not ctx.named("shipped_encoder")
    assert all(each["from_scratch"] for each in ctx.named("train_regressor"))
    assert all(each["encoder"] is None for each in ctx.named("train_regressor"))
    said = [record.getMessage() for record in caplog.records]
    assert sum("Training starts from scratch" in text for text in said) == 1


def test_from_scratch_takes_no_encoder(table, age):
    ctx = Recorder()
    outputs = studies.regress_samples(ctx, table, age, from_scratch=True)
    assert not ctx.named("shipped_encoder")
    assert ctx.named("train_regressor")[0]["encoder"] is None
    assert outputs[2].action == "extract_encoder"


@pytest.mark.parametrize("given", ["encoder", "phylogeny"])
def test_from_scratch_contradicts_what_is_given(given, table, age):
    ctx = Recorder()
    with pytest.raises(ValueError, match=f"from random weights, so leave the {given} out"):
        studies.regress_samples(ctx, table, age, from_scratch=True, **{given: object()})
    assert not ctx.calls


def test_freezing_needs_an_encoder_for_such_reads(age):
    ctx = Recorder()
    with pytest.raises(ValueError, match=r"freeze_base keeps an encoder .* pre-train one"):
        studies.regress_samples(ctx, table_of(turned), age, freeze_base=True)
    assert not ctx.calls


def test_the_artifact_is_the_encoder_that_ships():
    (artifact,) = aam.methods.shipped_encoder()
    model = storage.load(str(artifact.view(AAMModelDirectoryFormat)))
    assert model.spec == encoder.load().spec
    assert model.spec.kind == ENCODER


def test_a_whole_run_needs_a_table_and_metadata_alone(table, age):
    made = aam.pipelines.regress_samples(table, age, epochs=2, ensemble=1, stored_samples=20)
    its = encoder.load().weights
    used = storage.load(str(made.used_encoder.view(AAMModelDirectoryFormat))).weights
    assert all((used[name] == value).all() for name, value in its.items())
    assert len(made.predictions.view(pd.Series)) == 6
