"""Genes that the benchmarks cut at the 515F primer."""

import numpy as np
import pytest

from benchmarks import _primers

SITE = "GTGCCAGCAGCCGCGGTAA"


def random_bases(seed, length):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture
def read():
    return random_bases(2, 100)


@pytest.mark.parametrize(
    "site", [SITE, "GTGTCAGCCGCCGCGGTAA", SITE.lower(), SITE.replace("T", "U")]
)
def test_cut_keeps_what_follows_the_primer(read, site):
    gene = random_bases(0, 500) + site + read + random_bases(1, 80)
    assert _primers.cut({"gene": gene}) == {"gene": read}


def test_end_of_primer_allows_three_mismatches_and_takes_the_best_place():
    worse = "ACACCAGCAGCCGCGGTAA"  # three, at the places 0 to 2
    gene = random_bases(0, 50) + worse + random_bases(1, 50)
    assert _primers.end_of_primer(gene) == 69
    assert _primers.end_of_primer(gene + SITE) == len(gene + SITE)
    assert _primers.end_of_primer(gene.replace(worse, "ACATCAGCTGCCGCGGTAA")) is None


def test_cut_takes_the_position_in_e_coli_where_there_is_no_primer(read, capsys):
    genes = {"without": "A" * 533 + read, "with": "A" * 20 + SITE + read[:60]}
    assert _primers.cut(genes) == {"without": read, "with": read[:60]}
    assert "1 of 2 sequences have no 515F site" in capsys.readouterr().out


@pytest.mark.parametrize("gene", ["ACGT", "A" * 533, "A" * 20 + SITE])
def test_cut_refuses_a_gene_that_ends_before(gene):
    with pytest.raises(ValueError, match=f"Sequence 'short' has {len(gene)} nt"):
        _primers.cut({"short": gene})
