"""Tiny tokenizers with the quirks of real chat templates.

The templates are written after those that ship with the named models, reduced to what renders
plain conversations; each keeps the quirk its test is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mindprint.tokens.render import Renderer

SENTENCES = (
    "The lamp is lit at dusk and put out at dawn by the keeper.",
    "blank lines\n\n\n\nare tokens\n\n\n\nof their own",
    "system user assistant model Who keeps the lamp? Today Date: 26 Jul 2024 think",
)

# Qwen 3: an empty thought before the answer that is generated next or stands last, none in history.
QWEN3 = """{%- set ns = namespace(last=0) %}
{%- for message in messages %}{%- if message.role == "user" %}{%- set ns.last = loop.index0 %}\
{%- endif %}{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" and loop.index0 > ns.last %}
        {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + message.content.lstrip('\\n') }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

# Gemma 2: begins with bos, calls the assistant `model`, trims, and refuses a system message.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)

# Llama 3.2: bos, today's date in the system block, trimmed texts.
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "none" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Phi 3: an end-of-turn token in the conversation, the end-of-text token after all of it.
PHI3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] "
    "+ '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)

# Drops the system message without a word, writes no bos.
ZEPHYR = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

ENDLESS = (
    "{% for message in messages %}### {{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### assistant: ' }}{% endif %}"
)


def make(
    folder: Path,
    template: str | None,
    special: Sequence[str],
    *,
    bos: str | None = None,
    eos: str | None = None,
    pad: str | None = None,
    adds_bos: bool = False,
    generation: str | None = None,
) -> Path:
    """Write a byte-level BPE of 400 tokens with `special` tokens as ids 0, 1, ... to `folder`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        SENTENCES,
        BpeTrainer(
            vocab_size=400,
            special_tokens=list(special),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    bpe.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    if adds_bos and bos is not None:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, special.index(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=bos, eos_token=eos, pad_token=pad, chat_template=template
    )
    tokenizer.save_pretrained(folder)
    if generation is not None:
        (folder / "generation_config.json").write_text(generation, "utf-8")
    return folder


def qwen3(folder: Path, *, enable_thinking: bool = False) -> Renderer:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    make(folder, QWEN3, special, eos="<|im_end|>", pad="<|endoftext|>",
         generation='{"eos_token_id": [2, 0]}')  # fmt: skip
    return Renderer.open(folder, enable_thinking=enable_thinking)


def gemma(folder: Path) -> Renderer:
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    make(folder, GEMMA, special, bos="<bos>", eos="<eos>", pad="<pad>", adds_bos=True)
    return Renderer.open(folder)


def llama3(folder: Path) -> Renderer:
    special = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    make(folder, LLAMA3, special, bos="<|begin_of_text|>", eos="<|eot_id|>", adds_bos=True)
    return Renderer.open(folder)


def phi3(folder: Path) -> Renderer:
    special = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    make(folder, PHI3, special, eos="<|endoftext|>", pad="<|endoftext|>")
    return Renderer.open(folder)


def zephyr(folder: Path) -> Renderer:
    make(folder, ZEPHYR, ["<s>", "</s>"], bos="<s>", eos="</s>", adds_bos=True)
    return Renderer.open(folder)


def plain(folder: Path) -> Renderer:
    make(folder, None, ["<s>", "</s>"], bos="<s>", eos="</s>", adds_bos=True)
    return Renderer.open(folder)


def endless(folder: Path) -> Renderer:
    make(folder, ENDLESS, ["</s>"], eos="</s>")
    return Renderer.open(folder)


def metaspace(folder: Path) -> Renderer:
    """A SentencePiece-like tokenizer, which begins every text it encodes with a space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    bpe.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = BpeTrainer(special_tokens=["<unk>", "</s>"], show_progress=False)
    bpe.train_from_iterator([*SENTENCES, "A:::: B::::"] * 2, trainer)
    template = (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ 'A:' }}{% endif %}"
        "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'A:' }}{% endif %}"
    )
    PreTrainedTokenizerFast(
        tokenizer_object=bpe, unk_token="<unk>", eos_token="</s>", chat_template=template
    ).save_pretrained(folder)
    return Renderer.open(folder)


MAKERS = {
    "qwen3": qwen3,
    "gemma": gemma,
    "llama3": llama3,
    "phi3": phi3,
    "zephyr": zephyr,
    "plain": plain,
}
