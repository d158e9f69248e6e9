"""Adapters that leave: what is trained here, in plain PEFT and plain mlx-lm, and the way back.

The oracles hold no code of ours: `PeftModel.from_pretrained` over `AutoModelForCausalLM`, and
`mlx_lm.load(path, adapter_path=...)`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import mlx_files, peft_files
from backends.contract import AdapterSpec, Batch, Params, Session
from mindprint.export.folded import concatenated
from tests.conformance import plain_mlx_lm
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.plain_mlx_lm import LAYERS, SHORT, for_mlx_lm
from tests.conformance.test_peft_folders import NEAR, pefts_logits, saved_by_peft
from tests.conformance.trained import SPEC, attach, distance, real
from tests.tiny import random_batch

pytestmark = [
    # PEFT 0.21 still asks transformers under the older name.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

HEADS = {  # the heads that tests.tiny does not give a family
    "llama": True,
    "qwen2": False,
    "qwen3": True,
    "mistral": True,
    "gemma3_text": False,
    "phi3": True,
}


@pytest.fixture(params=["as usual", "other head"])
def base(model_of: ModelFolder, family: str, request: pytest.FixtureRequest) -> Path:
    """Each family with its head tied and untied."""
    other = {} if request.param == "as usual" else {"tie_word_embeddings": HEADS[family]}
    return for_mlx_lm(model_of, family, **other)


def linears_of(base: Path) -> list[str]:
    """Every linear layer but the head, by transformers' own names."""
    from safetensors import safe_open

    with safe_open(base / "model.safetensors", framework="np") as opened:
        names = [name for name in opened.keys() if name.endswith("_proj.weight")]  # noqa: SIM118
    return [name.removesuffix(".weight") for name in names]


def trained(session: Session, spec: AdapterSpec = SPEC) -> tuple[Batch, np.ndarray[Any, Any]]:
    """An adapter `topic` that has learned something, a batch, and the logits it gives."""
    base = session.logits(random_batch(np.random.default_rng(8), SHORT))
    attach(session, "topic", seed=8, spec=spec)
    batch = random_batch(np.random.default_rng(8), SHORT)
    found = session.logits(batch)
    assert distance(real(batch, found), real(batch, base)) > 1e-2, "nothing was learned"
    return batch, real(batch, found)


def test_from_mlx_to_plain_peft(open_session: OpenSession, base: Path, tmp_path: Path) -> None:
    session = open_session("mlx", base)
    batch, wanted = trained(session)
    session.adapters.save(tmp_path)
    assert distance(pefts_logits(base, tmp_path, batch), wanted) < NEAR


def test_from_torch_to_plain_mlx_lm(open_session: OpenSession, base: Path, tmp_path: Path) -> None:
    session = open_session("torch", base)
    batch, wanted = trained(session)
    session.adapters.save(tmp_path / "peft")
    spec, tensors = peft_files.read(tmp_path / "peft")
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


def test_rslora_travels_both_ways(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path, backend: str
) -> None:
    """Its scale is alpha over the root of the rank, which mlx-lm is told as a number."""
    base = for_mlx_lm(model_of, "phi3")
    session = open_session(backend, base)
    batch, wanted = trained(session, AdapterSpec(rank=4, alpha=3.0, scaling="rslora", seed=7))
    session.adapters.save(tmp_path / "peft")
    spec, tensors = peft_files.read(tmp_path / "peft")
    assert spec.scale == 1.5
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    assert distance(pefts_logits(base, tmp_path / "peft", batch), wanted) < NEAR
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


LEDGER = (
    AdapterSpec(rank=4, alpha=8.0, seed=1),
    AdapterSpec(rank=2, alpha=3.0, targets=("down_proj", "o_proj"), scaling="rslora", seed=2),
    AdapterSpec(rank=3, alpha=3.0, targets=("down_proj",), seed=3),
)
"""Entries of different rank, scale and layers: no layer has the rank of another kind."""


def stacked(session: Session, folder: Path) -> list[tuple[AdapterSpec, Params]]:
    """The session with every entry acting, and what their files hold."""
    held = []
    for place, spec in enumerate(LEDGER):
        attach(session, str(place), seed=20 + place, spec=spec)
        session.adapters.save(folder / str(place))
        held.append(peft_files.read(folder / str(place)))
        session.adapters.freeze(str(place))
    return held


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_a_ledger_folded_into_one_travels(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path, backend: str, kind: str
) -> None:
    base = for_mlx_lm(model_of, kind)
    session = open_session(backend, base)
    held = stacked(session, tmp_path)
    batch = random_batch(np.random.default_rng(9), SHORT)
    wanted = real(batch, session.logits(batch))
    whole = concatenated(held)
    assert whole.spec.rank == 4 + 2 + 3  # where all three act; the others are padded with zeros
    mlx_files.write(tmp_path / "mlx", whole.spec, whole.tensors, base=str(base), layers=LAYERS)
    linears = linears_of(base)
    peft_files.write(tmp_path / "peft", whole.spec, whole.tensors, base="base", linears=linears)
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR
    assert distance(pefts_logits(base, tmp_path / "peft", batch), wanted) < NEAR
    without = concatenated([*held, held[0]], [1.0, 1.0, 1.0, -1.0])
    mlx_files.write(tmp_path / "less", without.spec, without.tensors, base="base", layers=LAYERS)
    with session.adapters.using(("1", "2")):
        rest = real(batch, session.logits(batch))
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "less"), rest) < NEAR
    assert distance(rest, wanted) > 1e-2


