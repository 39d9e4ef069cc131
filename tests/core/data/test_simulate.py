"""The simulated data: what is promised of them, and that they are learnable."""

import hashlib
import io
import itertools

import biom
import numpy as np
import pandas as pd
import pytest
import skbio
from scipy.spatial.distance import hamming
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_predict

from q2_aam.core.data.simulate import SITES, SimulationConfig, main, simulate

SMALL = SimulationConfig(n_samples=30, n_features=40, n_bp=60, depth=200, seed=5)


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL)


def read_tree(simulation):
    return skbio.TreeNode.read(io.StringIO(simulation.newick), convert_underscores=False)


def relative_abundance(simulation, features):
    """Share of each sample's reads that the features hold, as a Series by sample."""
    frame = simulation.table.to_dataframe(dense=True)
    return frame.reindex(list(features)).sum() / frame.sum()


def test_simulate_same_seed_same_data(small):
    again = simulate(SMALL)
    assert again.table == small.table
    assert again.newick == small.newick
    assert again.sequences == small.sequences
    assert again.site_features == small.site_features
    pd.testing.assert_frame_equal(again.metadata, small.metadata)


def test_simulate_other_seed_other_data(small):
    other = simulate(SimulationConfig(**{**SMALL.to_dict(), "seed": 6}))
    assert not set(other.sequences) & set(small.sequences)


def test_simulate_same_data_under_every_numpy(small):
    # The same digest was computed with numpy 1.24 and 2.4.
    digest = hashlib.sha256("".join(small.sequences).encode())
    digest.update(small.table.matrix_data.toarray().astype("<i8").tobytes())
    digest.update("".join(f"{age}{site}" for age, site, _ in small.metadata.to_numpy()).encode())
    assert digest.hexdigest()[:16] == "6a71876ce9dfa471"


def test_simulate_table_tree_and_sequences_name_the_same_features(small):
    tips = {tip.name for tip in read_tree(small).tips()}
    assert tips == set(small.sequences)
    assert len(tips) == SMALL.n_features
    assert set(small.table.ids("observation")) <= tips
    assert list(small.table.ids()) == list(small.metadata.index)
    assert (small.table.sum("observation") > 0).all()


def test_simulate_ids_are_distinct_dna_of_the_length_asked(small):
    for name, sequence in small.sequences.items():
        assert name == sequence
        assert len(sequence) == SMALL.n_bp
        assert set(sequence) <= set("ACGT")


def test_simulate_distinct_sequences_even_on_a_tree_too_short_for_it():
    config = SimulationConfig(n_samples=2, n_features=200, n_bp=20, tree_height=0.001)
    assert len(simulate(config).sequences) == 200


def test_simulate_hashed_ids_rename_and_change_nothing_else(small):
    hashed = simulate(SimulationConfig(**{**SMALL.to_dict(), "hashed_ids": True}))
    assert list(hashed.sequences.values()) == list(small.sequences.values())
    for name, sequence in hashed.sequences.items():
        assert name == hashlib.md5(sequence.encode()).hexdigest()
    np.testing.assert_array_equal(
        hashed.table.matrix_data.toarray(), small.table.matrix_data.toarray()
    )
    assert {tip.name for tip in read_tree(hashed).tips()} == set(hashed.sequences)


def test_simulate_tree_is_rooted_bifurcating_with_positive_lengths(small):
    tree = read_tree(small)
    for node in tree.traverse():
        assert len(node.children) in (0, 2)
        assert node.is_root() or node.length > 0


def test_simulate_tree_height_is_the_mean_depth_of_the_tips():
    config = SimulationConfig(n_samples=2, n_features=400, tree_height=0.3)
    tree = read_tree(simulate(config))
    depths = [tip.distance(tree) for tip in tree.tips()]
    assert np.mean(depths) == pytest.approx(0.3, rel=0.1)


def test_simulate_sequences_differ_as_jukes_and_cantor_expect():
    config = SimulationConfig(n_samples=2, n_features=40, n_bp=2000, seed=1)
    simulation = simulate(config)
    pairs = list(itertools.combinations(read_tree(simulation).tips(), 2))
    found = [hamming(list(a.name), list(b.name)) for a, b in pairs]
    expected = [0.75 * -np.expm1(-4 / 3 * a.distance(b)) for a, b in pairs]
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_simulate_all_samples_reach_the_depth_by_default(small):
    reads = small.table.sum("sample")
    assert (reads >= SMALL.depth).all()
    assert len(set(reads)) > 20


