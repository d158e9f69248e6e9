"""mlx-lm's side of SFT: `mlx_lm lora --train --mask-prompt`, its own command, in this process.

Only its loop is wrapped, to count what it feeds. Option `adapter`: a folder for the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timing import mlx_peers
from timing.protocol import Outcome, Spec, run

PAD = "of every padded row it trains one pad target as well: its loss is another ({} of them here)"
ORDER = "it draws the order of its batches; the rows of a batch are the file's"


def side(spec: Spec) -> Outcome:
    """Raises ValueError for an option that is not known, and what mlx-lm raises."""
    if unknown := sorted(set(spec.options) - {"adapter"}):
        raise ValueError(f"mlx-lm's side has no option {', '.join(unknown)}")
    mlx_peers.prepare(spec)
    meter = mlx_peers.Meter()
    told = mlx_peers.settings(spec)
    told["adapter_path"] = spec.options.get("adapter", told["adapter_path"])
    mlx_peers.command(metered(meter), spec, told, "--mask-prompt")
    return meter.outcome([PAD.format(meter.padding), mlx_peers.BIAS, ORDER], "mlx-lm")


def metered(meter: mlx_peers.Meter) -> Any:
    """mlx-lm's `main`, its training loop fed through the meter."""
    from mlx_lm import lora
    from mlx_lm.tuner.trainer import iterate_batches, train

    def counted(**asked: Any) -> Iterator[Any]:
        batches = iterate_batches(**asked)
        while True:
            meter.asked()
            batch, lengths = next(batches)
            count(meter, batch, lengths)
            yield batch, lengths

    def measured(model: Any, **rest: Any) -> None:
        meter.load(model)
        with meter.training():
            train(model, iterate_batches=counted, **rest)

    lora.train = measured
    return lora.main


def count(meter: mlx_peers.Meter, batch: Any, lengths: Any) -> None:
    """As its loss masks them: from the prompt's end to the row's, and one target beyond it."""
    width = batch.shape[1]
    for row, (prompt, length) in zip(batch.tolist(), lengths.tolist(), strict=True):
        meter.fed.row(row[:length], length - prompt)
        meter.padding += length < width


if __name__ == "__main__":
    run(side)