def test_layers_that_only_some_blocks_have(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path
) -> None:
    """mlx-lm adapts a layer in every block: what is not in the file must be nothing there."""
    base = for_mlx_lm(model_of, "llama")
    targets = ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj")
    session = open_session("torch", base)
    batch, wanted = trained(session, AdapterSpec(rank=4, alpha=8.0, targets=targets, seed=7))
    session.adapters.save(tmp_path / "peft")
    spec, tensors = peft_files.read(tmp_path / "peft")
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


@pytest.mark.parametrize("keys", [None, ["mlp.down_proj", "self_attn.o_proj"]])
@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "phi3"])
def test_from_mlx_lm_to_both(
    open_session: OpenSession,
    model_of: ModelFolder,
    tmp_path: Path,
    kind: str,
    keys: list[str] | None,
) -> None:
    base = for_mlx_lm(model_of, kind)
    batch = random_batch(np.random.default_rng(10), SHORT)
    folder = plain_mlx_lm.saved_adapter(base, tmp_path / "theirs", keys)
    wanted = plain_mlx_lm.logits(base, batch, folder)
    assert distance(wanted, plain_mlx_lm.logits(base, batch)) > 1e-2
    assert mlx_files.is_mlx(folder)
    spec, tensors = mlx_files.read(folder)
    assert spec.scale == pytest.approx(1.5)
    peft_files.write(tmp_path / "peft", spec, tensors, base="base", linears=linears_of(base))
    for backend in ("torch", "mlx"):
        session = open_session(backend, base)
        session.adapters.load(tmp_path / "peft", "theirs")
        assert distance(real(batch, session.logits(batch)), wanted) < NEAR
    assert distance(pefts_logits(base, tmp_path / "peft", batch), wanted) < NEAR


def test_from_peft_to_plain_mlx_lm(model_of: ModelFolder, tmp_path: Path, family: str) -> None:
    """`saved_by_peft` on both backends is `test_peft_folders.py`'s; here it goes on to mlx-lm."""
    base = for_mlx_lm(model_of, family)
    batch = random_batch(np.random.default_rng(11), SHORT)
    folder = saved_by_peft(base, tmp_path / "peft", target_modules="all-linear", use_rslora=True)
    spec, tensors = peft_files.read(folder)
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    wanted = pefts_logits(base, folder, batch)
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


DORA = AdapterSpec(rank=4, alpha=6.0, seed=7, kind="dora")


def test_dora_travels_to_plain_peft_and_plain_mlx_lm(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path, backend: str
) -> None:
    """Trained on either backend, over two layers of each block."""
    base = for_mlx_lm(model_of, "qwen2")
    session = open_session(backend, base)
    batch, wanted = trained(session, replace(DORA, targets=("down_proj", "q_proj")))
    session.adapters.save(tmp_path / "peft")
    spec, tensors = peft_files.read(tmp_path / "peft")
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    assert distance(pefts_logits(base, tmp_path / "peft", batch), wanted) < NEAR
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


def test_a_dora_that_only_one_block_has(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path
) -> None:
    """mlx-lm wraps the layer in the other block too, whose magnitudes are its own rows' norms."""
    base = for_mlx_lm(model_of, "llama")
    session = open_session("torch", base)
    batch, wanted = trained(session, replace(DORA, targets=("layers.1.mlp.down_proj",)))
    session.adapters.save(tmp_path / "peft")
    spec, tensors = peft_files.read(tmp_path / "peft")
    mlx_files.write(tmp_path / "mlx", spec, tensors, base=str(base), layers=LAYERS)
    assert distance(plain_mlx_lm.logits(base, batch, tmp_path / "mlx"), wanted) < NEAR


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_from_mlx_lms_dora_to_both(
    open_session: OpenSession, model_of: ModelFolder, tmp_path: Path, kind: str
) -> None:
    base = for_mlx_lm(model_of, kind)
    batch = random_batch(np.random.default_rng(12), SHORT)
    folder = plain_mlx_lm.saved_adapter(base, tmp_path / "theirs", kind="dora")
    wanted = plain_mlx_lm.logits(base, batch, folder)
    assert distance(wanted, plain_mlx_lm.logits(base, batch)) > 1e-2
    spec, tensors = mlx_files.read(folder)
    assert spec.kind == "dora" and spec.scale == pytest.approx(1.5)
    peft_files.write(tmp_path / "peft", spec, tensors, base="base", linears=linears_of(base))
    for backend in ("torch", "mlx"):
        session = open_session(backend, base)
        session.adapters.load(tmp_path / "peft", "theirs", frozen=True)
        assert distance(real(batch, session.logits(batch)), wanted) < NEAR
    assert distance(pefts_logits(base, tmp_path / "peft", batch), wanted) < NEAR
