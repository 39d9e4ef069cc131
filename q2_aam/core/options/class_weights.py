"""Weights of classes as users write them (torch-free)."""

import json
import math

NONE, BALANCED = "none", "balanced"


def render(weights: dict[str, float]) -> str:
    """Write weights of classes so that `parse` reads the same."""
    return json.dumps(weights, ensure_ascii=False) if weights else NONE


def parse(text: str) -> dict[str, float] | None:
    """Read weights of classes.

    Parameters
    ----------
    text : str
        'none', 'balanced', pairs such as 'gut:2,skin:0.5', or a JSON object.

    Returns
    -------
    dict of str to float, optional
        Weight by class name, empty for 'none'; None for 'balanced'.

    Raises
    ------
    ValueError
        With one clause that says what is wrong.
    """
    if text in (NONE, BALANCED):
        return {} if text == NONE else None
    pairs = _of_json(text) if text.lstrip().startswith("{") else _of_pairs(text)
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("class_weights names a class twice")
    for name, weight in pairs:
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"the class_weights must be finite and above 0, found {weight:g} for '{name}'"
            )
    return dict(pairs)


def _of_pairs(text: str) -> list[tuple[str, float]]:
    pairs = []
    for part in text.split(","):
        name, colon, weight = (piece.strip() for piece in part.rpartition(":"))
        try:
            pairs.append((name, float(weight)))
        except ValueError:
            colon = ""
        if not (name and colon):
            raise ValueError(
                f"class_weights must be balanced, none, or a weight for each class such as "
                f"'gut:2,skin:0.5'; found '{part.strip()[:40]}'"
            )
    return pairs


def _of_json(text: str) -> list[tuple[str, float]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        return [(name, _number(weight)) for name, weight in pairs]
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            'class_weights is not a JSON object of numbers such as {"gut": 2}'
        ) from error


def _number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)
