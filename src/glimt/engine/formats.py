"""How a checkpoint's weights are rounded, read from `quantization_config` of its `config.json`.

Knows two published layouts of fp8 (e4m3): blocks with one scale each, in `weight_scale_inv`
(DeepSeek's, `quant_method` "fp8"), and compressed-tensors' `weight_scale`, one for each row or
block. Knows nothing of tensors and imports no torch. How activations are rounded is not read:
products are computed in the model's dtype, which is closer to the model than what is asked for.
"""

from typing import Any, TypeGuard

import msgspec

SUPPORTED = (
    "supported: 'fp8' with weight_block_size, and 'compressed-tensors' with 8-bit floats by "
    "channel or block"
)


class Fp8Format(msgspec.Struct, frozen=True, kw_only=True):
    """Weights are e4m3 numbers times scales.

    Attributes:
        suffix: What a scale's name has after its weight's name.
        block: Rows and columns that share a scale; `None` is one scale for each row.
    """

    suffix: str
    block: tuple[int, int] | None

    def scales_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the scales of a weight [..., N, K]."""
        *lead, num_rows, num_columns = shape
        if self.block is None:
            return (*lead, num_rows, 1)
        rows, columns = self.block
        return (*lead, -(-num_rows // rows), -(-num_columns // columns))


def read_format(document: object) -> Fp8Format | str:
    """The format, or what is not understood of it."""
    if not _is_object(document):
        return f"quantization_config is {document!r}; it must be an object"
    method = document.get("quant_method")
    if method == "fp8":
        return _block_scaled(document)
    if method == "compressed-tensors":
        return _compressed(document)
    return f"quantization_config has quant_method {method!r}; {SUPPORTED}"


def _block_scaled(document: dict[str, Any]) -> Fp8Format | str:
    number, block = document.get("fmt", "e4m3"), _block(document.get("weight_block_size"))
    if number != "e4m3":
        return f"quantization_config has fmt {number!r}; supported: 'e4m3'"
    if block is None:
        found = document.get("weight_block_size")
        return f"quantization_config has weight_block_size {found!r}; it must be two numbers"
    if document.get("activation_scheme", "dynamic") != "dynamic":
        found = document["activation_scheme"]
        return f"quantization_config has activation_scheme {found!r}; supported: 'dynamic'"
    return Fp8Format(suffix="_scale_inv", block=block)


def _compressed(document: dict[str, Any]) -> Fp8Format | str:
    groups = document.get("config_groups")
    if document.get("kv_cache_scheme") is not None:
        return "quantization_config has a kv_cache_scheme; supported: none"
    if not _is_object(groups) or len(groups) != 1:
        return "quantization_config must have one group in config_groups"
    (group,) = groups.values()
    weights = group.get("weights") if _is_object(group) else None
    inputs = group.get("input_activations") if _is_object(group) else None
    if not _is_object(weights):
        return "quantization_config says nothing about weights in config_groups"
    if _is_object(inputs) and inputs.get("dynamic", False) is not True:
        return "quantization_config has static input_activations; supported: dynamic ones"
    return _compressed_weights(weights)


def _compressed_weights(weights: dict[str, Any]) -> Fp8Format | str:
    kind, bits = weights.get("type"), weights.get("num_bits")
    if kind != "float" or bits != 8:
        return f"quantization_config has weights of type {kind!r} with {bits!r} bits; {SUPPORTED}"
    if weights.get("symmetric", True) is not True:
        return "quantization_config has weights that are not symmetric; supported: symmetric"
    strategy, block = weights.get("strategy"), _block(weights.get("block_structure"))
    if strategy == "channel":
        return Fp8Format(suffix="_scale", block=None)
    if strategy == "block" and block is not None:
        return Fp8Format(suffix="_scale", block=block)
    return f"quantization_config has weights with strategy {strategy!r}; {SUPPORTED}"


def _block(value: object) -> tuple[int, int] | None:
    """Two whole numbers above 0."""
    try:
        rows, columns = msgspec.convert(value, tuple[int, int])
    except msgspec.ValidationError:
        return None
    return (rows, columns) if rows > 0 and columns > 0 else None


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
