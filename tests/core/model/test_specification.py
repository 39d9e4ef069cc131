import dataclasses
import json

import pytest
from model_files import small_spec

from q2_aam.core.model.specification import CLASSIFIER, ENCODER, KINDS, REGRESSOR, ModelSpec, Reads


@pytest.mark.parametrize("kind", KINDS)
def test_spec_json_round_trip(kind):
    spec = small_spec(kind)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(("kind", "n"), [(ENCODER, 0), (REGRESSOR, 1), (CLASSIFIER, 3)])
def test_spec_n_outputs(kind, n):
    assert small_spec(kind).n_outputs == n


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "Oracle", "kind must be one of SequenceEncoder, .*; found 'Oracle'"),
        (("kind",), ["SequenceEncoder"], "kind must be one of"),
        (("kind",), "SequenceEncoder", "section 'fine_tuning' must be absent, found dict"),
        (("kind",), "SequenceClassifier", "section 'fine_tuning': .*unknown keys"),
        (("model",), None, "section 'model' must be an object, found NoneType"),
        (("model",), [[]], "section 'model' must be an object, found list"),
        (("fine_tuning",), None, "section 'fine_tuning' must be an object"),
        (("target",), None, "section 'target' must be an object"),
        (("extra",), 1, r"unknown keys \['extra'\]"),
        (("model", "extra"), 1, r"section 'model': .*unknown keys \['extra'\]"),
        (("model", "attention_layers"), 10**9, "attention_layers must be at most 64"),
        (("model", "attention_heads"), 3, "must be a multiple of attention_heads"),
        (("model", "max_bp"), True, "max_bp must be of type int, found True"),
        (("model", "max_bp"), "150", "max_bp must be of type int, found '150'"),
        (("model", "max_bp"), None, "max_bp must be given"),
        (("data", "rarefy_depth"), None, "rarefy_depth of a model must be given"),
        (("training", "lr"), -1, "lr must be at least"),
        (("training", "optimizer"), ["adam"], "optimizer must be of type str"),
        (("target", "transform"), "sqrt", "transform of column 'age' must be one of"),
        (("target", "scale"), 0, "scale above 0"),
        (("target", "scale"), "1", "scale of the target must be a number"),
        (("target", "column"), 3, "name of the metadata column must be text"),
        (("reads", "longest"), 1, r"shortest sequence \(10 nt\) is longer than"),
        (("reads", "n_samples"), -1, "n_samples must be an integer from 0"),
        (("reads", "n_samples"), 1.0, "n_samples must be an integer from 0"),
    ],
)
def test_spec_from_dict_refuses(path, value, message):
    values = small_spec(REGRESSOR).to_dict()
    place = values
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_dict(values)


@pytest.mark.parametrize("name", ["kind", "model", "training", "target", "reads"])
def test_spec_from_dict_names_missing_keys(name):
    values = small_spec(REGRESSOR).to_dict()
    del values[name]
    with pytest.raises(ValueError, match=rf"missing keys \['{name}'\]"):
        ModelSpec.from_dict(values)


def test_spec_refuses_parts_of_another_kind():
    regressor, encoder = small_spec(REGRESSOR), small_spec(ENCODER)
    with pytest.raises(ValueError, match="fine_tuning of a SequenceEncoder must be NoneType"):
        dataclasses.replace(regressor, kind=ENCODER)
    with pytest.raises(ValueError, match="must be RegressionConfig, found NoneType"):
        dataclasses.replace(encoder, kind=REGRESSOR)
    with pytest.raises(ValueError, match="kind must be one of"):
        dataclasses.replace(encoder, kind="Oracle")


def test_reads_round_trip():
    reads = Reads(1, 2, 3, 4)
    assert Reads.from_dict(reads.to_dict()) == reads
