"""Sizes off the files' headers against the models themselves, and what multiplies on the CPU."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path
from typing import Any

import pytest

from backends import lora
from backends.contract import AdapterSpec, Spline
from mindprint.footprint import adapter_bytes, read_sizes
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.test_stored_head import store_head
from tests.tiny import FAMILIES

HEADS = [{"tie_word_embeddings": True}, {"tie_word_embeddings": False}]


@pytest.mark.parametrize("head", HEADS, ids=["tied", "own"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_are_those_that_the_backends_adapt(
    open_session: OpenSession,
    model_of: ModelFolder,
    backend: str,
    family: str,
    head: dict[str, Any],
) -> None:
    folder = model_of(family, **head)
    session, sizes = open_session(backend, folder), read_sizes(folder)
    assert sizes.parameters == session.info.parameters
    session.adapters.add(AdapterSpec(rank=3), "all")
    wanted = {lora.name_a(path): (3, inputs) for path, (_, inputs) in sizes.linears.items()}
    wanted |= {lora.name_b(path): (out, 3) for path, (out, _) in sizes.linears.items()}
    assert session.adapters.trainable() == wanted


@pytest.mark.parametrize("equal", [True, False])
def test_a_stored_head_counts_where_it_is_the_models_own(
    open_session: OpenSession, model_of: ModelFolder, backend: str, tmp_path: Path, equal: bool
) -> None:
    folder = shutil.copytree(model_of("qwen2", tie_word_embeddings=True), tmp_path / "model")
    store_head(folder, equal=equal)
    sizes = read_sizes(folder)
    assert sizes.parameters == open_session(backend, folder).info.parameters
    assert not [path for path in sizes.linears if "head" in path or "embed" in path]


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
@pytest.mark.parametrize(
    "spec",
    [
        AdapterSpec(rank=16),
        AdapterSpec(rank=16, targets=("q_proj", "down_proj")),
        AdapterSpec(rank=4, kind="dora"),
        AdapterSpec(rank=4, kind="lslora", spline=Spline(knots=9)),
    ],
    ids=["all-linear", "two targets", "dora", "lslora"],
)
def test_an_adapter_on_the_disk_is_as_large_as_was_said(
    open_session: OpenSession,
    model_of: ModelFolder,
    backend: str,
    tmp_path: Path,
    family: str,
    spec: AdapterSpec,
) -> None:
    folder = model_of(family)
    session = open_session(backend, folder)
    session.adapters.add(spec, "one")
    session.adapters.save(tmp_path)
    written = (tmp_path / "adapter_model.safetensors").stat().st_size
    tensors = 4 * sum(map(prod, session.adapters.trainable().values()))
    said = adapter_bytes(read_sizes(folder), spec)
    assert said > tensors
    # The header is reckoned too; how it is spaced is safetensors' own affair.
    assert abs(said - written) <= 0.02 * written


def test_threads_and_blas_are_told(
    open_session: OpenSession, model_of: ModelFolder, backend: str
) -> None:
    first, second = (open_session(backend, model_of("llama")).info for _ in range(2))
    assert first.threads >= 1
    assert first.blas
    assert (first.threads, first.blas) == (second.threads, second.blas)


def test_another_number_of_threads_is_seen(
    open_session: OpenSession, model_of: ModelFolder
) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert open_session("torch", model_of("llama")).info.threads == threads
    finally:
        torch.set_num_threads(before)
