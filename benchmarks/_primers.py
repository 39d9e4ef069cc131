"""Whole 16S genes cut to what sequencing of V4 reads: the nucleotides after the 515F primer.

The primer is that of the Earth Microbiome Project (Parada et al., 2016).
"""

from collections.abc import Mapping

import numpy as np

PRIMER = "GTGYCAGCMGCCGCGGTAA"
BASES = {"A": "A", "C": "C", "G": "G", "T": "T", "M": "AC", "Y": "CT"}
MISMATCHES = 3
AFTER = 533
"""Nucleotides before the first read one, in the numbering of E. coli."""
LENGTH = 100
# Which bytes each place of the primer matches.
ALLOWED = np.array([np.isin(np.arange(256), list(BASES[code].encode())) for code in PRIMER])


def cut(sequences: Mapping[str, str]) -> dict[str, str]:
    """Keep the 100 nt after the primer, and print how many sequences have no place for it.

    Of a sequence without a place, what is at the same position in E. coli is kept.

    Parameters
    ----------
    sequences : mapping of str to str
        Genes by feature id.

    Raises
    ------
    ValueError
        If nothing is left of a sequence.
    """
    ends = {name: end_of_primer(text) for name, text in sequences.items()}
    missing = sum(end is None for end in ends.values())
    print(f"{missing} of {len(ends)} sequences have no 515F site: position {AFTER + 1} for it.")
    found = {}
    for name, end in ends.items():
        start = AFTER if end is None else end
        found[name] = sequences[name][start : start + LENGTH]
        if not found[name]:
            raise ValueError(
                f"Sequence '{name}' has {len(sequences[name])} nt, and none of them after the "
                "515F primer: cut genes that reach beyond it."
            )
    return found


def end_of_primer(sequence: str) -> int | None:
    """Return the position after the best place of the primer, the first of equal ones.

    None if each place has more than three mismatches.
    """
    codes = np.frombuffer(sequence.upper().replace("U", "T").encode(), dtype=np.uint8)
    n_places = len(codes) - len(PRIMER) + 1
    if n_places < 1:
        return None
    hits = sum(ALLOWED[i][codes[i : i + n_places]].astype(int) for i in range(len(PRIMER)))
    best = int(hits.argmax())
    return None if hits[best] < len(PRIMER) - MISMATCHES else best + len(PRIMER)
