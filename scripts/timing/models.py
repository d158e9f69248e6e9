"""The two models of the benchmark: random weights from a config, made in a folder in a minute."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAD, BOS, EOS = 0, 1, 2
LETTERS = "abcdefghijklmnop"
WORDS = range(EOS + 1 + 256 + len(LETTERS), EOS + 1 + 256 + len(LETTERS) + len(LETTERS) ** 2)
"""Ids of the tokenizer's words, ` aa` to ` pp`, behind the marks, the bytes and the words' first
letters; the rest of a large vocabulary is there for the head alone."""


@dataclass(frozen=True)
class Shape:
    """A Qwen2 shape with a tied head; `vocabulary` rows of the embedding."""

    name: str
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int

    def config(self) -> dict[str, Any]:
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "tie_word_embeddings": True,
            "pad_token_id": PAD,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
        }


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", 192, 512, 4, 6, 2, 2_048),
        Shape("large", 896, 4864, 6, 14, 2, 151_936),
        Shape("0.5b", 896, 4864, 24, 14, 2, 151_936),
        Shape("7b", 3584, 18944, 28, 28, 4, 152_064),
    )
}
"""`small` 2 M and `large` 226 M parameters; `0.5b` and `7b` are for a GPU."""


def make_model(folder: Path, shape: Shape, *, dtype: str = "float32", seed: int = 0) -> Path:
    """Weights drawn as transformers draws them, and a tokenizer of two-letter words."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model("qwen2", **shape.config())
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def word(number: int) -> str:
    """The word that is token `number`, without the space before it."""
    first, second = divmod(WORDS.index(number), len(LETTERS))
    return LETTERS[first] + LETTERS[second]


def write_tokenizer(folder: Path) -> None:
    """One token a word, so that every side sees the ids the data was made of.

    Byte-level pairs, since transformers reads any Qwen2 tokenizer as that: a space and a letter are
    merged first, then the second letter. All 256 bytes are there too, for any other text.
    """
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    space = "\u0120"  # how a byte-level vocabulary writes a space
    firsts = [space + one for one in LETTERS]
    words = [space + word(number) for number in WORDS]
    tokens = ["<pad>", "<s>", "</s>", *bytes_, *firsts, *words]
    merges = [(space, one) for one in LETTERS] + [(one[:2], one[2]) for one in words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "Qwen2Tokenizer",
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 4096,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=2))


TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %} {{ m['content'] }}</s>"
    "{% else %}<s> {{ m['content'] }}{% endif %}"
    "{% endfor %}"
)
"""Prompt, answer, end: the prompt's tokens are a prefix of the whole conversation's."""
