"""A session that finds again what the same model was asked before, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import backends
from backends.contract import (
    AdapterState,
    Batch,
    Generated,
    GenerateSpec,
    LogProbs,
    OnToken,
    Session,
)
from mindprint.cache import Cache, NotKept
from mindprint.disk.sealed import Damaged, digest_of, file_hash
from mindprint.hardware import computes_on, switches
from mindprint.report.words import several

SCHEMA = 1

Tell = Callable[[str], None]


class Remembering:
    """The session, but inside `kept` its answers and log-probabilities come from the cache where
    the same model was asked for the same ids in the same batches. `backend`, `versions`: which
    framework, and the libraries whose code computes. Everything else is the session's own.
    """

    def __init__(
        self,
        session: Session,
        cache: Cache | None,
        backend: str,
        versions: Mapping[str, str],
        tell: Tell,
    ) -> None:
        self._session, self._cache, self._tell = session, cache, tell
        self._made_by = {"backend": backend, "versions": dict(sorted(versions.items()))}
        self._state = ""
        self._known: dict[str, Any] | None = None
        self._fresh: dict[str, Any] = {}
        self._found = 0
        self._unkept = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @contextmanager
    def kept(self, what: str, *about: Any) -> Iterator[None]:
        """Inside, calls are looked up and kept in the entry for `what` the model, as it stands, is
        asked `about`; both only tell entries apart: a call is known by its own input.

        Not after a merge: the weights are then other than the files that name the model.
        """
        cache = self._cache
        state = None if cache is None else self._session.adapters.snapshot()
        if cache is None or state is None or state.merges:
            yield
            return
        self._state = self._standing(state)
        key = _digest([self._state, what, *about])
        self._known, self._fresh, self._found = self._read(cache, key), {}, 0
        try:
            yield
        finally:
            known, fresh = self._known, self._fresh
            self._known = None
            if fresh:
                self._write(cache, key, {**known, **fresh})
        if self._found:
            passes = several(self._found + len(fresh), "pass", "passes")
            share = "all" if not fresh else str(self._found)
            self._tell(f"cache: {what} found again ({share} of {passes}), not computed")

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        spec: GenerateSpec,
        on_token: OnToken | None = None,
    ) -> list[Generated]:
        """As the session's; `on_token` is not called for answers that were found."""

        def ask() -> list[Any]:
            made = self._session.generate(prompts, spec, on_token)
            return [[list(one.ids), one.stop, one.first_stop] for one in made]

        asked = [[int(token) for token in prompt] for prompt in prompts]
        found = self._looked_up(["generate", asdict(spec), asked], ask)
        return [Generated(tuple(ids), stop, first) for ids, stop, first in found]

    def logprobs(self, batch: Batch, per_token: bool = False) -> LogProbs:
        """As the session's; one value a token is always computed."""
        if per_token:
            return self._session.logprobs(batch, per_token)

        def weigh() -> list[float]:
            rows: list[float] = self._session.logprobs(batch).rows.tolist()
            return rows

        given = [
            [list(part.shape), part.tobytes().hex()]
            for part in (batch.ids, batch.lengths, batch.mask)
        ]
        found = self._looked_up(["logprobs", batch.pairs, given], weigh)
        return LogProbs(rows=np.array(found, dtype=np.float32))

    def _looked_up(self, call: list[Any], compute: Callable[[], list[Any]]) -> list[Any]:
        if self._known is None:
            return compute()
        key = _digest(call)
        found: list[Any] | None = self._known.get(key, self._fresh.get(key))
        if found is None:
            found = self._fresh[key] = compute()
        elif key in self._known:
            self._found += 1
        return found

    def _read(self, cache: Cache, key: str) -> dict[str, Any]:
        try:
            return dict((cache.get(key) or {}).get("calls", {}))
        except Damaged as error:
            self._tell(f"cache: {error.what}; it is computed again")
        except OSError as error:
            self._tell(f"cache: an entry cannot be read ({error}); it is computed again")
        return {}

    def _write(self, cache: Cache, key: str, calls: Mapping[str, Any]) -> None:
        try:
            cache.put(key, {"schema": SCHEMA, "state": self._state, "calls": calls})
        except NotKept as error:
            if not self._unkept:
                self._tell(f"cache: nothing is kept for other runs ({error})")
            self._unkept = True

    def _standing(self, state: AdapterState) -> str:
        """A hash of the model as it computes now: weights, adapters as in `state`, machine,
        libraries and what the environment tells them, code."""
        session, backend = self._session, str(self._made_by["backend"])
        attached = [*state.past, *([state.trainable] if state.trainable else [])]
        return _digest(
            [
                SCHEMA,
                session.model_id,
                asdict(session.info),
                [[one.key, one.name] for one in session.choices],
                asdict(session.world),
                self._made_by,
                _code(backend),
                computes_on(),
                switches(backend),
                [[asdict(spec), _digest_of_tensors(tensors)] for _, spec, tensors in attached],
            ]
        )


def _digest(tree: Any) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of_tensors(tensors: Mapping[str, np.ndarray[Any, Any]]) -> str:
    hashes = {
        f"{name} {list(tensors[name].shape)}": hashlib.sha256(
            np.ascontiguousarray(tensors[name]).tobytes()
        ).hexdigest()
        for name in sorted(tensors)
    }
    return digest_of(hashes)


@lru_cache
def _code(backend: str) -> str:
    """SHA-256 over our own code that computes: what is kept must not outlive a change of it."""
    root = Path(backends.__file__).parent
    files = sorted([*root.glob("*.py"), *(root / backend).glob("*.py")])
    return digest_of({file.relative_to(root).as_posix(): file_hash(file) for file in files})
