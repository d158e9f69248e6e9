"""A decoder of mlx-lm's layers, driven with masks, rotations and scales of its own.

mlx-lm's models choose windows, rope bases and embedding scales themselves, wrongly for some
checkpoints (`tests/conformance/test_traps.py`); here the layers are called one by one with what
`plan.read_plan` found, and the head is separate, so that it sees only the positions asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from backends.bounds import Bounds
from backends.contract import ModelSpec
from backends.errors import FAULTS, ModelError, reason
from backends.mlx import weights
from backends.mlx.attention import Attention
from backends.mlx.base_weight import quantized
from backends.mlx.device import use
from backends.mlx.framework import mx, nn, tree_flatten
from backends.mlx.gated import Gated
from backends.mlx.head import Head
from backends.mlx.norm import GemmaNorm
from backends.mlx.packing import Packs, adopt, pack
from backends.mlx.plan import FAMILIES, FULL, SLIDING, Plan, read_plan
from backends.mlx.rope import Rope

Mask = Any
"""`None`, "causal", or a bool array that broadcasts to [rows, 1, queries, keys]."""


class Decoder:
    """`net` is mlx-lm's module, for names and parameters; `plan` says how to run it. `dtype`: of
    activations, and of the weights that are not packed."""

    def __init__(
        self, net: Any, plan: Plan, folder: Path, device: str, dtype: mx.Dtype, packed: Packs
    ) -> None:
        self._net: Any | None = net
        self._device = device
        self.dtype, self.packed = dtype, packed
        self.plan = plan
        self.folder = folder
        self.bounds = Bounds(net.model.embed_tokens.weight.shape[0], plan.limit)

    @property
    def net(self) -> Any:
        """Raises ModelError once closed: whoever still holds the decoder holds no weights."""
        if self._net is None:
            raise ModelError("this session is closed", hint="open the model again")
        return self._net

    @property
    def closed(self) -> bool:
        return self._net is None

    def enter(self) -> None:
        """Before any work: raises ModelError once closed, and makes this model's device MLX's."""
        if self.net is not None:
            use(self._device)

    def close(self) -> None:
        self._net = None
        self.packed = Packs()

    def hidden(
        self,
        ids: mx.array,
        masks: dict[str, Mask],
        caches: Sequence[Any] | None = None,
        *,
        exact: bool = False,
    ) -> mx.array:
        """Ids [rows, width] to normalised states [rows, width, hidden].

        `masks` by kind of layer. `exact` carries float32 through lower-precision weights, layer by
        layer, so that at most one layer's float32 copies exist at a time.
        """
        body = self.net.model
        h = self.embedded(ids, exact=exact)
        past = caches if caches is not None else [None] * len(body.layers)
        for layer, kind, cache in zip(body.layers, self.plan.kinds, past, strict=True):
            h = layer(h, masks[kind], cache)
            if exact:
                mx.eval(h)
        return cast(mx.array, body.norm(h))

    def embedded(self, ids: mx.array, *, exact: bool = False) -> mx.array:
        """Ids [rows, width] to what the first layer is given."""
        h: mx.array = self.net.model.embed_tokens(ids).astype(self.dtype)
        if exact:
            h = h.astype(mx.float32)
        if self.plan.embed_scale is not None:
            # transformers rounds the scale to the weights' precision: exact in float32.
            h = h * mx.array(self.plan.embed_scale, mx.float32).astype(h.dtype)
        return h

    @property
    def output(self) -> Head:
        """What `head` multiplies by, for work that goes over the vocabulary block by block."""
        layer = self.net.model.embed_tokens if self.plan.tied else self.net.lm_head
        return Head(layer if quantized(layer) else layer.weight, self.plan.softcap)

    def head(self, states: mx.array) -> mx.array:
        """States [..., hidden] to float32 logits [..., vocabulary]."""
        if self.plan.tied:
            out = self.net.model.embed_tokens.as_linear(states)
        else:
            out = self.net.lm_head(states)
        logits: mx.array = out.astype(mx.float32)
        if self.plan.softcap is not None:
            logits = mx.tanh(logits / self.plan.softcap) * self.plan.softcap
        return logits

    def causal_masks(self, width: int) -> dict[str, Mask]:
        """Right-padded rows of `width`. What stands before a token never is padding, so a causal
        mask suffices; a sliding layer also forgets what is `window` or more tokens back."""
        masks: dict[str, Mask] = {FULL: "causal", SLIDING: "causal"}
        window = self.plan.window
        if window is not None and width > window:
            place = mx.arange(width)
            back = place[:, None] - place[None, :]
            masks[SLIDING] = (back >= 0) & (back < window)
        return masks

    def logits(self, ids: mx.array, *, exact: bool = False) -> mx.array:
        """Ids [rows, width] to float32 [rows, width, vocabulary]."""
        return self.head(self.hidden(ids, self.causal_masks(ids.shape[1]), exact=exact))

    def linears(self) -> dict[str, Any]:
        """Layer path -> linear layer, packed or plain, in the model's order, without the output
        head."""
        leaves = tree_flatten(
            self.net.leaf_modules(), is_leaf=lambda node: isinstance(node, nn.Module)
        )
        return {
            path: leaf
            for path, leaf in leaves
            if type(leaf) in (nn.Linear, nn.QuantizedLinear) and path.split(".")[-1] != "lm_head"
        }

    def pristine(self, path: str) -> mx.array:
        """A layer's weight as the file holds it, in the file's precision."""
        return weights.read(self.folder)[f"{path}.weight"]


def load(folder: Path, spec: ModelSpec, dtype: mx.Dtype, device: str) -> Decoder:
    """The model of `folder`, frozen, its weights in `dtype` but for those that are packed. Raises
    ModelError."""
    plan, where = read_plan(folder, spec.longest_row), str(folder / "config.json")
    if plan.packing is not None:
        plan.packing.check_alone(spec.quantization, where)
    found = weights.read(folder)
    if plan.tied and weights.HEAD in found:
        plan = replace(plan, tied=weights.drop_equal_head(found, dtype))
    try:
        net = _build(plan, device)
    except FAULTS as error:
        raise ModelError(
            f"the config makes no model of mlx-lm's: {reason(error)}",
            where=where,
        ) from error
    packed = Packs() if plan.packing is None else adopt(net, found, where)
    weights.check(found, dict(tree_flatten(net.parameters())), folder)
    # Taken out one by one: what is packed next must not be held as it was.
    net.load_weights([(name, weights.in_dtype(found.pop(name), dtype)) for name in list(found)])
    if spec.quantization != "none":
        packed = pack(net, spec.quantization)
    net.eval()
    net.freeze()
    mx.eval(net.parameters())
    return Decoder(net, plan, folder, device, dtype, packed)


def _build(plan: Plan, device: str) -> Any:
    """mlx-lm's module for the plan, with this package's rotations in its layers, and on a CPU its
    attention and feed-forward blocks."""
    family = importlib.import_module(f"mlx_lm.models.{FAMILIES[plan.family]}")
    # What mlx-lm would read wrongly is replaced below, so it gets neutral values.
    neutral = {"rope_theta": 1.0, "rope_scaling": None, "rope_parameters": None}
    settings = {**plan.settings, **neutral, "layer_types": None, "partial_rotary_factor": 1.0}
    settings["tie_word_embeddings"] = plan.tied
    net = family.Model(family.ModelArgs.from_dict(settings))
    if plan.family == "gemma3_text":
        net.tie_word_embeddings = plan.tied
        if plan.tied:
            net.pop("lm_head")
        _own_norms(net, float(settings["rms_norm_eps"]))
    for layer, kind in zip(net.model.layers, plan.kinds, strict=True):
        layer.self_attn.rope = Rope(plan.rotations[kind])
        if device == "cpu":
            layer.self_attn = Attention(layer.self_attn)
            layer.mlp = Gated(layer.mlp, gelu=plan.family == "gemma3_text")
    return net


def _own_norms(net: Any, eps: float) -> None:
    body = net.model
    body.norm = GemmaNorm(body.norm.weight, eps)
    for layer in body.layers:
        for name in (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ):
            setattr(layer, name, GemmaNorm(getattr(layer, name).weight, eps))
        for name in ("q_norm", "k_norm"):
            setattr(layer.self_attn, name, GemmaNorm(getattr(layer.self_attn, name).weight, eps))
