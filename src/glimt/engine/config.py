"""The shape of a GLM-4.7-Flash model, read from a checkpoint's `config.json`.

Knows both spellings: the published one (`first_k_dense_replace`, `rope_theta`) and what
transformers 5 writes when it saves again (`mlp_layer_types`, `rope_parameters`). Knows nothing of
tensors or files of weights, and imports no torch. What it does not understand it refuses: a model
that is almost right gives plausible nonsense.
"""

from pathlib import Path
from typing import Any, TypeGuard, cast

import msgspec

from glimt.core.limits import RANGES
from glimt.engine.checkpoint import CheckpointError, read_json
from glimt.engine.formats import Fp8Format, read_format

MODEL_TYPE = "glm4_moe_lite"


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and constants of one model. Names are the checkpoint's own where they are clear.

    Attributes:
        sparse_layers: For each layer, whether its feed-forward block is a mixture of experts.
        num_expert_groups: Experts are chosen from the best `num_chosen_groups` groups only.
        rope_theta: Base of the rotary frequencies; neighbouring values form the rotated pairs.
        rms_norm_eps: For every norm but the two latent ones.
        latent_norm_eps: For `q_a_layernorm` and `kv_a_layernorm`. Training used `rms_norm_eps`;
            transformers hard-codes 1e-6.
        context_length: The most tokens of prompt and answer together.
        num_mtp_layers: Prediction layers that the config announces, 0 or 1; the checkpoint
            may lack their tensors all the same.
        dtype: What the checkpoint says its numbers are: "bfloat16", "float16" or "float32".
        fp8: How weights are kept in fp8, where they are.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    moe_intermediate_size: int
    num_layers: int
    num_heads: int
    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    num_experts: int
    num_experts_per_token: int
    num_shared_experts: int
    num_expert_groups: int
    num_chosen_groups: int
    normalize_expert_weights: bool
    routed_scaling_factor: float
    sparse_layers: tuple[bool, ...]
    rope_theta: float
    rms_norm_eps: float
    latent_norm_eps: float
    context_length: int
    num_mtp_layers: int
    tie_word_embeddings: bool
    dtype: str
    stop_token_ids: tuple[int, ...]
    fp8: Fp8Format | None = None

    @classmethod
    def load(cls, folder: Path, *, latent_norm_eps: float | None = None) -> "ModelConfig":
        """Read `config.json` in `folder`.

        Raises:
            CheckpointError: It is another architecture, lacks a field, contradicts itself, or uses
                what is not supported; every fault is listed.
        """
        path = folder / "config.json"
        config = parse_config(read_json(path), where=str(path))
        if latent_norm_eps is not None:
            config = msgspec.structs.replace(config, latent_norm_eps=latent_norm_eps)
        return config

    @property
    def qk_head_dim(self) -> int:
        """Width of one query or key head: the part without rotation, then the rotated part."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def cache_width(self) -> int:
        """Values in one row of the cache: the normed latent, then the rotated shared key."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    @property
    def attention_scale(self) -> float:
        """What scores are multiplied with, in the absorbed form too."""
        return self.qk_head_dim**-0.5

    @property
    def expansion_threshold(self) -> int:
        """New tokens of a sequence from which on keys and values pay.

        Expanding them from the context's latents then costs less than attending to the latents
        themselves: 398 for GLM-4.7-Flash.
        """
        expand = self.num_heads * (self.qk_nope_head_dim + self.v_head_dim) * self.kv_lora_rank
        absorbed = self.num_heads * (self.cache_width + self.kv_lora_rank)
        expanded = self.num_heads * (self.qk_head_dim + self.v_head_dim)
        if absorbed <= expanded:
            return 1 << 30
        return max(2, expand // (absorbed - expanded))

    @property
    def balanced_context(self) -> int:
        """The context at which attending to it costs a token as much as everything else together.

        In multiplications of a layer with experts, attending to latents: 3,168 for GLM-4.7-Flash.
        """
        heads, hidden = self.num_heads, self.hidden_size
        num_experts = self.num_experts_per_token + self.num_shared_experts
        others = (
            hidden * (self.q_lora_rank + self.cache_width)
            + heads * self.qk_head_dim * self.q_lora_rank
            + heads * (self.qk_nope_head_dim + self.v_head_dim) * self.kv_lora_rank
            + heads * self.v_head_dim * hidden
            + 3 * hidden * self.moe_intermediate_size * num_experts
        )
        return max(1, others // (heads * (self.cache_width + self.kv_lora_rank)))


class GenerationDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """How the model's authors want it sampled; what switches a setting off where they say nothing.

    What `SamplingParams` means by the same names.
    """

    stop_token_ids: tuple[int, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def load(cls, folder: Path) -> "GenerationDefaults":
        """Read `generation_config.json`; stop tokens fall back to those of `config.json`.

        Raises:
            CheckpointError: A file is there but cannot be understood, or asks for the impossible.
        """
        path = folder / "generation_config.json"
        fields = _Fields(read_json(path) if path.is_file() else {}, str(path))
        stops = fields.token_ids("eos_token_id")
        if not stops and (folder / "config.json").is_file():
            other = _Fields(read_json(folder / "config.json"), str(folder / "config.json"))
            stops = other.token_ids("eos_token_id")
            other.raise_faults()
        greedy = fields.flag("do_sample", default=True) is False
        defaults = cls(
            stop_token_ids=stops,
            temperature=0.0 if greedy else fields.ranged("temperature", 1.0),
            top_p=fields.ranged("top_p", 1.0),
            top_k=max(int(fields.optional_number("top_k") or 0), 0),
            min_p=fields.ranged("min_p", 0.0),
            repetition_penalty=fields.ranged("repetition_penalty", 1.0),
        )
        fields.raise_faults()
        return defaults


def parse_config(document: dict[str, Any], *, where: str = "config.json") -> ModelConfig:
    """The config that a `config.json` document describes. Raises `CheckpointError` as `load`."""
    fields = _Fields(document, where)
    _refuse_other_architectures(fields)
    num_layers = fields.integer("num_hidden_layers", 47)
    eps = fields.number("rms_norm_eps", 1e-5)
    rope_theta = _rope_theta(fields)
    config = ModelConfig(
        vocab_size=fields.integer("vocab_size", 154880),
        hidden_size=fields.integer("hidden_size", 2048),
        intermediate_size=fields.integer("intermediate_size", 10240),
        moe_intermediate_size=fields.integer("moe_intermediate_size", 1536),
        num_layers=num_layers,
        num_heads=fields.integer("num_attention_heads", 20),
        q_lora_rank=fields.integer("q_lora_rank", 768),
        kv_lora_rank=fields.integer("kv_lora_rank", 512),
        qk_nope_head_dim=fields.integer("qk_nope_head_dim", 192),
        qk_rope_head_dim=fields.integer("qk_rope_head_dim", 64),
        v_head_dim=fields.integer("v_head_dim", 256),
        num_experts=fields.integer("n_routed_experts", 64, other="num_local_experts"),
        num_experts_per_token=fields.integer("num_experts_per_tok", 4),
        num_shared_experts=fields.integer("n_shared_experts", 1),
        num_expert_groups=fields.integer("n_group", 1),
        num_chosen_groups=fields.integer("topk_group", 1),
        normalize_expert_weights=fields.flag("norm_topk_prob", default=True),
        routed_scaling_factor=fields.number("routed_scaling_factor", 1.8),
        sparse_layers=_sparse_layers(fields, num_layers),
        rope_theta=rope_theta,
        rms_norm_eps=eps,
        latent_norm_eps=eps,
        context_length=fields.integer("max_position_embeddings", 202752),
        num_mtp_layers=fields.integer("num_nextn_predict_layers", 0, least=0),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
        dtype=fields.text("dtype", fields.text("torch_dtype", "bfloat16")).removeprefix("torch."),
        stop_token_ids=fields.token_ids("eos_token_id"),
        fp8=_fp8(fields),
    )
    _refuse_contradictions(fields, config)
    fields.raise_faults()
    return config


def _refuse_other_architectures(fields: "_Fields") -> None:
    found = fields.document.get("model_type")
    if found != MODEL_TYPE:
        classes = fields.document.get("architectures")
        named = f" ({', '.join(map(str, cast('list[Any]', classes)))})" if classes else ""
        raise CheckpointError(
            f"{fields.where}: model_type is {found!r}{named}. Glimt's engine runs {MODEL_TYPE!r} "
            "(GLM-4.7-Flash and models of its architecture). Serve other models elsewhere and add "
            "them as providers."
        )


def _refuse_contradictions(fields: "_Fields", config: ModelConfig) -> None:
    document = fields.document
    for name, supported in (
        ("hidden_act", "silu"),
        ("scoring_func", "sigmoid"),
        ("topk_method", "noaux_tc"),
        ("attention_bias", False),
        ("rope_interleave", True),
        ("moe_layer_freq", 1),
    ):
        if name in document and document[name] not in (supported, None):
            fields.fault(f"{name} is {document[name]!r}; supported: {supported!r}")
    _refuse_impossible_sizes(fields, config)
    if document.get("q_lora_rank", 0) is None:
        fields.fault("q_lora_rank is null (queries without a low rank); supported: a number")
    kv_heads = document.get("num_key_value_heads", config.num_heads)
    if kv_heads not in (config.num_heads, None):
        fields.fault(
            f"num_key_value_heads is {kv_heads}; latent attention needs {config.num_heads}"
        )
    if config.num_mtp_layers > 1:
        fields.fault(f"num_nextn_predict_layers is {config.num_mtp_layers}; supported: 0 or 1")
    if config.dtype not in ("bfloat16", "float16", "float32"):
        fields.fault(f"dtype is {config.dtype!r}; supported: bfloat16, float16, float32")


def _refuse_impossible_sizes(fields: "_Fields", config: ModelConfig) -> None:
    # `head_dim` is deliberately not read: re-saved configs carry qk_rope_head_dim under that name.
    if config.qk_rope_head_dim % 2:
        fields.fault(f"qk_rope_head_dim is {config.qk_rope_head_dim}; it must be even")
    if config.num_experts_per_token > config.num_experts:
        fields.fault("num_experts_per_tok is larger than n_routed_experts")
    if config.num_experts % config.num_expert_groups:
        fields.fault("n_routed_experts is no multiple of n_group")
    elif config.num_expert_groups > 1:
        size = config.num_experts // config.num_expert_groups
        if size < 2 or config.num_chosen_groups * size < config.num_experts_per_token:
            fields.fault("topk_group leaves fewer experts than num_experts_per_tok")
    if config.num_chosen_groups > config.num_expert_groups:
        fields.fault("topk_group is larger than n_group")


def _sparse_layers(fields: "_Fields", num_layers: int) -> tuple[bool, ...]:
    kinds = fields.document.get("mlp_layer_types")
    if kinds is None:
        num_dense = fields.integer("first_k_dense_replace", 1, least=0)
        return tuple(index >= num_dense for index in range(num_layers))
    if not _is_list(kinds) or any(kind not in ("dense", "sparse") for kind in kinds):
        fields.fault('mlp_layer_types must be a list of "dense" and "sparse"')
        return (True,) * num_layers
    if len(kinds) < num_layers:
        fields.fault(f"mlp_layer_types has {len(kinds)} entries for {num_layers} layers")
    return tuple(kind == "sparse" for kind in kinds[:num_layers])


def _rope_theta(fields: "_Fields") -> float:
    """The rotary base. Every kind of stretched or partial rotation is refused."""
    scaling = fields.document.get("rope_scaling")
    parameters = fields.document.get("rope_parameters")
    for name, value in (("rope_scaling", scaling), ("rope_parameters", parameters)):
        if value is None:
            continue
        if not _is_object(value):
            fields.fault(f"{name} must be an object")
            continue
        kind = value.get("rope_type", value.get("type", "default"))
        if kind != "default":
            fields.fault(f"{name} asks for {kind!r}; supported: 'default', no scaling")
    nested = _Fields(parameters if _is_object(parameters) else {}, fields.where)
    partial = nested.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
    theta = nested.number("rope_theta", fields.number("rope_theta", 1_000_000.0))
    fields.faults.extend(nested.faults)
    if partial != 1:
        fields.fault(f"partial_rotary_factor is {partial}; supported: 1.0")
    return theta


def _fp8(fields: "_Fields") -> Fp8Format | None:
    if fields.document.get("quantization_config") is None:
        return None
    found = read_format(fields.document["quantization_config"])
    if isinstance(found, str):
        fields.fault(found)
        return None
    return found


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


class _Fields:
    """Typed reading of a JSON object that collects faults instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], where: str) -> None:
        self.document = document
        self.where = where
        self.faults: list[str] = []

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def raise_faults(self) -> None:
        if self.faults:
            raise CheckpointError(f"{self.where}: {'; '.join(self.faults)}.")

    def integer(self, name: str, default: int, *, other: str = "", least: int = 1) -> int:
        value = self.document.get(name, self.document.get(other))
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fault(f"{name} is {value!r}; it must be a whole number of at least {least}")
            return max(default, least)
        return value

    def number(self, name: str, default: float) -> float:
        value = self.document.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            self.fault(f"{name} is {value!r}; it must be a number above 0")
            return default
        return float(value)

    def optional_number(self, name: str) -> float | None:
        value = self.document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fault(f"{name} is {value!r}; it must be a number")
            return None
        return float(value)

    def ranged(self, name: str, default: float) -> float:
        value = self.optional_number(name)
        low, high = RANGES[name]
        if value is not None and not low <= value <= high:
            self.fault(f"{name} is {value!r}; it must be from {low:g} to {high:g}")
        return default if value is None else value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(f"{name} is {value!r}; it must be true or false")
            return default
        return value

    def text(self, name: str, default: str) -> str:
        value = self.document.get(name)
        return value if isinstance(value, str) else default

    def token_ids(self, name: str) -> tuple[int, ...]:
        value = self.document.get(name)
        ids = value if _is_list(value) else [] if value is None else [value]
        if any(isinstance(item, bool) or not isinstance(item, int) for item in ids):
            self.fault(f"{name} is {value!r}; it must be a token id or a list of them")
            return ()
        return tuple(ids)
