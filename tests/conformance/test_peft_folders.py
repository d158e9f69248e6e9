"""Adapters that PEFT itself saved, loaded here, against PEFT's own logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch
from backends.errors import AdapterError
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.kinds import DORA, LSLORA, apart, put
from tests.conformance.trained import distance, real
from tests.tiny import random_batch

pytestmark = [
    # PEFT 0.21 still asks transformers under the older name.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    # What PEFT says of adapters that are refused here.
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed"),
    pytest.mark.filterwarnings("ignore:Adapter 'default'. 2 LoRA tensor"),
]

NEAR = 5e-5
"""Two frameworks' float32 over two layers; logits are about 1 to 5."""

KINDS: dict[str, dict[str, Any]] = {
    "all": {"target_modules": "all-linear"},
    "rslora": {"target_modules": "all-linear", "use_rslora": True},
    "partial-paths": {"target_modules": ["mlp.down_proj", "layers.0.self_attn.o_proj"]},
    "regex": {"target_modules": r".*layers\.1\..*(down|o)_proj"},
    "some-layers": {"target_modules": ["down_proj"], "layers_to_transform": [1]},
    "gaussian": {"target_modules": ["o_proj"], "init_lora_weights": "gaussian"},
    "dropout": {"target_modules": ["o_proj"], "lora_dropout": 0.3},
    "dora": {"target_modules": "all-linear", "use_dora": True},
    "dora-rslora": {"target_modules": ["down_proj"], "use_dora": True, "use_rslora": True},
}
OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "pissa": ({"init_lora_weights": "pissa"}, "`init_lora_weights` is `pissa`"),
    "olora": ({"init_lora_weights": "olora"}, "`init_lora_weights` is `olora`"),
    "lora-bias": ({"lora_bias": True}, "`lora_bias` is set"),
    "head": (
        {"target_modules": ["down_proj", "lm_head"]},
        "unknown tensor `base_model.model.lm_head",
    ),
    "embedding": ({"target_modules": ["down_proj", "embed_tokens"]}, "unknown tensor"),
    "ranks": ({"rank_pattern": {"down_proj": 2}}, "`rank_pattern` is set"),
}


@pytest.fixture(params=["llama", "phi3"])
def base(model_of: ModelFolder, request: pytest.FixtureRequest) -> Path:
    return model_of(str(request.param))


@pytest.fixture
def batch() -> Batch:
    return random_batch(np.random.default_rng(101))


def saved_by_peft(base: Path, folder: Path, dtype: str = "float32", **settings: Any) -> Path:
    """An adapter with drawn values in every tensor, as PEFT writes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["down_proj"], **settings})
    adapted = get_peft_model(model, config)
    draws = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draws)
            parameter.data = parameter.data.to(getattr(torch, dtype))
    adapted.save_pretrained(folder)
    return folder


def pefts_logits(base: Path, folder: Path, batch: Batch) -> np.ndarray[Any, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, folder).eval()
    with torch.no_grad():
        logits = adapted(input_ids=torch.from_numpy(batch.ids).long()).logits
    return real(batch, np.asarray(logits.numpy()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_peft_saved_acts_as_in_peft(
    open_session: OpenSession, base: Path, batch: Batch, tmp_path: Path, backend: str, kind: str
) -> None:
    folder = saved_by_peft(base, tmp_path / "peft", **KINDS[kind])
    wanted = pefts_logits(base, folder, batch)
    session = open_session(backend, base)
    assert distance(real(batch, session.logits(batch)), wanted) > 1e-2
    session.adapters.load(folder, "theirs", frozen=True)
    assert distance(real(batch, session.logits(batch)), wanted) < NEAR
    session.adapters.unload("theirs")
    session.adapters.load(folder, "theirs")
    assert distance(real(batch, session.logits(batch)), wanted) < NEAR
    session.adapters.save(tmp_path / "again")
    assert distance(pefts_logits(base, tmp_path / "again", batch), wanted) < NEAR


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_files_are_widened_exactly(
    open_session: OpenSession, base: Path, batch: Batch, tmp_path: Path, backend: str, dtype: str
) -> None:
    from safetensors.torch import load_file

    folder = saved_by_peft(base, tmp_path, dtype, target_modules="all-linear")
    stored = load_file(folder / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in stored.values()} == {f"torch.{dtype}"}
    session = open_session(backend, base)
    session.adapters.load(folder, "theirs")
    for name, held in session.adapters.parameters().items():
        assert np.array_equal(held, stored[f"base_model.model.{name}.weight"].float().numpy())
    wanted = pefts_logits(base, folder, batch)  # PEFT widens them too
    assert distance(real(batch, session.logits(batch)), wanted) < NEAR


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_not_plain_lora_is_refused(
    open_session: OpenSession, base: Path, tmp_path: Path, backend: str, kind: str
) -> None:
    settings, said = OTHER[kind]
    folder = saved_by_peft(base, tmp_path, **settings)
    session = open_session(backend, base)
    for frozen in (True, False):
        with pytest.raises(AdapterError, match=said):
            session.adapters.load(folder, "theirs", frozen=frozen)
    assert session.adapters.active() == ()


def test_peft_reads_our_dora_as_we_do(
    open_session: OpenSession, base: Path, batch: Batch, tmp_path: Path, backend: str
) -> None:
    session = open_session(backend, base)
    plain = real(batch, session.logits(batch))
    put(session, "topic", DORA, seed=102)
    session.adapters.save(tmp_path)
    found = real(batch, session.logits(batch))
    wanted = pefts_logits(base, tmp_path, batch)
    # Float32 in another order over two layers; PEFT's norms are of a dense sum, ours are not.
    assert apart(found, wanted) < 1e-5
    assert apart(plain, wanted) > 1e-2


def test_peft_refuses_our_splines(
    open_session: OpenSession, base: Path, tmp_path: Path, backend: str
) -> None:
    """It would take them for plain LoRA, with a warning and other logits: under a marker beside
    LORA it does, which is why they have a type of their own."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    session = open_session(backend, base)
    put(session, "topic", LSLORA, seed=103)
    session.adapters.save(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with pytest.raises(KeyError, match="LSLORA"):
        PeftModel.from_pretrained(model, tmp_path)
    config = tmp_path / "adapter_config.json"
    told = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**told, "peft_type": "LORA"}), "utf-8")
    with pytest.warns(UserWarning, match=r"unexpected keyword|spline"):
        PeftModel.from_pretrained(model, tmp_path)  # misled: what the type is there against
    with pytest.raises(AdapterError, match="unknown tensor"):
        session.adapters.load(tmp_path, "misled", frozen=True)
