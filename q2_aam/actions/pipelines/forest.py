"""A random forest beside the model: q2-sample-classifier's, on the same samples.

It reads the tables of the pipeline as they are: q2-sample-classifier's users give all reads, and
QIIME 2 rarefies without a seed. So who calls its actions on these tables gets the same forest.
"""

import copy
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import qiime2

from q2_aam.actions.pipelines.jobs import Job, Made
from q2_aam.actions.pipelines.run_time import counts_read, seconds_of_forest, seconds_of_run

log = logging.getLogger(__name__)

LARGEST_SHARE = 0.1
"""Of the time of a run, that a forest takes that nobody asked for."""
WAY_OUT = "To have one, choose forest 'yes' (--p-forest yes)."
WITHOUT = "To run without one, choose forest 'no' (--p-forest no)."


class Forest:
    """A random forest for each model of a pipeline, or none.

    Whether there is one is decided, and said, before anything is trained: where QIIME 2 runs in
    parallel, actions return at once, so nothing can be timed.

    Parameters
    ----------
    job : Job
        With its samples divided.
    parts : pandas.Series of str
        The part that each sample is in, by sample id.
    held_out : sequence of str
        Names of the parts that are held out, one after the other.
    """

    def __init__(self, job: Job, parts: pd.Series, held_out: Sequence[str]):
        self.job = job
        self.wanted = self.asked_for = job.given.forest == "yes"
        if job.given.forest == "auto":
            self.wanted = _takes_little(job, parts, held_out)

    def of(self, job: Job) -> "Forest":
        """Return the forest of another job, for which the same was decided."""
        other = copy.copy(self)
        other.job = job
        return other

    def predict(self, made: Sequence[Made]) -> dict:
        """Train on the training samples of each model, and predict the samples held out from it.

        Returns
        -------
        dict
            What the evaluation is given of the forest, by name; empty if there is none.

        Raises
        ------
        ValueError
            If it cannot be trained, and the user asked for it. Where QIIME 2 runs in parallel,
            this is known only after this call.
        """
        if not self.wanted:
            return {}
        kind = "classifier" if self.job.kind.classes else "regressor"
        log.info("Training a random forest on the same samples.")
        try:
            predicted = [
                self._predict(kind, each.training_table, each.test_table) for each in made
            ]
        except (ValueError, MemoryError) as error:
            said = str(error) or type(error).__name__
            if self.asked_for:
                raise ValueError(
                    f"The random forest beside the model could not be trained: {said} {WITHOUT}"
                ) from error
            log.warning(
                "There is no random forest beside the model, as it could not be trained: %s", said
            )
            return {}
        return self.job.baseline("forest", predicted)

    def _predict(self, kind: str, training_table, test_table) -> tuple:
        """Return predictions, and probabilities of classes, by q2-sample-classifier's defaults."""
        fit = self.job.ctx.get_action("sample_classifier", f"fit_{kind}")
        predict = self.job.ctx.get_action("sample_classifier", self.job.kind.predict)
        # One thread, as forests of several folds may grow at a time; the default of the plugin.
        estimator, _ = fit(
            training_table,
            self._column(),
            random_state=self.job.seed,
            n_jobs=1,
            missing_samples=self.job.given.missing_samples,
        )
        return tuple(predict(test_table, estimator, n_jobs=1))

    def _column(self) -> qiime2.MetadataColumn:
        """Return the values that the model learns: no sample of the run is without one."""
        values = self.job.target.rename_axis("sample-id")
        if self.job.kind.classes:
            return qiime2.CategoricalMetadataColumn(values)
        return qiime2.NumericMetadataColumn(values)


def _takes_little(job: Job, parts: pd.Series, held_out: Sequence[str]) -> bool:
    """Tell whether a forest would take less than a tenth of the time; say so."""
    counts = job.counts.filter(set(parts.index), inplace=False).matrix_data
    share = 1 - np.mean([(parts == name).mean() for name in held_out])
    n_features = int(((counts > 0).sum(axis=1) > 0).sum())
    options = (job.training[name] for name in ("rarefy_depth", "token_limit"))
    forest = seconds_of_forest(len(parts) * share, n_features, job.kind.classes)
    run = seconds_of_run(job, counts_read(counts, *options) * share)
    little = forest < LARGEST_SHARE * (run + forest)
    times = f"about {_written(forest)}, the rest of the run at least {_written(run)}"
    if little:
        log.info("A random forest is trained on the same samples: it takes %s.", times)
    else:
        log.info(
            "No random forest is trained beside the model: it would take %s. %s", times, WAY_OUT
        )
    return little


def _written(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
