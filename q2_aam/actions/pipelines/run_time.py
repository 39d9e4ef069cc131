"""How long a training of a pipeline takes at least, and a random forest at most, by their sizes.

The estimates are seconds of one thread, and the forest has one. Threads share the work of a
training at best equally, so its time is divided by their number. On a GPU, the networks were not
timed and count as nothing.
"""

import numpy as np
import qiime2

from q2_aam.actions.pipelines.jobs import Job
from q2_aam.actions.views import saved
from q2_aam.core.options.config import ModelConfig
from q2_aam.types.models import AAMModelDirectoryFormat

OF_ACTIONS, OF_FOREST = 4.0, 0.5
"""Seconds of the actions around. Measured: 10 for all of a run of 60 samples and one epoch; 0.2
for the forest's own actions."""

OF_CELL = {"classes": 0.4e-6, "numbers": 3.5e-6}
"""Seconds of a forest, for each training sample times each ASV that occurs.

Measured (one thread, seconds of the processor): age of 100, 300, 600, 1,200 oral samples with 747
to 3,215 ASVs 0.44, 1.7, 4.3, 10.9; noise in 300 samples with 17,380 ASVs 15.5. Seven classes of
100, 300, 1,200 oral samples 0.12, 0.20, 0.64; 20 classes of noise in these 300 samples 0.72, two
classes in 1,000 samples with 43,605 ASVs 2.3.
"""

OF_COUNT = {"frozen": 6e-5, "trained": 4e-4}
"""Seconds of an epoch, for each count above zero in the samples that train the network.

Measured (likewise, with an encoder of default size): ten epochs of 300 and 1,200 oral samples with
a frozen encoder 11.2 and 75; of 300 samples with 17,380 ASVs 39.5. Two epochs of 300 oral samples
that also train the encoder 16.3; two epochs of pre-training 15.2. (300 and 1,200 oral samples have
16,058 and 62,799 counts, the others 79,960; a fifth of the samples are for validation.)
"""


def seconds_of_forest(n_training: float, n_features: int, classes: bool) -> float:
    """Estimate how long the forest of one training takes, at most.

    Parameters
    ----------
    n_training : float
        Training samples.
    n_features : int
        ASVs that they have.
    classes : bool
        Whether classes are predicted: each node then tries few of the ASVs.
    """
    return OF_FOREST + OF_CELL["classes" if classes else "numbers"] * n_training * n_features


def seconds_of_run(job: Job, n_counts: float) -> float:
    """Estimate how long a pipeline takes for one training, at least.

    Parameters
    ----------
    job : Job
        With all options settled.
    n_counts : float
        Counts above zero in the samples of one training, as `counts_read` has them.
    """
    import torch

    model = _architecture(job)
    if model is None or _has_gpu(job.device):
        return OF_ACTIONS
    pretrained = job.encoder is not None
    # Without a choice, a given encoder may be the one that ships, which is kept as it is.
    frozen = job.training["freeze_base"] or (job.training["freeze_base"] is None and pretrained)
    of_epochs = OF_COUNT["frozen" if frozen else "trained"] * _epochs(job.training)
    if job.pretrains:
        of_epochs += OF_COUNT["trained"] * _epochs(job.pretraining)
    share = 1 - job.training["test_size"]
    networks = of_epochs * n_counts * share * _size(model)
    return OF_ACTIONS + networks / torch.get_num_threads()


def counts_read(counts, depth: int, token_limit: int) -> float:
    """Estimate how many counts above zero samples have, once they are rarefied.

    Parameters
    ----------
    counts : scipy.sparse matrix of shape (n_features, n_samples)
    depth : int
        Samples with fewer reads are left out; 0 keeps all reads.
    token_limit : int
        ASVs that are read of a sample at most.
    """
    counts = counts.tocsc()
    reads = np.asarray(counts.sum(axis=0)).ravel()
    sample = np.repeat(np.arange(counts.shape[1]), np.diff(counts.indptr))
    seen = (counts.data > 0).astype(float)
    if depth:
        # The chance of a feature with so many of the reads to be among those drawn.
        seen *= -np.expm1(-depth * counts.data / np.maximum(reads[sample], 1))
    of_sample = np.bincount(sample, seen, len(reads))
    return float(np.minimum(of_sample, token_limit)[reads >= max(depth, 1)].sum())


def _has_gpu(device: str) -> bool:
    from q2_aam.core.training.devices import choose_device

    return device not in ("auto", "cpu") or choose_device(device).type != "cpu"


def _epochs(options: dict) -> int:
    """Return the number of epochs before early stopping can end a run."""
    return min(options["epochs"], options["patience"] + 1)


def _architecture(job: Job) -> ModelConfig | None:
    """Return that of the network; None where the encoder is still to be made by another action."""
    if job.encoder is None:
        return job.settings.model
    if job.given.encoder is None:
        from q2_aam.core.artifact.shipped import encoder

        return encoder.spec().model
    if not isinstance(job.given.encoder, qiime2.Artifact):
        return None
    return saved(job.given.encoder.view(AAMModelDirectoryFormat)).spec.model


def _size(model: ModelConfig) -> float:
    """Say how many times the time of the default network one takes, at least."""
    default = ModelConfig()
    width = model.embedding_dim / default.embedding_dim
    bases = min(1.0, model.max_bp / default.max_bp)
    layers = model.attention_layers / default.attention_layers
    return min(width, width**2) * layers * bases
