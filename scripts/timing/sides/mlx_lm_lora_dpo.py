"""mlx-lm-lora's side of DPO: `mlx_lm_lora.train --train-mode dpo`, its own command, run in here.

Its loop is wrapped to count what it feeds; what else is changed stands in the outcome's notes.
Options: `adapter`, a folder for the adapter; `resume`, an adapter file to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from timing import mlx_peers
from timing.protocol import Outcome, Spec, run

NOTES = (
    mlx_peers.BIAS,
    "it loads the model a second time and weighs the reference anew at each step",
    "its rows are sorted by length, so that its batches hold less padding",
    "its command adapts every linear layer whatever it is told: the benchmark passes the layers on",
    "it would draw each batch anew: the benchmark lets it go through its batches epoch by epoch",
)
LIMIT = "max_recommended_working_set_size"


def side(spec: Spec) -> Outcome:
    """Raises ValueError for an option that is not known, and what mlx-lm-lora raises."""
    if unknown := sorted(set(spec.options) - {"adapter", "resume"}):
        raise ValueError(f"mlx-lm-lora's side has no option {', '.join(unknown)}")
    mx = mlx_peers.prepare(spec)
    supply_limit(mx)
    meter = mlx_peers.Meter()
    told = mlx_peers.settings(spec)
    told["adapter_path"] = spec.options.get("adapter", told["adapter_path"])
    told |= {"beta": spec.beta, "train_mode": "dpo", "fuse": False}
    words = ["--train-mode", "dpo"]
    if "resume" in spec.options:
        words += ["--resume-adapter-file", spec.options["resume"]]
    mlx_peers.command(metered(meter, mlx_peers.keys(spec)), spec, told, *words)
    return meter.outcome(list(NOTES), "mlx-lm", "mlx-lm-lora")


def supply_limit(mx: Any) -> None:
    """mlx-lm-lora reads a limit of Metal's that MLX does not tell elsewhere."""
    import psutil

    told = mx.device_info
    if LIMIT not in told():
        mx.device_info = lambda *device: {LIMIT: psutil.virtual_memory().total, **told(*device)}


def metered(meter: mlx_peers.Meter, keys: list[str]) -> Any:
    """mlx-lm-lora's `main`: the layers passed on, and its training loop fed through the meter."""
    names = ("mlx_lm_lora.train", "mlx_lm_lora.utils", "mlx_lm_lora.trainer.dpo_trainer")
    peer, utils, dpo_trainer = map(import_module, names)
    convert, train = utils.linear_to_lora_layers, peer.train_dpo

    def converted(model: Any, num_layers: int, config: dict[str, Any], **rest: Any) -> None:
        meter.load(model)  # before the second copy, which is the peer's own cost
        convert(model, num_layers, {**config, "keys": keys}, **rest)

    def measured(**rest: Any) -> None:
        with meter.training():
            train(**rest)

    set_in(utils, linear_to_lora_layers=converted)
    set_in(peer, train_dpo=measured)
    batches = one_after_another(meter, dpo_trainer.iterate_dpo_batches)
    set_in(dpo_trainer, iterate_dpo_batches=batches)
    return peer.main


def set_in(module: Any, **functions: Any) -> None:
    """Where the peer looks them up."""
    vars(module).update(functions)


def one_after_another(
    meter: mlx_peers.Meter, batches: Callable[..., Iterator[Any]]
) -> Callable[..., Iterator[Any]]:
    """The peer begins a new iteration at each step; this goes on with the first."""
    begun: list[Iterator[Any]] = []

    def iterate(**asked: Any) -> Iterator[Any]:
        meter.asked()
        if not begun:
            begun.append(batches(**asked))
        batch = next(begun[0])
        count(meter, *batch)
        yield batch

    return iterate


def count(meter: mlx_peers.Meter, *batch: Any) -> None:
    """As its loss masks them."""
    tokens, masks = batch[:2], batch[2:]
    for table, mask in zip(tokens, masks, strict=True):
        for row, kept in zip(table.tolist(), mask.tolist(), strict=True):
            length = len(kept) - kept[::-1].index(1.0)
            meter.fed.row(row[:length], int(sum(kept[1:])))


if __name__ == "__main__":
    run(side)
