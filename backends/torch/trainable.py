"""The one adapter that trains, injected by PEFT and taken out again without a trace."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModelForCausalLM
from peft.tuners.lora import LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from backends import lora
from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.torch.dora import TrainedDora
from backends.torch.lora_layer import ADAPTER, TrainedLinear
from backends.torch.lslora import SplineConfig, TrainedSpline
from backends.torch.quantization import unlooked_for

_NAMED = re.compile(
    r"(?P<name>.+\.lora_(?:A|B|magnitude_vector|spline_values|spline_scales))\.default\.weight"
)
_FORMS = {"dora": TrainedDora, "lslora": TrainedSpline}


class Trainable:
    """An adapter in training: on every path the float32 tensors that `lora.shapes` names.

    `tuner` is what PEFT made of it: its LoraModel, or with `wrapped` a PeftModel around the model,
    as trainers that are not ours take it.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        spec: AdapterSpec,
        paths: Sequence[str],
        values: Params,
        *,
        wrapped: bool = False,
    ) -> None:
        refuse_unaccounted(model)
        self.name = name
        self.spec = spec
        self._model = model
        with _whole(model, paths):
            self.tuner = _inject(model, spec, paths, wrapped)
            self.layers = {path: model.get_submodule(path) for path in paths}
            self._fill(values)
            if spec.kind == "lora" and not wrapped:
                for layer in self.layers.values():
                    layer.__class__ = TrainedLinear
        self._config = self.tuner.peft_config[ADAPTER]
        self._own = self.parameters()
        for layer in self.layers.values():
            layer.eval()  # PEFT's new modules begin in training mode, in which dropout acts

    def _fill(self, values: Params) -> None:
        for name, parameter in self.parameters().items():
            # PEFT gives the base's dtype; adapters and their optimizer state are float32.
            parameter.data = torch.from_numpy(values[name].copy()).to(parameter.device)

    def parameters(self) -> dict[str, Any]:
        """Contract name -> the parameter itself."""
        return {
            name: getattr(layer, name.rpartition(".")[2])[ADAPTER].weight
            for path, layer in self.layers.items()
            for name in lora.shapes(self.spec, path, layer.out_features, layer.in_features)
        }

    def values(self) -> Params:
        return {name: array(tensor) for name, tensor in self.parameters().items()}

    def assign(self, params: Params) -> None:
        """Copy values in place, so that an optimizer over the parameters stays valid."""
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(params[name])))

    @property
    def enabled(self) -> bool:
        return not any(layer.disable_adapters for layer in self.layers.values())

    def enable(self, enabled: bool) -> None:
        if enabled != self.enabled:
            for layer in self.layers.values():
                layer.enable_adapters(enabled)

    def dropout(self, active: bool) -> None:
        """Only the adapter's dropout is ever in training mode."""
        for layer in self.layers.values():
            layer.lora_dropout.train(active)

    def remove(self) -> None:
        """Put the layers that were there back in place, and PEFT's notes away."""
        self.tuner.unload()
        refuse_unaccounted(self._model)

    def check_alone(self) -> None:
        """Raises AdapterError where PEFT was let loose on the model besides: other layers adapted,
        or these layers by other adapters or anew."""
        for path, module in self._model.named_modules():
            if isinstance(module, BaseTunerLayer) and module is not self.layers.get(path):
                raise _wrapped_twice(path)
        for path, layer in self.layers.items():
            if self._model.get_submodule(path) is not layer or set(layer.lora_A) != {ADAPTER}:
                raise _wrapped_twice(path)
        for name, parameter in self.parameters().items():
            if parameter is not self._own[name]:
                raise _wrapped_twice(name)
        configs = getattr(self._model, "peft_config", {})
        if list(configs) != [ADAPTER] or configs[ADAPTER] is not self._config:
            raise _wrapped_twice("peft_config")


def array(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A float32 NumPy copy of a tensor on any device."""
    return np.array(tensor.detach().to("cpu", torch.float32).numpy(), copy=True)


def contract_name(parameter: str) -> str:
    """PEFT's parameter name as the contract's; any other name as it is, so that audits see it."""
    match = _NAMED.fullmatch(parameter)
    return match["name"] if match else parameter


def refuse_unaccounted(model: nn.Module) -> None:
    """Raises AdapterError when an adapter is attached that nobody here accounts for."""
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            raise AdapterError(
                "an adapter that was not attached by this session sits in the model",
                where=path,
                hint="unload it, or open the model afresh",
            )
    if hasattr(model, "peft_config"):
        raise AdapterError("the model carries a stale `peft_config`", hint="open the model afresh")


def _wrapped_twice(where: str) -> AdapterError:
    return AdapterError(
        "the model is wrapped by PEFT twice: by this session, and by hand",
        where=where,
        hint="open the model afresh, and let the session alone attach adapters",
    )


@contextlib.contextmanager
def _whole(model: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """An adapter that is only half attached, for want of memory say, is taken out again."""
    before = {path: model.get_submodule(path) for path in paths}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        yield
    except BaseException:
        for path, module in before.items():
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])
        vars(model).pop("peft_config", None)
        raise


def _inject(model: nn.Module, spec: AdapterSpec, paths: Sequence[str], wrapped: bool) -> Any:
    config = _config(spec, paths)
    # PEFT draws initial values, which are overwritten.
    with unlooked_for(), torch.random.fork_rng(devices=[]):
        kind = PeftModelForCausalLM if wrapped else LoraModel
        tuner = kind(model, config, ADAPTER)
    attached = {
        path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)
    }
    if attached != set(paths):
        odd = ", ".join(sorted(attached ^ set(paths))[:3])
        raise AdapterError(f"PEFT adapted other layers than it was asked to: {odd}")
    return tuner


def _config(spec: AdapterSpec, paths: Sequence[str]) -> Any:
    settings = {
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "target_modules": list(paths),
        "lora_dropout": spec.dropout,
        "use_rslora": spec.scaling == "rslora",
        "use_dora": spec.kind == "dora",
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }
    if spec.spline is None:
        config = LoraConfig(**settings)
    else:
        config = SplineConfig(**settings, spline=spec.spline)
    if spec.kind in _FORMS:
        # Also where the model is wrapped: PEFT's own DoRA would take the base weight for all that
        # lies below, and of splines it knows nothing.
        config._register_custom_module({nn.Linear: _FORMS[spec.kind]})
    return config
