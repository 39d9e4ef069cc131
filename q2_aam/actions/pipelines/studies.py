"""The pipelines: which samples train and which test, and actions put together.

Pipelines have no annotations, which QIIME 2 2022.11 rejects, and see artifacts, not views. Where
QIIME 2 runs in parallel, actions return at once with promises. So nothing here looks into a
result: it is only handed on, and all folds of a cross-validation are under way at the same time.
"""

import qiime2

from q2_aam.actions.parameters import (
    CLASSIFICATION_PIPELINE,
    REGRESSION_PIPELINE,
    pipeline_takes_options,
)
from q2_aam.actions.pipelines import columns as of_columns
from q2_aam.actions.pipelines import division, splits
from q2_aam.actions.pipelines.covariates_alone import predict_from_covariates
from q2_aam.actions.pipelines.forest import Forest
from q2_aam.actions.pipelines.jobs import CLASSIFIER, REGRESSOR, Job
from q2_aam.actions.releases import HAVE_COLLECTIONS


@pipeline_takes_options(REGRESSION_PIPELINE)
def regress_samples(
    ctx,
    given,
    split=None,
    test_value="test",
    test_fraction=0.2,
    **options,
):
    """Split the samples, train a regressor on some and test it on the others."""
    job = Job(ctx, REGRESSOR, given, options)
    parts = division.hold_out(job, split, test_value, test_fraction)
    forest = Forest(job, parts, [splits.TEST])
    made = job.train_and_test(parts, splits.TEST)
    model, (predictions,) = made.model, made.predictions
    beside = forest.predict([made]) | predict_from_covariates(job, [made])
    beside["random_seed"] = job.seed
    evaluation = job.call("evaluate_regression", predictions, given.metadata, **beside)
    summary = job.call("summarize_training", made.models)
    start = made.training_table, made.test_table, job.encoder_of(made)
    results = job.tabulate(made.predictions, [model], beside)
    return *start, model, predictions, evaluation, summary, results


@pipeline_takes_options(REGRESSION_PIPELINE)
def regress_columns(
    ctx,
    given,
    columns,
    split=None,
    test_value="test",
    test_fraction=0.2,
    **options,
):
    """Split the samples once, and train and test a regressor for each column."""
    job = Job(ctx, REGRESSOR, given, options)
    parts, chosen = of_columns.divided(job, columns, split, test_value, test_fraction)
    training_table, test_table = (job.only(parts.index[parts == p]) for p in splits.PARTS)
    # Pre-training is shared, so it is not counted where a forest must be quick beside a column.
    forest = Forest(job.without_pretraining(), parts, [splits.TEST])
    encoder = job.pretrain(training_table) if job.pretrains else None
    made, beside = of_columns.train_and_test(chosen, encoder, forest)
    models, predictions = [m.model for m in made], [m.predictions[0] for m in made]
    shown = {"metadata": given.metadata, "columns": columns, "random_seed": job.seed, **beside}
    score = ctx.get_action("aam", "score_columns")
    scores, results = score(predictions, **shown)
    evaluation = job.call("evaluate_columns", predictions, **shown)
    start = [] if made[0].encoder is None else [made[0].encoder]
    summary = job.call("summarize_training", [*start, *models])
    collections = [of_columns.by_column(columns, each) for each in (models, predictions)]
    return (
        training_table,
        test_table,
        job.encoder_of(made[0]),
        *(collections if HAVE_COLLECTIONS else []),
        scores,
        results,
        evaluation,
        summary,
    )


@pipeline_takes_options(CLASSIFICATION_PIPELINE)
def classify_samples(
    ctx,
    given,
    split=None,
    test_value="test",
    test_fraction=0.2,
    **options,
):
    """Split the samples, train a classifier on some and test it on the others."""
    job = Job(ctx, CLASSIFIER, given, options)
    parts = division.hold_out(job, split, test_value, test_fraction)
    forest = Forest(job, parts, [splits.TEST])
    made = job.train_and_test(parts, splits.TEST)
    beside = forest.predict([made]) | predict_from_covariates(job, [made])
    evaluation = _show_classes(job, *made.predictions, beside)
    summary = job.call("summarize_training", made.models)
    start = made.training_table, made.test_table, job.encoder_of(made)
    results = job.tabulate(made.predictions, [made.model], beside)
    return *start, made.model, *made.predictions, evaluation, summary, results


@pipeline_takes_options(REGRESSION_PIPELINE)
def cross_validate_regression(
    ctx,
    given,
    folds=None,
    n_folds=5,
    untrainable_folds="error",
    **options,
):
    """Predict each fold of the samples with a regressor trained on the other folds."""
    job = Job(ctx, REGRESSOR, given, options)
    parts, names = division.folds_of(job, folds, n_folds, untrainable_folds)
    forest = Forest(job, parts, names)
    made = job.train_and_test_each(parts, names)
    predictions = job.call("merge_predictions", [each.predictions[0] for each in made])
    by_fold = qiime2.CategoricalMetadataColumn(parts)
    scored = {"groups": by_fold, "random_seed": job.seed, **forest.predict(made)}
    scores = job.call("score_regression", predictions, given.metadata, **scored)
    scored |= predict_from_covariates(job, made)
    evaluation = job.call("evaluate_regression", predictions, given.metadata, **scored)
    models = [each.model for each in made]
    summary = job.call("summarize_training", models)
    results = job.tabulate([predictions], models, scored, by_fold)
    return job.ensemble_of(made), predictions, scores, evaluation, summary, results


@pipeline_takes_options(CLASSIFICATION_PIPELINE)
def cross_validate_classification(
    ctx,
    given,
    folds=None,
    n_folds=5,
    untrainable_folds="error",
    **options,
):
    """Predict each fold of the samples with a classifier trained on the other folds."""
    job = Job(ctx, CLASSIFIER, given, options)
    parts, names = division.folds_of(job, folds, n_folds, untrainable_folds)
    forest = Forest(job, parts, names)
    made = job.train_and_test_each(parts, names)
    predictions, probabilities = zip(*(each.predictions for each in made), strict=True)
    predictions = job.call("merge_predictions", list(predictions))
    probabilities = job.call("merge_probabilities", list(probabilities))
    by_fold = qiime2.CategoricalMetadataColumn(parts)
    beside = forest.predict(made)
    scored = {"groups": by_fold, "random_seed": job.seed, **beside}
    scores = job.call("score_classification", predictions, probabilities, given.metadata, **scored)
    beside |= predict_from_covariates(job, made)
    evaluation = _show_classes(job, predictions, probabilities, beside)
    models = [each.model for each in made]
    summary = job.call("summarize_training", models)
    results = job.tabulate([predictions, probabilities], models, beside, by_fold)
    return job.ensemble_of(made), predictions, probabilities, scores, evaluation, summary, results


def _show_classes(job: Job, predictions, probabilities, beside: dict):
    return job.call(
        "evaluate_classification",
        predictions,
        probabilities,
        job.given.metadata,
        random_seed=job.seed,
        **beside,
    )
