"""The run's own model, found for an export and opened when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import backends
from backends.asked import check_spec
from backends.contract import ModelSpec, Session
from mindprint.cli import output
from mindprint.cli.machine import machine
from mindprint.export.exact import Ground
from mindprint.export.source import Source
from mindprint.footprint import read_sizes
from mindprint.ledger import check_packed
from mindprint.tokens.render import Renderer


def ground_of(
    source: Source, bound: float, unverified: Sequence[str], backend: str, device: str
) -> Ground:
    """Backend, device and arithmetic, as they are asked for or as they fit; nothing is opened.

    Raises BackendUnavailable, ModelError, or ConfigError for another backend than the one that
    packed the run's weights.
    """
    chosen = _backend(backend, source.inputs.backend)
    config = source.inputs.begun().config.model
    check_packed(source.inputs, chosen)
    spec = ModelSpec(
        path=str(source.base),
        dtype=_arithmetic(source),  # type: ignore[arg-type]  # checked below
        device=device or "auto",  # type: ignore[arg-type]
        attention=config.attention,
        quantization=config.quantization,
    )
    check_spec(spec)

    @contextmanager
    def opened(longest_row: int) -> Iterator[Session]:
        session = backends.get(chosen).open(replace(spec, longest_row=longest_row))
        try:
            yield session
        finally:
            session.close()

    return Ground(
        source=source,
        renderer=Renderer.open(source.base, enable_thinking=config.enable_thinking),
        backend=chosen,
        open=opened,
        bound=bound,
        say=output.note,
        unverified=tuple(unverified),  # type: ignore[arg-type]  # names of libraries, checked
    )


def _backend(named: str, made_on: str) -> str:
    """The one named; else the run's own; else, said aloud, the one that works here."""
    if named:
        return backends.choose(named).name
    found = backends.available()
    if made_on in found and found[made_on].ok:
        return made_on
    chosen = backends.choose("auto")
    why = found[made_on].reason if made_on in found else "it is not a backend here"
    output.note(f"the run was made on {made_on} ({why}): its model is asked on {chosen.name}")
    return chosen.name


def _arithmetic(source: Source) -> str:
    """float32 where its weights fit into half of the machine's memory, else the run's own. Weights
    that are packed as they are opened are packed from what they were then."""
    if source.inputs.begun().config.model.quantization != "none":
        return source.inputs.dtype
    wanted, memory = 4 * read_sizes(source.base).parameters, machine().memory
    if wanted <= memory / 2:
        return "float32"
    own, sizes = source.inputs.dtype, f"{wanted / 1e9:,.1f} GB of {memory / 1e9:,.1f} GB"
    counted = ", whose own rounding counts as loss" if own != "float32" else ""
    output.note(
        f"in float32 the base would take {sizes}: exported and exact logits are both computed in "
        f"{own}, as the run was{counted}"
    )
    return own
