import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from q2_aam.core.data import nucleotides
from q2_aam.core.model.stored_samples import similarity
from q2_aam.core.model.stored_samples.similarity import Composition, Vocabulary

RNG = np.random.default_rng(3)


def tokens_of(*sequences):
    width = max(map(len, sequences))
    rows = np.zeros((len(sequences), width), np.uint8)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = nucleotides.encode(sequence, width)
    return rows


def random_sequence(n):
    return "".join(RNG.choice(list("ACGT"), n))


def changed(sequence, *places):
    letters = list(sequence)
    for i in places:
        letters[i] = "ACGT"[("ACGT".index(letters[i]) + 1) % 4]
    return "".join(letters)


def random_counts(n=9, width=30):
    counts = RNG.poisson(1.0, (n, width)) * RNG.integers(0, 50, (n, width))
    counts[:, 0] += 1
    return counts


KNOWN = [random_sequence(100) for _ in range(40)]


def test_find_knows_its_own_and_those_nearly_equal():
    vocabulary = Vocabulary(tokens_of(*KNOWN))
    asked = [KNOWN[7], changed(KNOWN[3], 50), changed(KNOWN[5], 1, 50, 99)]
    assert vocabulary.find(tokens_of(*asked)).tolist() == [7, 3, 5]


def test_find_refuses_what_differs_in_more_than_three_of_a_hundred():
    vocabulary = Vocabulary(tokens_of(*KNOWN))
    assert vocabulary.find(tokens_of(changed(KNOWN[5], 1, 2, 3, 4))).tolist() == [-1]


def test_find_compares_lengths_too():
    vocabulary = Vocabulary(tokens_of(*KNOWN))
    shorter, much_shorter = KNOWN[8][:98], KNOWN[8][:90]
    longer = KNOWN[9] + "ACGTACGT"
    assert vocabulary.find(tokens_of(shorter, much_shorter, longer)).tolist() == [8, -1, -1]


def test_find_takes_the_nearest_of_siblings():
    sibling = changed(KNOWN[0], 10)
    vocabulary = Vocabulary(tokens_of(KNOWN[0], sibling))
    asked = tokens_of(changed(KNOWN[0], 60), changed(sibling, 60))
    assert vocabulary.find(asked).tolist() == [0, 1]


def test_composition_of_merges_what_stands_for_the_same_asv():
    counts = csr_matrix(np.array([[3, 1, 4], [0, 8, 0]]))
    made = Composition.of(counts, np.array([1, 1, -1]), 2)
    np.testing.assert_allclose(made.roots.toarray(), [[0, np.sqrt(0.5)], [0, 1.0]])
    np.testing.assert_allclose(made.mass, [2 * np.sqrt(0.5), 1])
    np.testing.assert_allclose(made.known, [0.5, 1])
    assert made.richness.tolist() == [2, 1]


def test_inside_describes_the_same_as_of():
    made = compositions()[1]
    again = Composition.inside(made.roots)
    for name in ("mass", "richness", "log_squares", "known"):
        np.testing.assert_allclose(getattr(again, name), getattr(made, name))


def compositions():
    counts = random_counts()
    made = Composition.of(csr_matrix(counts), np.arange(30), 30)
    return counts, made


def test_distances_equal_those_of_scipy():
    counts, made = compositions()
    roots = np.sqrt(counts / counts.sum(axis=1, keepdims=True))
    present = counts > 0
    shares = roots**2
    np.testing.assert_allclose(
        similarity.abundance_distances(made, made)[0],
        cdist(shares, shares, "braycurtis"),
        atol=1e-12,
    )
    np.testing.assert_allclose(
        similarity.abundance_distances(made, made)[1], cdist(roots, roots, "cityblock"), atol=1e-12
    )
    np.testing.assert_allclose(
        similarity.hellinger_distance(made, made), cdist(roots, roots), atol=1e-7
    )
    logs = np.log1p(1000 * shares)
    np.testing.assert_allclose(similarity.log_distance(made, made), cdist(logs, logs), atol=1e-6)
    np.testing.assert_allclose(
        similarity.jaccard_similarity(made, made), 1 - cdist(present, present, "jaccard")
    )
    np.testing.assert_allclose(
        similarity.euclidean_distance(roots, roots[:4]), cdist(roots, roots[:4]), atol=1e-7
    )


@pytest.mark.parametrize(
    "name",
    [
        "abundance_distances",
        "hellinger_distance",
        "log_distance",
        "jaccard_similarity",
    ],
)
def test_asvs_outside_the_vocabulary_count_as_different(name):
    counts = random_counts(6, 12)
    everything = Composition.of(csr_matrix(counts), np.arange(12), 12)
    kept = np.where(np.arange(12) < 5, np.arange(12), -1)
    some = Composition.of(csr_matrix(counts), kept, 12)
    only_known = counts.copy()
    only_known[:, 5:] = 0
    reference = Composition.of(csr_matrix(only_known), np.arange(12), 12)
    measure = getattr(similarity, name)
    # Against samples without them, it makes no difference whether they have a name.
    np.testing.assert_allclose(
        measure(some, reference), measure(everything, reference), atol=1e-12
    )


def test_an_unknown_asv_is_searched_once(monkeypatch):
    tokens = np.random.default_rng(0).integers(1, 5, (9, 40)).astype(np.uint8)
    vocabulary, searched = similarity.Vocabulary(tokens[:5]), []
    near = tokens[2].copy()
    near[7] = near[7] % 4 + 1
    original = vocabulary._nearest
    monkeypatch.setattr(
        vocabulary, "_nearest", lambda some: searched.append(len(some)) or original(some)
    )
    asked = np.stack([tokens[1], near, tokens[8]])
    for _ in range(2):
        assert vocabulary.find(asked).tolist() == [1, 2, -1]
    assert vocabulary.find(tokens[6:8]).tolist() == [-1, -1]
    assert searched == [2, 2]


def test_in_frame_replaces_what_is_known_only_if_it_is_aligned():
    vocabulary = Vocabulary(tokens_of(*KNOWN))
    exact, near, unknown = KNOWN[1], changed(KNOWN[2], 40), random_sequence(90)
    deleted, longer = KNOWN[3][:40] + KNOWN[3][41:], KNOWN[4][:40] + "GA" + KNOWN[4][40:]
    asked = tokens_of(exact, near, unknown, deleted, longer)
    expected = tokens_of(exact, near, unknown, KNOWN[3], KNOWN[4])
    replaced = vocabulary.in_frame(asked)
    assert replaced.shape == (5, 102)
    np.testing.assert_array_equal(replaced[:, :100], expected)
    assert not replaced[:, 100:].any()
    narrow = vocabulary.in_frame(tokens_of(deleted))
    np.testing.assert_array_equal(narrow, tokens_of(KNOWN[3]))
    np.testing.assert_array_equal(vocabulary.in_frame(asked[:2]), asked[:2])


def test_find_knows_reads_of_variable_length():
    known = [random_sequence(n) for n in (180, 250, 251, 330, 420)]
    vocabulary = Vocabulary(tokens_of(*known))
    asked = [
        known[0][:90] + known[0][93:],
        known[1][:60] + "ACGTA" + known[1][60:200] + known[1][201:],
        known[2][:1] + known[2][2:],
        changed(known[3], 5, 70)[:200] + "TTT" + known[3][200:],
        known[4][:100] + known[4][112:],
        known[4][:100] + known[4][113:],
    ]
    assert vocabulary.find(tokens_of(*asked)).tolist() == [0, 1, 2, 3, 4, -1]
