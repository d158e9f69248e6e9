"""`--to adapter` of one LS-LoRA: as it is, opened again by mindprint, as no other library can."""

from __future__ import annotations

from pathlib import Path

from backends import peft_files
from backends.lora import paths_of
from mindprint.export.checked import FLOAT32, STORED, Checked, ExportRefused, percentage
from mindprint.export.exact import Ground, distance, measured
from mindprint.export.form import Asked, Done, Made, over_packed
from mindprint.export.plain import is_packed
from mindprint.footprint import read_sizes
from mindprint.ledger import check_model

REFUSED = (
    f"it refuses `peft_type` {peft_files.LSLORA}, which it does not know: read as a LoRA, it would "
    "be another model"
)


def write_spline(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where what was written does not act as the run's own adapter."""
    source = ground.source
    ((spec, held),) = source.adapters()
    linears = read_sizes(source.base).linears
    peft_files.write(folder, spec, held, base=source.inputs.called, linears=linears)
    exact = ground.exact
    ground.say(f"opening it with mindprint on {ground.backend}")
    with ground.open(exact.probes.longest) as session:
        check_model(source.ledger, session, source.run)
        session.adapters.load(folder, "exported", frozen=True)
        again = measured(session, exact.probes, ground.backend)
        quantization = session.info.quantization
    found = distance(again.logits, exact.logits)
    apart = found / exact.norm if exact.norm else found
    leeway = FLOAT32 if exact.dtype == "float32" else STORED
    if not apart <= leeway.logits:
        what = f"the logits of what was written lie {percentage(apart)} of their norm"
        raise ExportRefused(f"{what} from the run's own", where=str(folder))
    notes = [
        f"LS-LoRA is mindprint's own: opened again by it on {ground.backend}, it gives the run's "
        f"logits to {apart:.1g} of their norm"
    ]
    if is_packed(source.base, source.inputs):
        notes.append(over_packed(quantization, "those weights"))
    done = Made(
        form=asked.to,
        dtype="float32",
        kind=spec.kind,
        rank=spec.rank,
        layers=len(paths_of(held)),
        notes=tuple(notes),
    )
    checked = Checked(
        bound=ground.bound,
        exact=f"{exact.backend}, {exact.dtype}",
        topics=exact.probes.topics,
        verified=(),
        unverified={"peft": REFUSED},
    )
    return done, checked
