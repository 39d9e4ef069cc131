"""The sequence of each feature: its id, an entry of a mapping, or a record of a FASTA file."""

import logging
from collections.abc import Mapping
from pathlib import Path

from q2_aam.core.data import nucleotides
from q2_aam.core.data.feature_names import OtherForms, shorten, without_annotations

log = logging.getLogger(__name__)

Sequences = Mapping[str, str] | str | Path | None


def read_sequences(sequences: Sequences) -> Mapping[str, str] | None:
    """Return sequences by feature id, from a mapping or a FASTA file; None stays None."""
    if sequences is None or isinstance(sequences, Mapping):
        return sequences
    import skbio  # which loads much, and few need it

    try:
        records = skbio.io.read(str(sequences), format="fasta", constructor=skbio.Sequence)
        pairs = [(record.metadata["id"], str(record)) for record in records]
    except (skbio.io.FileFormatError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{sequences} cannot be read as FASTA: {reason}") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, sequence in pairs if found[name] is not sequence)
        raise ValueError(f"{sequences} has several sequences under the id '{twice}'.")
    return found


def sequences_of(feature_ids, sequences: Mapping[str, str] | None) -> list[str]:
    """Return the sequence of each feature in capital letters, with T for U.

    A feature may be named in another form than its sequence, as by the MD5 sum of it.

    Raises
    ------
    ValueError
        If an id is no sequence and no sequences are given, or a feature is not among them, or
        could be several of them.
    """
    if sequences is None:
        ids = [without_annotations(name) for name in feature_ids]
        named = [name for name in ids if not nucleotides.is_sequence(name)]
        if named:
            raise ValueError(
                f"{len(named)} of {len(feature_ids)} feature ids are not DNA sequences, such as "
                f"'{named[0]}', so the model cannot read them: give the sequences of the features "
                "as well (--i-sequences, FeatureData[Sequence]; DADA2 and Deblur make it together "
                "with the table)."
            )
        return [name.upper().replace("U", "T") for name in ids]
    other = _named_otherwise([name for name in feature_ids if name not in sequences], sequences)
    missing = [name for name in feature_ids if name not in sequences and name not in other]
    if missing:
        used = {*feature_ids, *other.values()}
        example = next((name for name in sequences if name not in used), None)
        said = "" if example is None else f" (a sequence is called '{shorten(example)}')"
        raise ValueError(
            f"{len(missing)} of {len(feature_ids)} features of the table are not among the "
            f"{len(sequences)} sequences, such as '{shorten(missing[0])}'{said}: give the "
            "sequences that belong to this table."
        )
    found = (str(sequences[other.get(name, name)]) for name in feature_ids)
    return [sequence.upper().replace("U", "T") for sequence in found]


def _named_otherwise(feature_ids: list[str], sequences: Mapping[str, str]) -> dict[str, str]:
    """Find features whose sequences have the same name in another form."""
    if not feature_ids:
        return {}
    forms = OtherForms((name, str(sequence)) for name, sequence in sequences.items())
    found = {}
    for feature in feature_ids:
        names = forms.find(feature)
        by_sequence = {str(sequences[name]).upper(): name for name in names}
        if len(by_sequence) > 1:
            one, other = list(by_sequence.values())[:2]
            raise ValueError(
                f"Feature '{shorten(feature)}' of the table could be several of the sequences, "
                f"such as '{shorten(one)}' and '{shorten(other)}', which differ: give each "
                "sequence the id that the table has."
            )
        if names:
            found[feature] = names[0]
    if found:
        feature, name = next(iter(found.items()))
        log.info(
            "%d of the sequences are named in another form than the features, such as '%s' for "
            "'%s': they are taken for the same.",
            len(found), shorten(name), shorten(feature),
        )  # fmt: skip
    return found
