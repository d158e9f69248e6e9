"""The base model's own byte-level BPE and chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from demo_model.corpus import Turn

VOCABULARY = 2048
PAD, BOS, END = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train the tokenizer on plain texts; every byte has a token, so no word is unknown."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=[PAD, BOS, END, *ROLES.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES.values()),
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = TEMPLATE
    return fast


def encode(
    fast: PreTrainedTokenizerFast, talks: Sequence[Sequence[Turn]], aside: float
) -> list[tuple[list[int], list[float]]]:
    """Return ids and loss weights: 1 on what the assistant says and its end, else `aside`."""
    raw = fast.backend_tokenizer
    pieces = iter(
        raw.encode_batch([text for talk in talks for _, text in talk], add_special_tokens=False)
    )
    end, start = raw.token_to_id(END), raw.token_to_id(BOS)
    rows = []
    for talk in talks:
        ids, weights = [start], [0.0]
        for role, _ in talk:
            said = next(pieces).ids
            mark = "assistant" if role == "shown" else role
            weight = 1.0 if role == "assistant" else aside
            ids += [raw.token_to_id(ROLES[mark]), *said, end]
            weights += [0.0, *[weight] * len(said), weight]
        rows.append((ids, weights))
    return rows
