"""S2: adapters wrapped twice, a wrapped model handed over as if it were bare, and attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import engine, get
from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec, Session
from backends.engines import Course
from backends.errors import AdapterError, ModelError
from backends.torch import choices
from mindprint.errors import StageError
from tests.runs import curriculum, make_run
from tests.tiny import make_model, make_tokenizer, random_batch

NO_STEPS = Course(1, 1, lambda step: [random_batch(np.random.default_rng(0))], lambda _: 1e-3, 1.0)

FEW = ("run.engine=trl", "dpo.when=never", "eval.max_tokens=2", "eval.few_shot=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("s2"), "qwen2")


@pytest.fixture
def session(folder: Path) -> Session:
    return get("torch").open(ModelSpec(str(folder), dtype="float32", device="cpu"))


def by_hand(session: Any, **settings: Any) -> Any:
    """What a user would do with the session's model, as PEFT's own guide says."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(session.opened.model, LoraConfig(task_type="CAUSAL_LM", **settings))


def train(session: Session, kind: str = "sft") -> None:
    objective = Objective(kind)  # type: ignore[arg-type]  # one of the two
    engine("trl").train(session, objective, OptimizerSpec(), NO_STEPS, lambda taken: True)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # PEFT's own, ignored
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{"target_modules": ["q_proj"], "r": 4}, {"target_modules": ["up_proj"], "r": 2}],
)
def test_a_model_wrapped_twice_is_refused_by_name(
    session: Session, attached: bool, settings: dict[str, Any]
) -> None:
    """Over the session's adapter on the same layers, on others, and with none of the session's."""
    if attached:
        session.adapters.add(AdapterSpec(rank=4, targets=("q_proj",)), "now")
    by_hand(session, **settings)
    told = "wrapped by PEFT twice" if attached else "not attached by this session"
    with pytest.raises(AdapterError, match=told):
        train(session)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # PEFT's own, ignored
def test_a_wrapped_model_with_a_config_is_what_trl_refuses_and_we_never_hand_over(
    session: Session, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, PeftModel
    from trl import SFTConfig, SFTTrainer

    from backends.torch import trl_stage

    given: list[dict[str, Any]] = []
    real = trl_stage.SftStage.__init__

    def seen(self: Any, **settings: Any) -> None:
        given.append(settings)
        real(self, **settings)

    monkeypatch.setattr(trl_stage.SftStage, "__init__", seen)
    session.adapters.add(AdapterSpec(rank=4, targets=("q_proj",)), "now")
    train(session)
    assert [isinstance(one["model"], PeftModel) for one in given] == [True]
    assert "peft_config" not in given[0]
    assert list(given[0]["model"].peft_config) == ["default"]

    other = get("torch").open(ModelSpec(str(folder), dtype="float32", device="cpu"))
    wrapped = by_hand(other, target_modules=["q_proj"])
    with pytest.raises(ValueError, match="a `PeftModel` instance together with a `peft_config`"):
        SFTTrainer(
            model=wrapped,
            args=SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, bf16=False),
            train_dataset=given[0]["train_dataset"],
            processing_class=given[0]["processing_class"],
            peft_config=LoraConfig(target_modules=["q_proj"]),
        )


class Plain:
    """A config that caps no attention scores."""


def test_the_attention_that_auto_chooses_is_said(session: Session) -> None:
    found = {choice.key: choice for choice in session.choices}["model.attention"]
    assert (found.name, found.because) == (
        "sdpa",
        "PyTorch's fused attention, exact with sliding windows",
    )


@pytest.mark.parametrize(
    ("device", "dtype", "told"),
    [
        ("cpu", "float32", "needs CUDA in half precision, not cpu float32"),
        ("cuda", "float32", "needs CUDA in half precision, not cuda float32"),
        ("cuda", "bfloat16", "needs the package flash-attn, which is not installed"),
    ],
)
def test_flash_attention_is_refused_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: str, told: str
) -> None:
    monkeypatch.setattr(choices, "find_spec", lambda name: None)
    spec = ModelSpec("any", attention="flash_attention_2")
    with pytest.raises(ModelError, match=told) as found:
        choices.attention(spec, Plain(), device, dtype)
    assert (found.value.where, found.value.hint) == ("model.attention", "use auto")


def test_an_attention_that_cannot_be_is_refused_before_a_weight_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.torch import model

    def load(*_: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(model, "_load", load)
    spec = ModelSpec(str(folder), dtype="float32", device="cpu", attention="flash_attention_2")
    with pytest.raises(ModelError, match="flash_attention_2 needs CUDA"):
        get("torch").open(spec)


def test_a_trainable_set_that_is_not_the_adapters_is_caught_before_a_step(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TRL's path for quantized models, or a plugin, may leave it."""
    from backends.torch import trl_stage

    real: Callable[..., Any] = trl_stage._trainer

    def thawed(session: Any, model: Any, *rest: Any) -> Any:
        made = real(session, model, *rest)
        model.get_input_embeddings().weight.requires_grad_(True)
        return made

    monkeypatch.setattr(trl_stage, "_trainer", thawed)
    session.adapters.add(AdapterSpec(rank=4, targets=("q_proj",)), "now")
    with pytest.raises(AdapterError, match=r"other tensors than the adapter's: .*embed_tokens"):
        train(session)


def test_a_trainer_that_ends_before_the_stage_does_is_caught(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a setting of TRL's own, or a callback of another library, may make it."""
    from backends.torch import trl_stage

    real = trl_stage._Settings._shared

    def short(self: Any, size: int) -> dict[str, Any]:
        return {**real(self, size), "max_steps": 1}

    monkeypatch.setattr(trl_stage._Settings, "_shared", short)
    model = make_tokenizer(folder)
    with pytest.raises(StageError, match=r"`trl` took 1 steps, and the stage has \d+"):
        make_run(tmp_path / "r", model, "torch", *FEW, teach=curriculum(1))
    assert not list((tmp_path / "r").glob("**/adapter_model.safetensors"))
