"""Is this device to be trusted? A few sums on a small model, before a run depends on them.

Run as a process of its own (`python -m backends.probe BACKEND DEVICE MODEL`), so that a driver
that crashes or hangs is a finding and not the end of whoever asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backends import get, lora
from backends.contract import (
    AdapterSpec,
    Batch,
    GenerateSpec,
    Learner,
    ModelSpec,
    Objective,
    OptimizerSpec,
    Params,
    Session,
    Spline,
    Window,
)
from backends.errors import BackendError, MergeRefused

ADAPTER = "probe"
KINDS = {
    "LoRA": AdapterSpec(rank=4, alpha=8.0),
    "DoRA": AdapterSpec(rank=4, alpha=8.0, kind="dora"),
    "LS-LoRA": AdapterSpec(rank=4, alpha=8.0, kind="lslora", spline=Spline()),
}
FACTORS = (lora.name_a(""), lora.name_b(""))

ROWS, WIDTH = 4, 24
TOKENS, TIE = 8, 1e-3
# float32 sums differ by their order: about 1e-6 between devices. A broken one is off by far more.
LOSS_BOUND, GRADIENT_BOUND, MERGE_BOUND = 1e-4, 1e-2, 1e-3
# A central difference in float32 keeps two to three digits.
DIFFERENCE_BOUND = 0.05

Found = tuple[float, Params]
"""Loss and gradient."""


@dataclass(frozen=True)
class Check:
    """One thing looked at, whether it was as it should be, and the figure."""

    name: str
    ok: bool
    detail: str


def probe(backend: str, device: str, model: str) -> list[Check]:
    """Product twice, decoding, loss and gradient of every kind of adapter, merge. Raises
    BackendError when the model cannot open. The device's session is done before the CPU's is
    opened, so that neither sees the other.
    """
    with _opened(backend, device, model) as session:
        batch = _batch(session.info.vocabulary)
        checks = [_device(session), _twice(session, batch), _decoded(session, batch)]
        found = {kind: _gradient(session, batch, kind, checks) for kind in KINDS}
        _drawn_adapter(session, KINDS["LoRA"])
        checks.append(_merged(session, batch))
    if device != "cpu":
        checks += _against_cpu(backend, model, batch, found)
    return checks


def _device(session: Session) -> Check:
    chosen = {choice.key: choice for choice in session.choices}
    found = chosen.get("device")
    because = f", {found.because}" if found and found.because != "named" else ""
    return Check("opens a model", True, f"{session.info.device}, {session.info.dtype}{because}")


def _twice(session: Session, batch: Batch) -> Check:
    """Equal input, equal output, bit for bit, and finite."""
    first, second = session.logits(batch), session.logits(batch)
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    first, second = first[real], second[real]
    finite = bool(np.isfinite(first).all())
    gap = float(np.abs(first - second).max()) if finite else float("nan")
    words = "equal bit for bit" if gap == 0 else f"they differ by {gap:.1e}"
    return Check("the same product twice", finite and gap == 0, words if finite else "not finite")


def _decoded(session: Session, batch: Batch) -> Check:
    """Prompts of different lengths, decoded together and alone: the padding must not show."""
    name = "decoding together as alone"
    spec = GenerateSpec(max_tokens=TOKENS, stop_ids=())
    prompts = [batch.ids[row, :length].tolist() for row, length in enumerate((12, 2, 7))]
    together = session.generate(prompts, spec)
    for prompt, found in zip(prompts, together, strict=True):
        alone = session.generate([prompt], spec)[0].ids
        pairs = zip(found.ids, alone, strict=True)
        first = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
        if first is not None and not _tied(session, [*prompt, *alone[:first]]):
            words = f"a prompt of {len(prompt)} tokens goes another way at token {first + 1}"
            return Check(name, False, words)
    lengths = ", ".join(str(len(prompt)) for prompt in prompts)
    return Check(name, True, f"{TOKENS} tokens after prompts of {lengths}")


def _tied(session: Session, ids: Sequence[int]) -> bool:
    """Whether the two best next tokens are too near for float32 sums in another order."""
    row = np.array([[*ids, 0]], dtype=np.int32)
    mask = np.arange(row.shape[1])[None] == row.shape[1] - 1
    lengths = np.array([row.shape[1]], dtype=np.int32)
    logits = np.sort(session.logits(Batch(ids=row, lengths=lengths, mask=mask))[0, -2])
    return bool(logits[-1] - logits[-2] < TIE)


def _gradient(session: Session, batch: Batch, kind: str, checks: list[Check]) -> Found:
    """Loss and gradient at drawn values; the slope along it is checked by differences."""
    learner = _drawn_adapter(session, KINDS[kind])
    at = session.adapters.parameters()
    window = Window(tokens=int(batch.mask.sum()))
    loss, gradient = learner.gradients(batch, window, at)
    along = _along(gradient)
    square = sum(float((part.astype(np.float64) ** 2).sum()) for part in along.values())
    step = 1e-2 / max(square, 1e-12) ** 0.5
    ends = [learner.gradients(batch, window, _moved(at, along, sign * step))[0] for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    off = abs(slope - square) / max(square, 1e-12)
    detail = f"loss {loss:.4f}, slope {slope:.4g} where the gradient says {square:.4g}"
    good = bool(np.isfinite(loss)) and off < DIFFERENCE_BOUND
    checks.append(Check(f"the gradient of {kind} is the loss's slope", good, detail))
    session.adapters.unload(ADAPTER)
    return loss, gradient


def _along(gradient: Params) -> Params:
    """The part of a gradient that is a slope: all of it, but of DoRA the magnitudes' alone, since
    the norms of its rows are constants to the gradient of the factors."""
    magnitudes = {name for name in gradient if name.endswith(lora.name_m(""))}
    if not magnitudes:
        return gradient
    return {n: part if n in magnitudes else np.zeros_like(part) for n, part in gradient.items()}


def _against_cpu(backend: str, model: str, batch: Batch, found: Mapping[str, Found]) -> list[Check]:
    window, checks = Window(tokens=int(batch.mask.sum())), []
    with _opened(backend, "cpu", model) as session:
        for kind, there in found.items():
            learner = _drawn_adapter(session, KINDS[kind])
            here = learner.gradients(batch, window, session.adapters.parameters())
            checks += _apart(kind, there, here)
            session.adapters.unload(ADAPTER)
    return checks


def _apart(kind: str, found: Found, wanted: Found) -> list[Check]:
    (loss, gradient), (want_loss, want) = found, wanted
    loss_off = abs(loss - want_loss) / max(abs(want_loss), 1e-12)
    apart = sum(float(((gradient[name] - want[name]) ** 2).sum()) for name in want) ** 0.5
    norm = sum(float((part**2).sum()) for part in want.values()) ** 0.5
    off = apart / max(norm, 1e-12)
    return [
        Check(f"loss with {kind} as on the CPU", loss_off < LOSS_BOUND, f"{loss_off:.1e} apart"),
        Check(f"gradient of {kind} as on the CPU", off < GRADIENT_BOUND, f"{off:.1e} apart"),
    ]


def _merged(session: Session, batch: Batch) -> Check:
    """The drawn adapter folded into the weights: the same logits as beside them."""
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    with session.adapters.using(()):
        base = session.logits(batch)[real]
    beside = session.logits(batch)[real]
    try:
        report = session.adapters.merge_and_unload()
    except MergeRefused as error:
        return Check("a merge keeps the adapter", False, error.what)
    effect = float(np.linalg.norm(beside - base))
    off = float(np.linalg.norm(session.logits(batch)[real] - beside)) / max(effect, 1e-12)
    words = f"{off:.1e} of its effect lost over {report.layers} layers"
    return Check("a merge keeps the adapter", off < MERGE_BOUND, words)


def _drawn_adapter(session: Session, spec: AdapterSpec) -> Learner:
    """An adapter with drawn values in both factors and noise on all else that it has, the same on
    every device."""
    session.adapters.add(spec, ADAPTER)
    learner = session.learner(Objective("sft"), OptimizerSpec())
    rng = np.random.default_rng(7)
    drawn = {}
    for name, part in sorted(session.adapters.parameters().items()):
        noise = 0.05 * rng.standard_normal(part.shape)
        drawn[name] = (noise if name.endswith(FACTORS) else part + noise).astype(np.float32)
    learner.assign(drawn)
    return learner


def _moved(at: Params, along: Params, step: float) -> Params:
    return {name: (part + step * along[name]).astype(np.float32) for name, part in at.items()}


def _batch(vocabulary: int) -> Batch:
    """Random rows of different lengths; the second half of each is trained."""
    rng = np.random.default_rng(3)
    lengths = np.linspace(WIDTH // 2, WIDTH, ROWS).astype(np.int32)
    place = np.arange(WIDTH)
    ids = np.where(place < lengths[:, None], rng.integers(4, vocabulary, (ROWS, WIDTH)), 0)
    mask = (place >= lengths[:, None] // 2) & (place < lengths[:, None])
    return Batch(ids=ids.astype(np.int32), lengths=lengths, mask=mask)


@contextmanager
def _opened(backend: str, device: Any, model: str) -> Iterator[Session]:
    spec = ModelSpec(model, dtype="float32", device=device, longest_row=WIDTH)
    session = get(backend).open(spec)
    try:
        yield session
    finally:
        session.close()


def main(arguments: list[str]) -> int:
    """Print the checks as JSON; exit 0 when all are good, 1 when not."""
    try:
        checks = probe(*arguments)
    except BackendError as error:
        checks = [Check("opens a model", False, error.what)]
    print(json.dumps([asdict(check) for check in checks]))
    return 0 if all(check.ok for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
