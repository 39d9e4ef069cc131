"""The plugin, as QIIME 2 finds it: every `qiime` command of every user imports this."""

from qiime2.plugin import Plugin

import q2_aam
from q2_aam.registration import (
    columns,
    examples,
    explain,
    pipelines,
    prediction,
    scoring,
    training,
    types,
    visualizers,
)
from q2_aam.registration.shared import citations

plugin = Plugin(
    name="aam",
    version=q2_aam.__version__,
    website="https://forum.qiime2.org",
    package="q2_aam",
    description=(
        "Attention All Microbes: transformers that read the sequences of ASVs, and then the ASVs "
        "of a sample. Pre-training needs no labels: an encoder learns UniFrac distances and "
        "masked nucleotides. It is then trained to predict a metadata column. A model reads "
        "sequences, not feature ids. So it can predict samples and studies whose ASVs it has "
        "never seen. Two environment variables are about the machine, and no result depends on "
        "them: Q2_AAM_THREADS is the number of threads (without it, OMP_NUM_THREADS, or one for "
        "each core that the job may use). Q2_AAM_RUN_DIR is a directory for runs: there, a run "
        "that was stopped can be resumed."
    ),
    short_description="Predict metadata from the sequences of a sample with transformers.",
    citations=[citations["aam"]],
)

types.register(plugin)
training.register(plugin)
prediction.register(plugin)
visualizers.register(plugin)
scoring.register(plugin)
training.register_shipped_encoder(plugin)
training.register_encoder_extraction(plugin)
training.register_combination(plugin)
pipelines.register(plugin)
columns.register(plugin)
explain.register(plugin)
examples.attach(plugin)
