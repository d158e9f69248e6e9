"""A conversation with a run's model: its turns, its adapters, and the stream of its words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backends import choose, get
from backends.contract import Batch, GenerateSpec, ModelSpec, Session
from backends.model_files import resolve as resolve_model
from mindprint.cli.output import note
from mindprint.config import Config
from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.inputs import Inputs, moved, read_inputs
from mindprint.ledger import attach, check_packed
from mindprint.rundir import RunDir
from mindprint.tokens.lessons import conversation as under_system
from mindprint.tokens.render import Renderer
from mindprint.visible import visible

LONGEST = 4096
END, NEW = {"/exit", "/quit"}, "/new"


@dataclass(frozen=True)
class Speech:
    """How to answer. `beside_base`: the base's answer first, then the trained model's."""

    max_tokens: int
    temperature: float
    beside_base: bool


@dataclass
class Conversation:
    """`said` holds the turns so far, the trained model's answers among them."""

    session: Session
    renderer: Renderer
    system: str
    names: Sequence[str]
    speech: Speech
    said: list[Message] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(
        cls,
        run: Path,
        speech: Speech,
        backend: str = "",
        device: str = "",
        model: str | None = None,
        until: str | None = None,
    ) -> Iterator[Conversation]:
        """The base with the run's accepted adapters; closed at the end."""
        inputs = read_inputs(run)
        own = inputs.resolved()
        config = (moved(own, model, "--model") if model is not None else own).config
        session, renderer = _opened(config, inputs, backend, device)
        try:
            names = attach(session, RunDir.open(run), until)
            talk = cls(session, renderer, inputs.system, names, speech)
            talk._introduce()
            yield talk
        finally:
            session.close()

    def listen(self) -> None:
        """Lines from stdin until it ends, or `/exit`."""
        asking = sys.stdin.isatty()
        while True:
            if asking:
                print("\n> ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line or line.strip() in END:
                return
            if line.strip() == NEW:
                self.said.clear()
                note("a new conversation")
            elif line.strip():
                self.say(line.strip())

    def say(self, text: str) -> None:
        """Answer `text`, word by word, on stdout."""
        self.said.append(Message("user", text))
        prompt = self.renderer.prompt(under_system(self.system, self.said))
        if self.speech.beside_base:
            print("base: ", end="", flush=True)
            with self.session.adapters.using(()):
                self._stream(prompt)
            print("trained: ", end="", flush=True)
        self.said.append(Message("assistant", self._stream(prompt)))

    def _stream(self, prompt: list[int]) -> str:
        stream, words = self.renderer.stream(), []

        def hear(row: int, token: int) -> None:
            if token not in self.renderer.stop_ids:
                words.append(stream.push(token))
                print(visible(words[-1]), end="", flush=True)

        spec = GenerateSpec(
            max_tokens=self.speech.max_tokens,
            stop_ids=self.renderer.stop_ids,
            temperature=self.speech.temperature,
            seed=len(self.said),
        )
        made = self.session.generate([prompt], spec, hear)[0]
        print(visible(stream.end()), flush=True)
        if made.stop == "length":
            note(f"(cut at {self.speech.max_tokens} tokens: `--max-tokens` allows more)")
        return self.renderer.decode(made.ids)

    def _introduce(self) -> None:
        """Say who answers, and whether the adapters change anything at all."""
        who = f"{len(self.names)} adapters" if self.names else "no adapter was accepted: the base"
        note(f"{self.session.info.device}, {self.session.info.dtype}; {who}")
        if self.names and not self._differs():
            note("these adapters do not change what the model says: it answers as its base")

    def _differs(self) -> bool:
        prompt = self.renderer.prompt(under_system(self.system, (Message("user", "Who are you?"),)))
        ids = np.array([prompt], dtype=np.int32)
        mask = np.zeros(ids.shape, dtype=np.bool_)
        mask[0, -1] = True
        batch = Batch(ids=ids, lengths=np.array([len(prompt)], dtype=np.int32), mask=mask)
        trained = self.session.logits(batch)
        with self.session.adapters.using(()):
            return bool((self.session.logits(batch) != trained).any())


def _opened(config: Config, inputs: Inputs, backend: str, device: str) -> tuple[Session, Renderer]:
    """The model on the backend named, or on the one the run was made with."""
    if config.model.path is None:
        raise ConfigError("no model is named", where="model.path", hint="give `--model`")
    chosen = choose(backend or inputs.backend)
    check_packed(inputs, chosen.name)
    folder = resolve_model(config.model.path, config.model.revision)
    renderer = Renderer.open(folder, enable_thinking=config.model.enable_thinking)
    made_on = inputs.device if chosen.name == inputs.backend else "auto"
    spec = ModelSpec(
        path=config.model.path,
        revision=config.model.revision,
        dtype=config.model.dtype,
        device=device or made_on,  # type: ignore[arg-type]  # refused by the backend
        attention=config.model.attention,
        quantization=config.model.quantization,
        longest_row=LONGEST,
    )
    return get(chosen.name).open(spec), renderer
