"""Types and help texts that the registrations of several actions share."""

from qiime2.plugin import (
    Categorical,
    Citations,
    Int,
    List,
    Metadata,
    MetadataColumn,
    Numeric,
    Range,
    Str,
)

from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor

citations = Citations.load("citations.bib", package="q2_aam")

ANY_MODEL = AAMModel[SequenceEncoder | SequenceRegressor | SequenceClassifier]
ANY_COLUMN = MetadataColumn[Categorical | Numeric]
"""QIIME 2 refuses a column of another kind than an action takes before the action can say why."""
GROUPS = {"groups": ANY_COLUMN}
GROUPS_HELP = (
    "Column that says which samples belong together, such as the person who gave them. The "
    "validation samples (test_size) are then whole groups. Otherwise they would choose the model "
    "that recognises persons best."
)
STUDY = {
    **GROUPS,
    "covariates": Metadata,
    "covariate_columns": List[Str],
    "weights": ANY_COLUMN,
    "balance": ANY_COLUMN,
}
"""What training is told of the samples beside the column to predict."""
STUDY_HELP = {
    "groups": GROUPS_HELP,
    "covariates": "Metadata with columns that the model reads beside the table, such as age or "
    "sex. Name these columns in covariate_columns. Prediction asks for the same columns. A "
    "missing value counts as unknown.",
    "covariate_columns": "Names of the covariates: columns of numbers or of categories. The model "
    "predicts from them as well as from the ASVs, so do not take them for the microbiome. The "
    "evaluation of a pipeline compares the model with the covariates alone. summarize-training "
    "gives their score on the validation samples.",
    "weights": "Column of numbers above 0: how much each sample counts in training.",
    "balance": "Column of groups that count alike in training, whatever their numbers of samples, "
    "such as studies of unequal size. With weights, these say how much a sample counts within its "
    "group.",
}
COVARIATES_HELP = (
    "Metadata of the samples with the columns that the model was trained with as covariates, if "
    "there were any. Other columns may be there too. A missing value, or a category that is new "
    "to the model, counts as unknown."
)
SEED = Int % Range(0, 2**31 - 1, inclusive_end=True)

TABLE_HELP = "Counts of ASVs (or other features) in samples. Raw counts, not relative abundances."
NEW_TABLE_HELP = f"{TABLE_HELP} The table may hold features that no training sample has."
SEQUENCES_HELP = (
    "Sequences of the features of the table. Needed if the feature ids are not the sequences. "
    "In tables of Deblur and redbiom they are."
)
PHYLOGENY_HELP = "Rooted tree with branch lengths. Its tips are the features of the table."
MISSING_PREDICTED_HELP = (
    "What to do if predicted samples are not in the metadata, have no value, or have a word for a "
    "missing value, such as 'not applicable': stop (error), or leave these samples out (ignore)."
)
FOREST_HELP = (
    "Predictions of the same samples by a random forest, such as that of q2-sample-classifier, "
    "trained on the same training samples. Its scores are then shown beside those of the model."
)
FOREST_SCORES_HELP = (
    "Columns that begin with 'forest_' are the scores of the random forest, if there is one. Can "
    "be used as metadata."
)
FOREST_CHANCES_HELP = "The probabilities that belong to the predictions of the random forest."
CATEGORICAL_HELP = (
    "To make a column of numbers, such as 0 and 1, categorical, add a line to the metadata file "
    "that begins with '#q2:types' and has the word 'categorical' in this column."
)
SEED_HELP = (
    "Seed of the random draws: the bootstrap, and the choice of points if a chart cannot show all."
)
