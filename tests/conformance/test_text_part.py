"""Vision-language models open for text: their text part computes what the whole computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.contract import AdapterSpec, Batch
from backends.errors import ModelError
from backends.packed_files import weights
from mindprint.footprint import read_sizes
from tests.conformance.conftest import OpenSession
from tests.conformance.trained import train
from tests.tiny import _OWN, _SHARED, _scaled, random_batch

SIGHT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
EYES = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 14}
PARTED = {"rope_type": "default", "rope_theta": 30000.0, "mrope_section": [2, 3, 3]}


def text(family: str, called: str = "", **more: Any) -> dict[str, Any]:
    return {**_SHARED, **_OWN[family], "model_type": called or family, **more}


WHOLES: dict[str, dict[str, Any]] = {
    "gemma3": {
        "text_config": text("gemma3_text"),
        "vision_config": {"model_type": "siglip_vision_model", **SIGHT},
        "mm_tokens_per_image": 4,
    },
    "llava": {
        "text_config": text("llama"),
        "vision_config": {"model_type": "clip_vision_model", **SIGHT},
        "tie_word_embeddings": False,
    },
    "mistral3": {
        "text_config": text("mistral"),
        "vision_config": {"model_type": "pixtral", **SIGHT},
        "tie_word_embeddings": False,
    },
    "qwen2_5_vl": {
        "text_config": text(
            "qwen2",
            "qwen2_5_vl_text",
            head_dim=12,
            rope_parameters=PARTED | {"mrope_section": [2, 2, 2]},
        ),
        "vision_config": {**EYES, "out_hidden_size": 48, "fullatt_block_indexes": [0]},
        "tie_word_embeddings": True,
    },
    "qwen3_vl": {
        "text_config": text("qwen3", "qwen3_vl_text", rope_parameters=PARTED),
        "vision_config": {**EYES, "out_hidden_size": 48, "deepstack_visual_indexes": [0]},
        "tie_word_embeddings": False,
    },
}
ROUNDING = 2e-5
"""Of the largest logit: float32 in another order."""

WholeFolder = Callable[[str], Path]


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory: pytest.TempPathFactory) -> WholeFolder:
    """A tiny vision-language model of random weights, as transformers writes it."""
    made: dict[str, Path] = {}

    def whole(name: str) -> Path:
        if name not in made:
            import torch
            from transformers import AutoConfig, AutoModelForImageTextToText

            config = AutoConfig.for_model(name, **WHOLES[name])
            model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
            rng, kind = np.random.default_rng(0), WHOLES[name]["text_config"]["model_type"]
            with torch.no_grad():
                for called, parameter in model.named_parameters():
                    draws = np.asarray(rng.standard_normal(parameter.shape))
                    if parameter.ndim <= 2:
                        parameter.copy_(torch.from_numpy(_scaled(called, draws, kind)))
            made[name] = tmp_path_factory.mktemp(name)
            model.save_pretrained(made[name])
        return made[name]

    return whole


@pytest.fixture(scope="module")
def batch() -> Batch:
    return random_batch(np.random.default_rng(3))


def logits_of_the_whole(folder: Path, batch: Batch) -> np.ndarray[Any, Any]:
    import torch
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for ids, length in zip(batch.ids, batch.lengths, strict=True):
            row = torch.from_numpy(ids[:length]).long()[None]
            found.append(model(input_ids=row).logits[0].numpy())
    return np.concatenate(found)


@pytest.mark.parametrize("name", WHOLES)
def test_the_text_part_computes_what_the_whole_does(
    whole_of: WholeFolder, open_session: OpenSession, batch: Batch, name: str
) -> None:
    folder = whole_of(name)
    wanted = logits_of_the_whole(folder, batch)
    for backend in ("torch", "mlx"):
        session = open_session(backend, folder)
        rows = zip(session.logits(batch), batch.lengths, strict=True)
        found = np.concatenate([row[:length] for row, length in rows])
        assert np.abs(found - wanted).max() < ROUNDING * np.abs(wanted).max(), backend
        sizes = read_sizes(folder)
        assert sizes.parameters == session.info.parameters
        session.adapters.add(AdapterSpec(rank=2), "topic")
        adapted = {key.rsplit(".", 1)[0] for key in session.adapters.trainable()}
        assert adapted == set(sizes.linears)
        assert all(path.startswith("model.layers.") for path in adapted)
        losses = train(session, batch, steps=3)
        assert losses[-1] < losses[0]
        # Merged into weights that its files know by other names.
        assert session.adapters.merge_and_unload().lost < 1e-3


def test_files_that_name_it_as_they_once_did(
    whole_of: WholeFolder, open_session: OpenSession, tmp_path: Path, batch: Batch
) -> None:
    """As checkpoints had it before the parts moved below `model`, and after."""
    source = whole_of("llava")
    names = {entry.name: own for own, entry in weights(source).items()}
    assert len(names) < len(load_file(source / "model.safetensors"))
    for style, head in (
        ("language_model.model.", "language_model.lm_head."),
        ("model.language_model.", "lm_head."),
    ):
        folder = tmp_path / style.partition(".")[0]
        shutil.copytree(source, folder)
        tensors = {}
        for stored, values in load_file(source / "model.safetensors").items():
            own = names.get(stored, "")
            if own:
                own = (
                    own.replace("lm_head.", head)
                    if own.startswith("lm_head.")
                    else (style + own.removeprefix("model."))
                )
            tensors[own or stored] = values
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        for backend in ("torch", "mlx"):
            session, known = open_session(backend, folder), open_session(backend, source)
            assert np.array_equal(session.logits(batch), known.logits(batch))


def test_a_text_part_that_cannot_be_trained_alone_is_refused(
    whole_of: WholeFolder, open_session: OpenSession, tmp_path: Path, backend: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole_of("llava"), folder)
    file = folder / "config.json"
    tree = json.loads(file.read_text("utf-8"))
    tree["text_config"]["model_type"] = "mpt"
    file.write_text(json.dumps({**tree, "model_type": "idefics"}), "utf-8")
    with pytest.raises(ModelError, match="the text part of `idefics`, which is `mpt`") as caught:
        open_session(backend, folder)
    assert "qwen3" in caught.value.hint and caught.value.where.endswith("config.json")


def test_a_part_that_is_not_there_is_told(
    whole_of: WholeFolder, open_session: OpenSession, tmp_path: Path, backend: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole_of("qwen3_vl"), folder)
    file = folder / "model.safetensors"
    gone = weights(folder)["model.layers.1.mlp.up_proj.weight"].name
    kept = {name: values for name, values in load_file(file).items() if name != gone}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fit the config.*up_proj"):
        open_session(backend, folder)
