"""Sequences that are nearly the same but for insertions and deletions."""

import numpy as np
import pytest

from q2_aam.core.data import nucleotides
from q2_aam.core.model.stored_samples import gapped_search
from q2_aam.core.model.stored_samples.gapped_search import GappedSearch, gapped_differences

READ = "".join(np.random.default_rng(5).choice(list("ACGT"), 160))


def tokens_of(*sequences):
    rows = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = nucleotides.encode(sequence, len(sequence))
    return rows


def other(base):
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def mutated(sequence, n, rng, *, gaps=True):
    """Substitute, insert or delete a nucleotide n times, at random places."""
    letters = list(sequence)
    for _ in range(n):
        i, kind = rng.integers(len(letters)), rng.integers(3 if gaps else 1)
        if kind == 0:
            letters[i] = other(letters[i])
        elif kind == 1:
            letters.insert(i, rng.choice(list("ACGT")))
        else:
            del letters[i]
    return "".join(letters)


def reference(a, b):
    """Count differences with the usual table of all prefixes, one for each net shift."""
    best = {(0, 0): 0}
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            steps = [best.get((i - 1, j), np.inf) + 1, best.get((i, j - 1), np.inf) + 1]
            if i and j:
                unequal = a[i - 1] != b[j - 1] or a[i - 1] not in "ACGT"
                steps.append(best[i - 1, j - 1] + unequal)
            best[i, j] = min([*steps, best.get((i, j), np.inf)])
    total = np.inf
    for (i, j), cost in best.items():
        if i == len(a) or j == len(b):
            beyond, shift = (len(b) - j) - (len(a) - i), j - i
            moved = min(abs(beyond), abs(shift)) if beyond * shift < 0 else 0
            total = min(total, cost + abs(beyond) - moved)
    return total


def differences(a, b, most=10):
    rows = tokens_of(a, b)
    return int(gapped_differences(rows[:1], rows[1:], np.array([most]))[0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(READ, READ, 0, id="same"),
        pytest.param(READ, READ[:50] + other(READ[50]) + READ[51:], 1, id="substitution"),
        pytest.param(READ, READ[:50] + READ[51:], 1, id="deletion"),
        pytest.param(READ[:100], READ[:50] + READ[51:101], 1, id="deletion-cut-at-one-length"),
        pytest.param(READ[:100], (READ[:50] + "A" + READ[50:])[:100], 1, id="insertion-cut"),
        pytest.param(READ[:100], READ[:20] + READ[22:70] + READ[71:103], 3, id="two-deletions"),
        pytest.param(READ[:100], READ[:40] + READ[41:70] + "A" + READ[70:100], 2, id="balanced"),
        pytest.param(READ[:100], READ[:97], 3, id="shorter"),
        pytest.param(READ[:100], READ[5:105], 5, id="begins-later"),
        pytest.param(READ[:100], READ[1:96], 5, id="begins-later-and-is-shorter"),
        pytest.param(READ[:100], READ[:50] + "N" + READ[51:100], 1, id="ambiguous"),
        pytest.param("N" + READ[:50], "N" + READ[:50], 1, id="ambiguous-in-both"),
        pytest.param(READ[:100], READ[20:120], 11, id="more-than-asked-for"),
    ],
)
def test_differences_are_counted(a, b, expected):
    assert differences(a, b) == differences(b, a) == expected


def test_differences_are_those_of_the_full_table():
    rng = np.random.default_rng(1)
    for _ in range(60):
        a = "".join(rng.choice(list("ACGT"), rng.integers(12, 24)))
        b = mutated(a, rng.integers(5), rng)[: rng.integers(10, 26)]
        assert differences(a, b, most=12) == min(reference(a, b), 13), (a, b)


def test_differences_of_many_pairs_are_those_of_each():
    rng = np.random.default_rng(2)
    a = [mutated(READ, 3, rng) for _ in range(30)]
    b = [mutated(READ, n % 7, rng) for n in range(30)]
    rows, most = tokens_of(*a, *b), np.arange(30) % 9
    expected = [min(differences(x, y, 20), m + 1) for x, y, m in zip(a, b, most, strict=True)]
    assert gapped_differences(rows[:30], rows[30:], most).tolist() == expected


@pytest.mark.parametrize("length", [34, 40, 100, 253, 420])
def test_find_loses_nothing_that_is_near(length):
    rng = np.random.default_rng(length)
    root = "".join(rng.choice(list("ACGT"), length + 20))
    # Relatives of each other, as of one marker, so that most k-mers are frequent.
    known = [mutated(root, length // 12, rng, gaps=i % 2)[:length] for i in range(30)]
    most = int(0.03 * length)
    asked = [mutated(name, n, rng)[:length] for name in known[:15] for n in (most, most + 2)]
    vocabulary = tokens_of(*known)
    found = GappedSearch(vocabulary, 0.97).find(tokens_of(*asked))
    everything = tokens_of(*(a for a in asked for _ in known), *known * len(asked))
    a, b = everything[: len(asked) * 30], everything[len(asked) * 30 :]
    longer = np.maximum((a > 0).sum(axis=1), (b > 0).sum(axis=1))
    cost = gapped_differences(a, b, np.floor(0.03 * longer + 1e-9).astype(int))
    saved = longer - ((a == b) & (a > 0)).sum(axis=1) >= 3 * cost
    near = np.where(((longer - cost) / longer >= 0.97) & saved, cost, 999).reshape(len(asked), 30)
    assert ((found >= 0) == (near.min(axis=1) < 999)).all()
    hit = np.flatnonzero(found >= 0)
    assert len(hit) >= 5
    assert (near[hit, found[hit]] == near[hit].min(axis=1)).all()


def test_find_in_small_steps_finds_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    known = [mutated(READ, 15, rng) for _ in range(20)]
    asked = tokens_of(*(mutated(name, 3, rng) for name in known))
    search = GappedSearch(tokens_of(*known), 0.97)
    whole = search.find(asked)
    monkeypatch.setattr(gapped_search, "CELLS_AT_A_TIME", 1)
    assert search.find(asked).tolist() == whole.tolist() == list(range(20))


def test_find_takes_what_has_no_kmers():
    short = tokens_of("ACGTACG", "TTTT")
    assert GappedSearch(short, 0.97).find(tokens_of("ACGTAG", READ)).tolist() == [-1, -1]
    assert GappedSearch(tokens_of(READ), 0.97).find(tokens_of("ACG")).tolist() == [-1]


def test_common_finds_what_begins_elsewhere():
    rng = np.random.default_rng(4)
    known = ["".join(rng.choice(list("ACGT"), 100)) for _ in range(20)]
    search = GappedSearch(tokens_of(*known), 0.97)
    number, n_common = search.common(tokens_of(known[7][40:], "G" * 30))
    assert number.tolist() == [7, 0]
    assert n_common.tolist() == [49, 0]


@pytest.mark.parametrize("padding", [1, 60])
def test_find_takes_sequences_that_are_padded(padding):
    rng = np.random.default_rng(6)
    known = tokens_of(*("".join(rng.choice(list("ACGT"), 100)) for _ in range(20)))
    asked = np.delete(known, 50, axis=1)
    asked, wide = (np.pad(tokens, ((0, 0), (0, padding))) for tokens in (asked, known))
    for vocabulary in (known, wide):
        assert GappedSearch(vocabulary, 0.97).find(asked).tolist() == list(range(20))
