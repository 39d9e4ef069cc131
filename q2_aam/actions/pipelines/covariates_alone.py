"""What the covariates alone predict, beside what the model predicts with the ASVs."""

from collections.abc import Sequence

from q2_aam.actions.pipelines.jobs import Job, Made


def predict_from_covariates(job: Job, made: Sequence[Made]) -> dict:
    """Predict the samples held out from each model, by its covariates alone.

    Returns
    -------
    dict
        What the evaluation is given, by name; empty if there are no covariates, or no stored
        samples to learn from.
    """
    if job.given.covariates is None or job.training["stored_samples"] == 0:
        return {}
    predict = job.ctx.get_action("aam", job.kind.predict)
    beside = {"covariates": job.given.covariates, "only_covariates": True, "device": job.device}
    predicted = [
        tuple(predict(each.test_table, each.model, job.given.sequences, **beside)) for each in made
    ]
    return job.baseline("covariate", predicted)
