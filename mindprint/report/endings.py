"""What the model can do when the run is over, against what each topic could when its turn ended."""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.report.model import Result
from mindprint.report.moments import RETENTION
from mindprint.report.words import share


@dataclass(frozen=True)
class Ending:
    """Accuracy on the questions that were asked again: mean over `topics` as each was learned and
    at the end of the run; of the retention set under the base and at the end, where there is one.
    """

    topics: int
    learned: float
    end: float
    base_knew: float | None
    base_kept: float | None


def ending(result: Result) -> Ending | None:
    """None until two topics have ended and were asked again: before that the two are the same."""
    finals = [row for row in result.forgetting if row.stage == "final"]
    learned = {
        row.after: row.scores[row.after].accuracy for row in finals if row.after in row.scores
    }
    if len(learned) < 2:
        return None
    last = finals[-1].scores
    kept = [last[topic].accuracy for topic in learned if topic in last]
    if len(kept) < len(learned):
        return None
    base = next((row.scores for row in result.forgetting if row.stage == "base"), {})
    knew, keeps = base.get(RETENTION), last.get(RETENTION)
    return Ending(
        topics=len(learned),
        learned=sum(learned.values()) / len(learned),
        end=sum(kept) / len(kept),
        base_knew=knew.accuracy if knew is not None else None,
        base_kept=keeps.accuracy if keeps is not None else None,
    )


def told(result: Result) -> str:
    """The same in a sentence or two; empty where nothing was asked again."""
    found = ending(result)
    if found is None:
        return ""
    said = (
        f"On the questions that are asked again, the {found.topics} topics stand at accuracy "
        f"{share(found.end)} at the end of the run; as each was learned it was "
        f"{share(found.learned)}."
    )
    if found.base_knew is not None and found.base_kept is not None:
        said += (
            f" Of what the base itself knew, {share(found.base_kept)} is left of "
            f"{share(found.base_knew)}."
        )
    return said
