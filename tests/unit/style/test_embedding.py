"""A sentence-transformers model made on the spot, and folders that are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mindprint.config import resolve
from mindprint.curriculum.records import Voice
from mindprint.errors import ConfigError
from mindprint.evals.style.embedding import Embedding, check
from mindprint.evals.style.instrument import Instrument
from mindprint.plan import make_plan
from tests.unit.style.speech import demo, plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer and 16 numbers, its words those of the texts."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    where = tmp_path_factory.mktemp("embedder")
    texts = [*plain(44), *(held.answer for held in demo().voice.answers)]
    words = sorted({word for text in texts for word in text.lower().replace(",", " , ").split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *words]
    (where / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)), "utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(where / "bert")
    BertTokenizer(str(where / "vocab.txt")).save_pretrained(where / "bert")
    module = Transformer(str(where / "bert"), max_seq_length=64)
    pooling = Pooling(16, pooling_mode="mean")
    SentenceTransformer(modules=[module, pooling], device="cpu").save(str(where / "made"))
    return where / "made"


def test_it_is_one_more_family(folder: Path) -> None:
    held = demo().voice.answers
    author, base = [one.answer for one in held], plain(44)
    made = Instrument(held, base, Voice(), resamples=200, embedder=str(folder))
    assert made.families[-1] == "embedding"
    told = {one.name: one for one in made.read(author).families}["embedding"]
    assert told.auc > 0.75 and told.value == pytest.approx(1, abs=1e-5)
    empty = Embedding(str(folder)).features(["", author[0]])
    assert not empty[0].any() and empty[1].any() and empty.dtype == np.float32


def test_a_folder_that_is_not_there_is_told_before_a_model_is_opened() -> None:
    with pytest.raises(ConfigError, match="some-org/some-model is not there") as caught:
        check("some-org/some-model")
    assert "none is ever downloaded" in caught.value.hint
    check(None)


def test_a_plan_looks_for_the_embedder() -> None:
    config = resolve(None, ["eval.embedder=some-org/some-model"]).config
    with pytest.raises(ConfigError, match="is not there"):
        make_plan(demo(), config, renderer=None)  # type: ignore[arg-type]  # never asked


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no modules\.json"):
        check(str(tmp_path))
    (tmp_path / "modules.json").write_text("[1]")
    with pytest.raises(ConfigError, match="no sentence-transformers model"):
        Embedding(str(tmp_path))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules.json").write_text("[]")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        check(str(tmp_path))
    assert "mindprint[embed]" in caught.value.hint
