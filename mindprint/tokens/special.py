"""A tokenizer's special tokens: which begin a text, end an answer, pad a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backends.json_files import json_of
from mindprint.errors import ConfigError
from mindprint.tokens.template import USER


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of `text` as it stands: nothing put before or after."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def special_texts(tokenizer: Any) -> tuple[str, ...]:
    """The special tokens as text, without any that is only whitespace."""
    added = tokenizer.added_tokens_decoder.values()
    texts = [*tokenizer.all_special_tokens, *(str(one) for one in added if one.special)]
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def begin_id(tokenizer: Any, rendered: str) -> int | None:
    """The begin-of-text token where the template writes it, or the tokenizer would itself."""
    bos: int | None = tokenizer.bos_token_id
    if bos is None:
        return None
    by_template = plain_ids(tokenizer, rendered)[:1] == [bos]
    by_tokenizer = tokenizer(USER)["input_ids"][:1] == [bos]
    return bos if by_template or by_tokenizer else None


def end_of_turn(tokenizer: Any, tail: str) -> int | None:
    """The first special token of what the template writes after an answer."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return next((token for token in plain_ids(tokenizer, tail) if token in special), None)


def stop_ids(tokenizer: Any, tail: str, folder: Path) -> tuple[int, ...]:
    """The template's end-of-turn, the tokenizer's end token, those of generation_config.json.

    Raises ConfigError when there is none.
    """
    found = [end_of_turn(tokenizer, tail), tokenizer.eos_token_id, *generation_eos(folder)]
    stops = tuple(dict.fromkeys(token for token in found if token is not None))
    if not stops:
        raise ConfigError(
            "no token ends an answer: neither the chat template nor the tokenizer has one",
            where="model.path",
            hint="add `eos_token` to tokenizer_config.json",
        )
    return stops


def generation_eos(folder: Path) -> Sequence[int]:
    """The end tokens of generation_config.json, if there is one."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return ()
    try:
        values = json_of(path)
    except (OSError, ValueError) as error:
        what = f"generation_config.json cannot be read: {error}"
        raise ConfigError(what, where=str(path)) from error
    eos = values.get("eos_token_id") if isinstance(values, dict) else None
    found = eos if isinstance(eos, list) else [eos]
    ids = [one for one in found if isinstance(one, int) and not isinstance(one, bool)]
    if not all(0 <= one < 2**31 for one in ids):
        raise ConfigError("`eos_token_id` is no token's number", where=str(path))
    return ids
