import json
import os
import shutil
import struct

import numpy as np
import pytest
from heavy_imports import LIGHT, heavy_imports
from model_files import EVENT_NAME, edit_config, read_header, small_model, write_header

import q2_aam
from q2_aam.core.artifact import history_file, model_directory, storage
from q2_aam.core.artifact.model_directory import ArtifactError, validate
from q2_aam.core.model.specification import CLASSIFIER, KINDS, REGRESSOR

LEVELS = ["min", "max"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("artifact") / "model"
    storage.save(small_model(REGRESSOR), directory)
    return directory


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_validate_returns_what_was_saved(kind, level, tmp_path):
    made = small_model(kind)
    storage.save(made, tmp_path / "model")
    found = validate(tmp_path / "model", level)
    assert found.spec == made.spec
    assert found.versions == made.versions
    assert found.versions["q2_aam"] == q2_aam.__version__


def test_validate_accepts_a_model_without_event_files(model):
    shutil.rmtree(model / "tensorboard")
    validate(model)
    assert model_directory.event_files(model) == {}


def test_validate_ignores_the_layout_of_the_configuration(model):
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=None, sort_keys=True))
    validate(model)


def test_validate_needs_no_torch(model):
    code = (
        "import sys; from q2_aam.core.artifact.model_directory import validate; "
        f"validate({str(model)!r}); assert 'qiime2' not in sys.modules"
    )
    assert heavy_imports(code, LIGHT) == []


def put(*path_and_value):
    """Make a function that puts a value into the configuration at a path."""
    *path, last, value = path_and_value

    def change(document):
        for name in path:
            document = document[name]
        document[last] = value

    return change


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format_version", 2), "has format version 2, and q2-aam .* update q2-aam"),
        (put("format_version", 10**17), "update q2-aam"),
        (put("format_version", 0), "format_version must be an integer from 1 on, found 0"),
        (put("format_version", True), "format_version must be an integer"),
        (put("format_version", "1"), "format_version must be an integer"),
        (lambda d: d.pop("format_version"), "format_version must be an integer .* found None"),
        (lambda d: d.pop("model"), r"missing keys \['model'\]"),
        (lambda d: d.pop("versions"), r"missing keys \['versions'\]"),
        (lambda d: d.pop("checksums"), r"missing keys \['checksums'\]"),
        (put("surprise", 1), r"unknown keys \['surprise'\]"),
        (put("model", "surprise", 1), r"section 'model': .*unknown keys \['surprise'\]"),
        (lambda d: d["training"].pop("lr"), r"section 'training': .*missing keys \['lr'\]"),
        (put("model", "attention_layers", 10**9), "attention_layers must be at most 64"),
        (put("model", "embedding_dim", 4096), "by config.json, found F32 of shape"),
        (put("model", "attention_layers", 3), "does not have the tensors .* missing"),
        (put("model", "attention_layers", 1), "does not have the tensors .* must not have"),
        (put("model", "embedding_dim", "x" * 10**6), "embedding_dim must be of type int"),
        (put("kind", "SequenceClassifier"), "section 'fine_tuning'"),
        (put("kind", {}), "kind must be one of"),
        (put("target", None), "section 'target' must be an object"),
        (put("target", "scale", 0), "scale above 0"),
        (lambda d: d.pop("warnings"), r"missing keys \['warnings'\]"),
        (put("warnings", "text"), "warnings must be a list of at most 100 texts"),
        (put("warnings", ["a"] * 101), "warnings must be a list of at most 100 texts"),
        (put("warnings", [7]), "warnings must be texts of at most 2000 characters, found '7'"),
        (put("warnings", ["a" * 2001]), "warnings must be texts of at most 2000 characters"),
        (put("versions", []), "versions must be an object with q2_aam"),
        (put("versions", {"torch": "2"}), "versions must be an object with q2_aam"),
        (put("versions", "torch", 2), "versions must be texts of at most 200 characters, found 2"),
        (put("versions", "torch", "2" * 201), "versions must be texts"),
        (put("versions", {"q2_aam": "1"} | {str(i): "1" for i in range(200)}), "versions must be"),
        (put("checksums", {"config.json": "0"}), "checksums must be an object with config.json"),
        (put("checksums", None), "checksums must be an object"),
    ],
)
def test_validate_refuses_configurations(model, change, message, level):
    edit_config(model, change)
    with pytest.raises(ArtifactError, match=message) as raised:
        validate(model, level)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config.json is not JSON"),
        (b"[]", "config.json must be an object"),
        (b"\x80\x04\x95", "config.json is not UTF-8 text"),
        (b'{"kind": 1, "kind": 2}', "config.json has the key 'kind' twice"),
        (b'{"a": NaN}', "config.json has NaN"),
        (b"[" * 10**6, "config.json is nested deeper"),
        (
            b" " * (model_directory.MAX_CONFIG_BYTES + 1),
            "config.json has 2097153 bytes, more than",
        ),
    ],
)
def test_validate_refuses_what_is_no_configuration(model, content, message, level):
    (model / "config.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        validate(model, level)


def test_validate_notices_an_edited_configuration(model):
    path = model / "config.json"
    path.write_text(path.read_text().replace('"shift": 0.3333333333333333', '"shift": 0.4'))
    with pytest.raises(ArtifactError, match="does not match the checksum in it"):
        validate(model, "min")


def test_validate_notices_one_flipped_bit_of_a_weight(model):
    path = model / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"weights.safetensors does not match its checksum"):
        validate(model)


def test_validate_notices_an_edited_history(model):
    path = model / "history.tsv"
    path.write_text(path.read_text().replace("2.0", "1.0"))
    with pytest.raises(ArtifactError, match=r"history.tsv does not match its checksum"):
        validate(model)


