"""A model with whatever is attached to it, as lm-evaluation-harness asks it.

Importing this registers the name `mindprint` with lm-eval. The encoding of pairs, the empty
context, truncation from the left and the windows of rolling texts are those of lm-eval's own `hf`
model, so that the figures of the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import Any, Self

from backends.contract import Session
from backends.errors import BackendUnavailable
from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.evals.continuations import Continuation, is_greedy, sums
from mindprint.evals.positions import most_positions
from mindprint.evals.until import Wanted, generate, wanted
from mindprint.target import Target
from mindprint.tokens.render import Renderer

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise BackendUnavailable(
        f"lm-evaluation-harness is not installed: {error}",
        where="--tasks",
        hint="pip install 'mindprint[lm-eval]'",
    ) from error

BATCH = 16
MAX_GEN_TOKS = 256
"""Tokens of an answer where a task names no number; lm-eval's own figure."""


@register_model("mindprint")
class MindprintLM(TemplateLM):  # type: ignore[misc]  # lm-eval ships no types
    """An opened session for `lm_eval.simple_evaluate(model=...)`; attached adapters act.

    `max_length`: tokens of context and answer together, what is longer loses its beginning.
    `batch_size`: rows that go through the model at once.
    """

    def __init__(
        self,
        session: Session,
        renderer: Renderer,
        *,
        max_length: int,
        batch_size: int = BATCH,
        called: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._session = session
        self._renderer = renderer
        self._called = called or session.model_id[:12]
        self._seed = seed
        self._held = ExitStack()
        self.max_length = max_length
        self.batch_size = batch_size

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> MindprintLM:
        """What lm-eval calls for `model="mindprint"`: the keys are the arguments of `open_lm`."""
        given = {key: value for key, value in (additional_config or {}).items() if value}
        most = given.pop("max_batch_size", None)
        known = {**given, **arg_dict}
        if most is not None:
            known["batch_size"] = min(int(known.get("batch_size", BATCH)), int(most))
        keys = list(signature(open_lm).parameters)
        odd = [f"no key `{key}`" for key in known if key not in keys]
        if "model" not in known:
            odd.append("a `model` is needed")
        if odd:
            hint = f"the keys are: {', '.join(keys)}"
            raise ConfigError("; ".join(odd), where="model_args", hint=hint)
        return open_lm(**known)

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> MindprintLM:
        """`model=runs/mine,backend=torch`; a single adapter as `adapters=DIR`."""
        pairs = [part.partition("=") for part in arg_string.split(",") if part]
        return cls.create_from_arg_obj({key: value for key, _, value in pairs}, additional_config)

    @property
    def eot_token_id(self) -> int:
        return self._renderer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: begin-of-text, or end-of-text."""
        begin = self._renderer.bos_id
        return self._renderer.eos_id if begin is None else begin

    @property
    def max_gen_toks(self) -> int:
        return MAX_GEN_TOKS

    @property
    def tokenizer_name(self) -> str:
        return f"{self._called}-{self._renderer.template_id[:12]}".replace("/", "__")

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Ids as the tokenizer makes them, with one begin-of-text token at most."""
        special = add_special_tokens
        if special is None:
            special = not string.startswith(self._renderer.decode_raw([self.prefix_token_id]))
        return self._renderer.encode(string, special=special)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self._renderer.template if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The turns as the model was trained to see them; without `add_generation_prompt` a last
        assistant turn is the beginning of the answer. Raises DataError for what the template
        refuses."""
        turns = [Message(turn["role"], turn["content"]) for turn in chat_history]  # type: ignore[arg-type]
        if add_generation_prompt or not turns or turns[-1].role != "assistant":
            return self._renderer.text(turns, answer=add_generation_prompt)
        return self._renderer.text(turns[:-1]) + turns[-1].content

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Summed natural-log probability of each text, every token predicted exactly once."""
        asked: list[Continuation] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            for context, rest in self._windows(request.args[0]):
                asked.append(self._continuation(context, rest))
                owners.append(place)
        found = [0.0] * len(requests)
        for place, one in zip(owners, sums(self._session, asked, self.batch_size), strict=True):
            found[place] += one.total
        for request, total in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer to each context, cut before the first of its stop texts."""
        asked = []
        for context, given in (request.args for request in requests):
            one = wanted(normalize_gen_kwargs(given, MAX_GEN_TOKS))
            asked.append((self._context(context, one), one))
        texts = generate(self._session, self._renderer, asked, self.batch_size, self._seed)
        for request, text in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return texts

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes beside its results."""
        info = self._session.info
        return {
            "model_num_parameters": info.parameters,
            "model_dtype": info.dtype,
            "model_sha": self._session.model_id,
            "model_name": self._called,
            "model_adapters": list(self._session.adapters.active()),
        }

    def close(self) -> None:
        """Free the model if `open_lm` opened it."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        """(sum, whether greedy decoding says just this) of each continuation."""
        asked = [self._continuation(context, rest) for _, context, rest in requests]
        found = sums(self._session, asked, self.batch_size)
        greedy = is_greedy(self._session, asked, found, self.batch_size)
        answers = [(one.total, sure) for one, sure in zip(found, greedy, strict=True)]
        for (texts, _, _), answer in zip(requests, answers, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def _continuation(self, context: Sequence[int], rest: Sequence[int]) -> Continuation:
        """Cut at its beginning, so that at most `max_length` tokens are read before the last."""
        if not rest or len(rest) > self.max_length:
            what = "no token" if not rest else f"{len(rest)} tokens, more than {self.max_length}"
            shown = self._renderer.decode_raw([*context, *rest])[-60:]
            raise ConfigError(f"a continuation has {what}", where=f"... {shown}")
        ids = (*context, *rest)[-(self.max_length + 1) :]
        return Continuation(ids, len(ids) - len(rest))

    def _context(self, text: str, one: Wanted) -> list[int]:
        room = self.max_length - one.max_tokens
        if room < 1:
            raise ConfigError(
                f"an answer of {one.max_tokens} tokens leaves no room for a question",
                where="max_gen_toks",
                hint=f"the model reads {self.max_length} tokens, the answer among them",
            )
        ids = self.tok_encode(text) or [self.prefix_token_id]
        return ids[-room:]

    def _windows(self, text: str) -> Iterator[tuple[list[int], list[int]]]:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        yield from map(make_disjoint_window, windows)


def open_lm(
    model: str | Target,
    backend: str = "",
    adapters: Sequence[str | Path] | str = (),
    device: str = "",
    batch_size: int | str = BATCH,
    max_length: int | str | None = None,
    until: str | None = None,
) -> MindprintLM:
    """A run's model with its accepted adapters (as of the topic `until`), or any model folder or
    hub id with PEFT adapters, for lm-eval; close it, or use it in a `with`.

    `max_length` is by default what the model's config says. Raises ConfigError, ModelError,
    AdapterError or BackendUnavailable.
    """
    target = model if isinstance(model, Target) else _found(model, backend, adapters, device, until)
    rows, limit = _number(batch_size, "batch_size"), most_positions(target.spec)
    length = limit if max_length is None else _number(max_length, "max_length")
    held = ExitStack()
    session = held.enter_context(target.open(length + 1))
    made = MindprintLM(
        session,
        target.renderer,
        max_length=length,
        batch_size=rows,
        called=target.called,
        seed=target.resolved.config.run.seed,
    )
    made._held = held
    return made


def _found(
    model: str, backend: str, adapters: Sequence[str | Path] | str, device: str, until: str | None
) -> Target:
    folders = [adapters] if isinstance(adapters, str) else adapters
    return Target.find(
        model,
        adapters=[Path(folder) for folder in folders],
        until=until,
        backend=backend,
        device=device,
        place="model",
    )


def _number(given: int | str, name: str) -> int:
    if str(given).isdigit() and int(given) > 0:
        return int(given)
    raise ConfigError(f"`{name}` is {given!r}, not a number of at least 1", where=name)


__all__ = ["MindprintLM", "open_lm"]
