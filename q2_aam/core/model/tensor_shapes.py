"""Names and shapes of a model's tensors, from its specification alone (torch-free).

A model directory is checked against this before anything is loaded. A test holds it against the
models' own state dictionaries.
"""

from dataclasses import dataclass

from q2_aam.core.data import nucleotides
from q2_aam.core.model.specification import ENCODER, ModelSpec
from q2_aam.core.options.config import ModelConfig

FEED_FORWARD_RATIO = 2
"""Width of the hidden layer of a feed-forward network, in embedding widths."""

SURROUNDINGS = 4
"""Nucleotides on either side of a patch that are embedded together with it."""

HIDDEN_RATIO = 2
"""Width of the hidden layer of a network that compares samples, in widths of its sums."""

N_SCALES = 5
"""Distances by which samples are compared: Bray-Curtis, absolute, Hellinger, of logarithms, of
embeddings."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as a model file declares it.

    Parameters
    ----------
    dtype : str
        Safetensors' name of its type.
    shape : tuple of int
    low, high : int, optional
        Bounds of its values, if they are integers.
    total : int, optional
        Sum of its values.
    """

    dtype: str
    shape: tuple[int, ...]
    low: int | None = None
    high: int | None = None
    total: int | None = None


def patches_of(config: ModelConfig) -> int:
    """Return how many patches the longest sequence has."""
    return -(-config.max_bp // config.patch_size)


def window_of(config: ModelConfig) -> int:
    """Return how many nucleotides are embedded together: a patch and its surroundings."""
    return config.patch_size + 2 * SURROUNDINGS


def sum_width(config: ModelConfig) -> int:
    """Return how many numbers a network sums up over the ASVs of a sample."""
    return 3 * config.embedding_dim // 2


def place_width(config: ModelConfig) -> int:
    """Return how many numbers the place of a sample in the space of a network has."""
    return config.embedding_dim // 2


def n_scales(n_covariates: int) -> int:
    """Return by how many distances samples are compared: one more if there are covariates."""
    return N_SCALES + (n_covariates > 0)


def tensor_shapes(spec: ModelSpec) -> dict[str, TensorInfo]:
    """List the tensors that a model of this specification has, by name."""
    config = spec.model
    shapes = _encoder(config)
    if spec.kind != ENCODER:
        shapes = _under("base_model", shapes) | _predictor(spec)
    tensors = {name: TensorInfo("F32", shape) for name, shape in shapes.items()}
    if spec.stored is not None:
        width = spec.ensemble * place_width(config)
        n_covariates = sum(spec.covariate_widths)
        stored = _stored(spec.stored, config.embedding_dim, width, n_covariates)
        tensors |= _under("stored", stored)
    return tensors


def _under(prefix, shapes):
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _encoder(config):
    d = config.embedding_dim
    shapes = {
        "asv_encoder.position": (patches_of(config), d),
        "log_scale": (),
        "mean_diversity": (),
    }
    shapes |= _under("asv_encoder.patch", _linear(window_of(config) * nucleotides.N_PARTS, d))
    shapes |= _under("asv_encoder.transformer", _transformer(config, config.attention_layers))
    shapes |= _under("asv_encoder.pooling", _pooling(config))
    shapes |= _under("asv_encoder.restore", _linear(d, config.patch_size * len(nucleotides.BASES)))
    shapes |= _under("sample_encoder.abundance.0", _linear(2, d))
    shapes |= _under("sample_encoder.abundance.2", _linear(d, d))
    shapes |= _under("sample_encoder.transformer", _transformer(config, config.sample_layers))
    shapes |= _under("transformer", _transformer(config, config.sample_layers))
    shapes |= _under("pooling", _pooling(config))
    return shapes | _under("diversity", _linear(d, 1))


def _predictor(spec):
    config, d = spec.model, spec.model.embedding_dim
    layers = _transformer(config, config.sample_layers)
    shapes = _under("count_encoder", layers) | _under("abundance", _linear(d, 1))
    shapes |= _under("comparison", _comparison(config, spec.n_vectors, spec.ensemble))
    if spec.covariate_widths:
        layer = _side_by_side(spec.ensemble, sum(spec.covariate_widths), sum_width(config))
        shapes |= _under("comparison.covariates", layer)
    for name in "asv_scale", "sample_scale":
        shapes |= _under(name, _scale(d))
    n_read = len(spec.quantiles) or spec.n_outputs
    if spec.reads_target:
        shapes |= _under("readout", _side_by_side(spec.ensemble, place_width(config), n_read))
    if spec.quantiles:
        shapes["calibration"] = (n_read,)
    return shapes


def _comparison(config, n_vectors, members):
    d, width = config.embedding_dim, sum_width(config)
    hidden = HIDDEN_RATIO * width
    shapes = {"vectors": (n_vectors, members * width)} if n_vectors else {}
    shapes |= {
        "sample_gate": (members, 1, width),
        "norm_weight": (members, 1, width),
    }
    shapes |= _under("sequence", _side_by_side(members, d, width))
    shapes |= _under("sample", _side_by_side(members, d, width))
    shapes |= _under("scale", _scale(members * width))
    shapes |= _under("expand", _side_by_side(members, width, hidden))
    shapes |= _under("contract", _side_by_side(members, hidden, width))
    return shapes | _under("place", _side_by_side(members, width, place_width(config)))


def _side_by_side(members, n_in, n_out):
    return {"weight": (members, n_in, n_out), "bias": (members, 1, n_out)}


def _scale(d):
    return {"mean": (d,), "deviation": (d,)}


def _stored(info, d, n_place, n_covariates):
    n, codes = info.n_samples, sum(code.n_outputs for code in info.codes)
    sequences, nodes = (info.n_features, info.read_length), (info.n_nodes,)
    covariates = {}
    if n_covariates:
        covariates = {
            "covariates": TensorInfo("F32", (n, n_covariates)),
            "groups": TensorInfo("I32", (n,), low=0, high=n - 1),
            "weights": TensorInfo("F32", (n,)),
        }
    return covariates | {
        "vocabulary": TensorInfo("U8", sequences, low=0, high=nucleotides.N_TOKENS - 1),
        "richness": TensorInfo("I32", (n,), low=1, high=info.n_features, total=info.n_entries),
        "features": TensorInfo("I32", (info.n_entries,), low=0, high=info.n_features - 1),
        "roots": TensorInfo("F32", (info.n_entries,)),
        "embeddings": TensorInfo("F32", (n, d)),
        "places": TensorInfo("F32", (n, n_place)),
        "target": TensorInfo("F32", (n,)),
        "scales": TensorInfo("F32", (n_scales(n_covariates),)),
        "dual": TensorInfo("F32", (n, codes)),
        "intercept": TensorInfo("F32", (codes,)),
        "value": TensorInfo("F32", (codes,)),
        "tree_feature": TensorInfo("I32", nodes, low=0, high=info.n_features + n_covariates - 1),
        "tree_threshold": TensorInfo("F32", nodes),
        "tree_skip": TensorInfo("I32", nodes, low=0, high=info.n_nodes - 1),
        "tree_value": TensorInfo("F32", nodes),
        "tree_sizes": TensorInfo(
            "I32", (info.n_trees,), low=1, high=info.n_nodes, total=info.n_nodes
        ),
    }


def _linear(n_in, n_out):
    return {"weight": (n_out, n_in), "bias": (n_out,)}


def _norm(d):
    return {"weight": (d,), "bias": (d,)}


def _transformer(config, layers):
    d, shapes = config.embedding_dim, {}
    for i in range(layers):
        block = _under("attention_norm", _norm(d))
        block |= _under("attention.qkv", _linear(d, 3 * d))
        block |= _under("attention.out", _linear(d, d))
        block |= _under("feed_forward_norm", _norm(d))
        block |= _under("expand", _linear(d, FEED_FORWARD_RATIO * d))
        block |= _under("contract", _linear(FEED_FORWARD_RATIO * d, d))
        shapes |= _under(f"blocks.{i}", block)
    return shapes | _under("norm", _norm(d))


def _pooling(config):
    d = config.embedding_dim
    shapes = _under("score", _linear(d, config.attention_heads))
    return shapes | _under("value", _linear(d, d)) | _under("combine", _linear(2 * d, d))