def test_simulate_shallow_samples_stay_below_the_depth():
    config = SimulationConfig(n_samples=40, n_features=40, depth=500, shallow=0.25)
    reads = simulate(config).table.sum("sample")
    assert (reads < 500).sum() == 10
    assert (reads > 0).all()


def test_simulate_metadata_columns_and_split(small):
    metadata = small.metadata
    assert metadata.index.name == "sample-id"
    assert list(metadata.columns) == ["age", "site", "split"]
    assert metadata["age"].between(20, 80).all()
    assert set(metadata["site"]) == set(SITES)
    assert (metadata["split"] == "test").sum() == round(0.25 * 30)


def test_simulate_causal_features_are_disjoint_clades(small):
    tree = read_tree(small)
    clades = {frozenset(tip.name for tip in node.tips()) for node in tree.postorder()}
    causal = [small.age_features, *small.site_features.values()]
    assert set(small.site_features) == set(SITES)
    for features in causal:
        assert frozenset(features) in clades
    assert len(set().union(*causal)) == sum(map(len, causal))


def test_simulate_causal_clades_follow_age_and_site():
    simulation = simulate(SimulationConfig(n_samples=150, n_features=100, seed=2))
    share = relative_abundance(simulation, simulation.age_features)
    assert share.corr(simulation.metadata["age"], method="spearman") > 0.6
    for site, features in simulation.site_features.items():
        by_site = relative_abundance(simulation, features).groupby(simulation.metadata["site"])
        assert by_site.mean().idxmax() == site


def test_simulate_without_effects_nothing_follows_age():
    config = SimulationConfig(n_samples=150, n_features=100, age_effect=0, site_effect=0, seed=2)
    simulation = simulate(config)
    share = relative_abundance(simulation, simulation.age_features)
    assert abs(share.corr(simulation.metadata["age"], method="spearman")) < 0.2


def test_simulate_defaults_are_learnable_and_not_trivial():
    simulation = simulate(SimulationConfig(n_samples=200))
    counts = np.log1p(simulation.table.matrix_data.T.toarray())
    age, site = simulation.metadata["age"], simulation.metadata["site"]
    forest = {"n_estimators": 60, "random_state": 0}
    predicted_age = cross_val_predict(RandomForestRegressor(**forest), counts, age, cv=4)
    predicted_site = cross_val_predict(RandomForestClassifier(**forest), counts, site, cv=4)
    r2 = 1 - ((age - predicted_age) ** 2).mean() / age.var(ddof=0)
    assert 0.5 < r2 < 0.85
    assert 0.75 < (site == predicted_site).mean() < 0.99


def test_write_round_trip(small, tmp_path):
    paths = small.write(tmp_path / "new")
    assert biom.load_table(str(paths["table"])) == small.table
    assert paths["tree"].read_text().strip() == small.newick
    records = skbio.io.read(str(paths["sequences"]), format="fasta")
    assert {r.metadata["id"]: str(r) for r in records} == small.sequences
    metadata = pd.read_csv(paths["metadata"], sep="\t", index_col="sample-id")
    pd.testing.assert_frame_equal(metadata, small.metadata)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_features", 3, "n_features must be at least 12"),
        ("n_samples", 0, "n_samples must be at least 2"),
        ("shallow", 1.5, "shallow must be at most 1"),
        ("test_size", 1.0, "test_size must be at most"),
        ("n_bp", 12.5, "n_bp must be of type int"),
    ],
)
def test_simulation_config_refuses(field, value, message):
    with pytest.raises(ValueError, match=message):
        SimulationConfig(**{field: value})


def test_main_writes_what_simulate_makes(tmp_path, small):
    options = "--n-samples 30 --n-features 40 --n-bp 60 --depth 200 --seed 5"
    main([str(tmp_path / "out"), *options.split()])
    assert biom.load_table(str(tmp_path / "out" / "table.biom")) == small.table


def test_main_refuses_a_bad_option_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--n-features", "3"])
    assert "n_features must be at least 12" in capsys.readouterr().err
