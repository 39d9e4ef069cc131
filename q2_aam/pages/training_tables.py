"""The tables of the page of summarize-training that are long: all options, and every epoch."""

import dataclasses

import numpy as np

from q2_aam.core.options.option import Config, option_infos
from q2_aam.pages.frame import Section, Table, number

MAX_ROWS = 200


def options(models: list) -> Section:
    """List the options of each model beside the defaults, those that differ first."""
    infos, values = {}, []
    for model in models:
        parts = [getattr(model.spec, field.name) for field in dataclasses.fields(model.spec)]
        parts = [part for part in parts if isinstance(part, Config)]
        infos |= {n: info for part in parts for n, info in option_infos(type(part)).items()}
        values.append({n: v for part in parts for n, v in part.to_dict().items()})
    changed = {n for each in values for n, v in each.items() if v != infos[n].default}
    rows = [
        [
            n.replace("_", "-") + (" *" if n in changed else ""),
            *[_shown(each[n]) if n in each else "–" for each in values],
            _shown(info.default),
            info.help,
        ]
        for n, info in infos.items()
    ]
    # Those that someone chose come first.
    rows.sort(key=lambda row: not row[0].endswith("*"))
    columns = ["Option", *[model.name for model in models], "Default", "Meaning"]
    caption = "All options; options that differ from the default come first and have a star"
    table = Table(caption, columns, rows, len(columns), prose=True)
    return Section("Options", tables=[table])


def _shown(value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def epochs(models: list) -> Section:
    """List what was measured in each epoch, or in some of very many."""
    tables = []
    for model in models:
        history = model.history
        rows = np.unique(np.linspace(0, len(history) - 1, MAX_ROWS).round().astype(int))
        shown = history.iloc[rows] if len(history) > MAX_ROWS else history
        part = f", {len(shown)} of {len(history)} epochs" if len(shown) < len(history) else ""
        cells = [
            [str(int(row[0])), *map(number, row[1:])]
            for row in shown.itertuples(index=False, name=None)
        ]
        caption = f"Epochs of {model.name} ({model.what}){part}"
        tables.append(Table(caption, list(history.columns), cells, collapsed=len(cells) > 10))
    return Section("Every epoch", tables=tables)
