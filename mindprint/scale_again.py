"""The voice scale of a run that is over, made again from its curriculum."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.curriculum.load import read_curriculum
from mindprint.errors import ConfigError, DataError
from mindprint.evals.prompts import open_prompts
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.of_curriculum import instrument_of
from mindprint.inputs import Inputs


def scale_again(
    inputs: Inputs, prompts: Sequence[str], base: Sequence[str]
) -> tuple[Instrument | None, str]:
    """The instrument that a run was measured with, or why it cannot be made again. `prompts`: the
    open prompts it asked, `base`: the base's answers to them."""
    if inputs.curriculum is None or not inputs.curriculum.is_dir():
        return None, f"its scale needs the curriculum, which is gone from `{inputs.curriculum}`"
    try:
        curriculum = read_curriculum(inputs.curriculum)
        config = inputs.resolved().config
        if dict(curriculum.hashes) != dict(inputs.hashes):
            return None, f"the curriculum in `{inputs.curriculum}` has changed since"
        chosen = open_prompts(curriculum, config.eval.prompts)
        if [one.prompt for one in chosen] != list(prompts) or len(base) != len(prompts):
            return None, "the curriculum's open prompts are not those that the run wrote down"
        made = instrument_of(curriculum, config, base)
    except (ConfigError, DataError) as error:
        return None, f"its scale cannot be made again: {error.what}"
    return (made, "") if made.measurable else (None, made.because)
