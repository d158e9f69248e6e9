"""What PEFT leaves behind, and what it must not be attached over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec, Spline
from backends.errors import AdapterError
from backends.torch import merge
from backends.torch.session import TorchSession
from backends.torch.trainable import contract_name
from tests.tiny import random_batch, window_of

SPEC = AdapterSpec(rank=2, alpha=4.0)
KINDS = (SPEC, replace(SPEC, kind="dora"), replace(SPEC, kind="lslora", spline=Spline()))


@pytest.fixture
def session(model_of: Any) -> TorchSession:
    return TorchSession(ModelSpec(str(model_of("qwen2"))))


def _anatomy(model: Any) -> dict[str, Any]:
    """Everything about a model that an adapter could leave changed."""
    return {
        "types": [(path, type(module)) for path, module in model.named_modules()],
        "attributes": [(path, sorted(vars(module))) for path, module in model.named_modules()],
        "identity": [id(module) for module in model.modules()],
        "flags": [(n, p.requires_grad, p.dtype) for n, p in model.named_parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
        "state": list(model.state_dict()),
    }


@pytest.mark.parametrize("spec", KINDS)
def test_unload_and_merge_leave_no_trace(session: TorchSession, spec: AdapterSpec) -> None:
    model = session._opened.model  # type: ignore[union-attr]
    before = _anatomy(model)
    session.adapters.add(spec, "past")
    session.adapters.freeze("past")
    assert _anatomy(model)["flags"] == before["flags"]  # the past adds no parameter name
    session.adapters.add(spec, "topic")
    assert _anatomy(model) != before
    session.adapters.unload("topic")
    session.adapters.unload("past")
    assert _anatomy(model) == before
    session.adapters.add(spec, "merged")
    session.adapters.merge_and_unload()
    assert _anatomy(model) == before


@pytest.mark.parametrize("at", [0, 5])
def test_an_interrupted_merge_leaves_every_weight_as_it_was(
    session: TorchSession, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Interrupted after a weight is written and before anyone has noted it."""
    prints = session.adapters.base_fingerprint()
    session.adapters.add(SPEC, "topic")
    drawn = {n: np.ones_like(a) for n, a in session.adapters.parameters().items()}
    session.learner(Objective("sft"), OptimizerSpec()).assign(drawn)
    written: list[int] = []
    assign = merge._assign

    def interrupted(weight: Any, value: Any) -> None:
        assign(weight, value)
        written.append(1)
        if len(written) == at + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as inside:
        inside.setattr(merge, "_assign", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.adapters.merge_and_unload()
    assert session.adapters.base_fingerprint() == prints
    assert session.adapters.active() == ("topic",)
    session.adapters.merge_and_unload()
    assert session.adapters.base_fingerprint() != prints


def test_adding_moves_no_global_random_state(session: TorchSession) -> None:
    before = torch.get_rng_state()
    session.adapters.add(AdapterSpec(rank=2, dropout=0.1), "topic")
    session.learner(Objective("sft"), OptimizerSpec())
    assert torch.equal(torch.get_rng_state(), before)


# PEFT 0.21 still asks transformers under the older name.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_of_someone_else_is_not_built_upon(session: TorchSession) -> None:
    get_peft_model(session._opened.model, LoraConfig(r=2, target_modules=["q_proj"]))  # type: ignore[union-attr]
    with pytest.raises(AdapterError, match="not attached by this session") as found:
        session.adapters.add(SPEC, "topic")
    assert found.value.where.endswith("q_proj")


def test_a_stale_note_of_peft_is_seen(session: TorchSession) -> None:
    session._opened.model.peft_config = {}  # type: ignore[union-attr]
    with pytest.raises(AdapterError, match="stale `peft_config`"):
        session.adapters.add(SPEC, "topic")


def test_a_trainable_base_tensor_shows_up(session: TorchSession) -> None:
    session.adapters.add(SPEC, "topic")
    expected = session.adapters.parameters().keys()
    assert session.adapters.trainable().keys() == expected
    session._opened.model.model.norm.weight.requires_grad_(True)  # type: ignore[union-attr]
    assert session.adapters.trainable().keys() - expected == {"model.norm.weight"}


def test_names_that_are_not_the_adapters_stay_as_they_are() -> None:
    for leaf in ("A", "B", "magnitude_vector", "spline_values", "spline_scales"):
        assert contract_name(f"m.q.lora_{leaf}.default.weight") == f"m.q.lora_{leaf}"
    for odd in ("m.q.lora_A.ref.weight", "m.q.lora_embedding_A.default", "lora_A", "lm_head"):
        assert contract_name(odd) == odd


def test_a_learner_outlives_a_restore_but_not_its_adapter(session: TorchSession) -> None:
    session.adapters.add(SPEC, "topic")
    state = session.adapters.snapshot()
    learner = session.learner(Objective("sft"), OptimizerSpec())
    batch = random_batch(np.random.default_rng(0))
    session.adapters.restore(state)
    learner.gradients(batch, window_of(batch))
    session.adapters.unload("topic")
    session.adapters.add(SPEC, "topic")
    with pytest.raises(AdapterError, match="make a new learner"):
        learner.gradients(batch, window_of(batch))
