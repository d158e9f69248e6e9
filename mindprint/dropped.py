"""What is to be said of topics that were dropped, in the run and in those that come of it."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.inputs import Inputs, Origin

EXACT = (
    "The topic's change is taken away exactly, since the base never changed. Later topics were "
    "trained while it was there: this is not the model that never saw the topic."
)


def sentences(dropped: Sequence[Origin]) -> tuple[str, ...]:
    """One for each time that topics were dropped, the first first."""
    return tuple(f"{told(origin)} {EXACT}" for origin in dropped)


def told(origin: Origin) -> str:
    """Which topic was dropped, and from which run."""
    return f"{', '.join(f'`{topic}`' for topic in origin.topics)} was dropped from {origin.run}."


def judged_without(inputs: Inputs) -> tuple[str, ...]:
    """Topics without which the model was asked again, where the run took over topics that may have
    been judged then; a run that took over adapters alone judges all of its topics itself."""
    if inputs.forked_from is None:
        return ()
    return tuple(topic for origin in inputs.dropped for topic in origin.topics)
