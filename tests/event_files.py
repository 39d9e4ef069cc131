"""TensorBoard's files read back by TensorBoard's own reader."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata


def read(folder: Path) -> EventAccumulator:
    """Read all event files in a folder."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    return reader.Reload()


def read_model(model, folder: Path) -> EventAccumulator:
    """Read the event files that a model in memory has."""
    folder.mkdir()
    for name, content in model.event_files.items():
        (folder / name).write_bytes(content)
    return read(folder)


def scalars(reader: EventAccumulator) -> dict[str, list[float]]:
    """Return the values of each scalar in the order of their steps."""
    names = reader.Tags()["scalars"]
    return {
        name: [e.value for e in sorted(reader.Scalars(name), key=lambda e: e.step)]
        for name in names
    }


def hyperparameters(reader: EventAccumulator) -> dict:
    """Return the hyper-parameters by name, as TensorBoard's page shows them."""
    content = reader.PluginTagToContent(metadata.PLUGIN_NAME)
    started = metadata.parse_session_start_info_plugin_data(
        content[metadata.SESSION_START_INFO_TAG]
    )
    kinds = {name: value.WhichOneof("kind") for name, value in started.hparams.items()}
    return {name: getattr(value, kinds[name]) for name, value in started.hparams.items()}


def metrics_of_hyperparameters(reader: EventAccumulator) -> list[str]:
    """Return the names of the scalars that TensorBoard shows beside hyper-parameters."""
    content = reader.PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    return [info.name.tag for info in experiment.metric_infos]