def test_validate_notices_edited_samples(model):
    path = model / "samples.tsv"
    path.write_text(path.read_text().replace("a\ttraining", "a\tvalidation"))
    validate(model, "min")
    with pytest.raises(ArtifactError, match=r"samples.tsv does not match its checksum"):
        validate(model)


@pytest.mark.parametrize("level", LEVELS)
def test_validate_accepts_a_model_that_keeps_no_samples(model, level):
    (model / "samples.tsv").unlink()
    edit_config(model, lambda document: document["checksums"].pop("samples.tsv"))
    validate(model, level)
    assert model_directory.read_samples(model) is None


def test_read_samples_refuses_what_is_no_table_of_samples(model):
    (model / "samples.tsv").write_bytes(b"sample-id\n")
    with pytest.raises(ArtifactError, match="must begin with the line"):
        model_directory.read_samples(model)


@pytest.mark.parametrize("level", LEVELS)
def test_validate_refuses_truncated_weights(model, level):
    path = model / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="it was cut off or added to"):
        validate(model, level)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_validate_refuses_values_that_are_not_finite_at_max_alone(model, value):
    header, body = read_header(model)
    begin = header["base_model.log_scale"]["data_offsets"][0]
    body = body[:begin] + struct.pack("<f", value) + body[begin + 4 :]
    write_header(model, header, body)
    validate(model, "min")
    with pytest.raises(ArtifactError, match=r"'base_model.log_scale' that are NaN or infinite"):
        validate(model, "max")


@pytest.mark.parametrize("level", LEVELS)
def test_validate_refuses_tensors_that_share_their_bytes(model, level):
    header, body = read_header(model)
    header["base_model.log_scale"]["data_offsets"] = [0, 4]
    write_header(model, header, body)
    with pytest.raises(ArtifactError, match="tensors must lie side by side"):
        validate(model, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["config.json", "weights.safetensors", "history.tsv"])
def test_validate_names_missing_files(model, name, level):
    (model / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        validate(model, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "name",
    ["config.json", "weights.safetensors", "history.tsv", f"tensorboard/{EVENT_NAME}"],
)
def test_validate_refuses_symbolic_links(model, tmp_path, name, level):
    (model / name).rename(tmp_path / "elsewhere")
    (model / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a symbolic link, which a model must not have"):
        validate(model, level)


def test_read_config_does_not_follow_a_link(model, tmp_path):
    (model / "config.json").rename(tmp_path / "elsewhere")
    (model / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="cannot be read: it is a symbolic link"):
        model_directory.read_config(model)


def test_read_config_does_not_wait_for_a_pipe(model):
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")
    with pytest.raises(ArtifactError, match=r"config\.json must be an ordinary file"):
        model_directory.read_config(model)


def test_validate_refuses_a_linked_folder(model, tmp_path):
    (model / "tensorboard").rename(tmp_path / "elsewhere")
    (model / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="'tensorboard' is a symbolic link"):
        validate(model, "min")


@pytest.mark.parametrize(
    "name", ["model.pkl", ".hidden", "tensorboard/run.py", "tensorboard/.hidden", "config.json~"]
)
def test_validate_refuses_what_does_not_belong(model, name):
    (model / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match="does not belong in a model directory"):
        validate(model, "min")


def test_validate_refuses_folders(model):
    (model / "more").mkdir()
    with pytest.raises(ArtifactError, match="'more' does not belong in a model directory"):
        validate(model, "min")


def test_validate_says_what_is_needed_instead_of_a_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"does not exist; a directory with config.json"):
        validate(tmp_path / "model")
    (tmp_path / "model.qza").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"is a file; .*'qiime tools export'"):
        validate(tmp_path / "model.qza")


@pytest.mark.parametrize("level", LEVELS)
def test_validate_refuses_a_huge_history(model, level):
    with open(model / "history.tsv", "wb") as file:
        file.truncate(history_file.MAX_BYTES + 1)
    with pytest.raises(ArtifactError, match=r"history.tsv has .* more than the"):
        validate(model, level)


def test_read_history_is_that_of_the_model(model):
    table = model_directory.read_history(model)
    assert table["epoch"].tolist() == [0, 1, 4]
    assert table["train/total_loss"].tolist() == [1.0 / 3.0, 1e-300, 2.0]


def test_migrations_lead_from_version_to_version(model, monkeypatch):
    """Models of an older version load as if they had been written by this one."""

    def rename(document):
        document["training"]["lr"] = document["training"].pop("learning_rate")
        return document

    def age(document):
        document["training"]["learning_rate"] = document["training"].pop("lr")

    expected = model_directory.read_config(model).spec
    edit_config(model, age)
    with pytest.raises(ArtifactError, match="unknown keys"):
        validate(model)
    monkeypatch.setattr(model_directory, "FORMAT_VERSION", 3)
    monkeypatch.setattr(model_directory, "MIGRATIONS", {1: rename, 2: lambda document: document})
    assert validate(model).spec == expected
    assert storage.load(model).spec == expected


def test_migrations_meet_what_they_do_not_expect(model, monkeypatch):
    monkeypatch.setattr(model_directory, "FORMAT_VERSION", 2)
    monkeypatch.setattr(
        model_directory, "MIGRATIONS", {1: lambda document: document["training"]["old"]}
    )
    with pytest.raises(ArtifactError, match="it is not as format version 1 has it"):
        validate(model)


def test_error_is_one_short_sentence():
    error = str(ArtifactError("x" * 10_000))
    assert len(error) < 700
    assert error.endswith("….")


def test_kinds_are_told_from_the_configuration_alone(tmp_path):
    storage.save(small_model(CLASSIFIER), tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").unlink()
    assert model_directory.read_config(tmp_path / "model").spec.kind == CLASSIFIER
