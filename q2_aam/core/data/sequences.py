"""The sequence of each feature: its id, an entry of a mapping, or a record of a FASTA file."""

from collections.abc import Mapping
from pathlib import Path

from q2_aam.core.data import nucleotides

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

    Raises
    ------
    ValueError
        If an id is no sequence and no sequences are given, or a feature is not among them.
    """
    if sequences is None:
        named = [name for name in feature_ids if not nucleotides.is_sequence(name)]
        if named:
            raise ValueError(
                f"{len(named)} of {len(feature_ids)} feature ids are not DNA sequences, such as "
                f"'{named[0]}', so the model cannot read them: give the sequences of the features "
                "as well (--i-sequences, FeatureData[Sequence]; DADA2 and Deblur make it together "
                "with the table)."
            )
        return [name.upper().replace("U", "T") for name in feature_ids]
    missing = [name for name in feature_ids if name not in sequences]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(feature_ids)} features of the table are not among the "
            f"{len(sequences)} sequences, such as '{missing[0]}': give the sequences that belong "
            "to this table."
        )
    return [str(sequences[name]).upper().replace("U", "T") for name in feature_ids]
