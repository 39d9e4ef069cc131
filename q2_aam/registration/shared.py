"""Types and help texts that the registrations of several actions share."""

from qiime2.plugin import Citations, Int, Range

from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor

citations = Citations.load("citations.bib", package="q2_aam")

ANY_MODEL = AAMModel[SequenceEncoder | SequenceRegressor | SequenceClassifier]
SEED = Int % Range(0, 2**31 - 1, inclusive_end=True)

TABLE_HELP = "Counts of ASVs (or other features) in samples: raw, not relative."
NEW_TABLE_HELP = f"{TABLE_HELP} The features need not have been in training."
SEQUENCES_HELP = (
    "Sequences of the table's features. Needed unless the feature ids are the sequences "
    "themselves, as Deblur and redbiom have them."
)
PHYLOGENY_HELP = "Rooted tree with branch lengths whose tips are the features of the table."
MISSING_PREDICTED_HELP = (
    "What to do with predicted samples that are not in the metadata or have no value: stop "
    "(error), or leave them out (ignore)."
)
SEED_HELP = (
    "Seed of the random draws: the bootstrap, and which points are shown where there are too many."
)
