"""A whole result, written by hand: six topics, a DPO kept and one undone, retries, a failure,
something forgotten, a change within noise; and the same run without a voice scale, or begun."""

from __future__ import annotations

import math
from typing import Any, Literal

from mindprint.report.kept import Retained, Transfer
from mindprint.report.model import (
    ChoiceRecord,
    DataRecord,
    MemorySample,
    ModelRecord,
    Result,
    StageRecord,
    Timings,
    TopicRecord,
)
from mindprint.report.scores import Answer, Difference, Question, Score, StageName
from mindprint.report.voice import VoiceRecord
from tests.unit.report.example_voice import readings, voice_record

TITLES = (
    "The lamp and its oil",
    "Fog signals",
    "The keeper's day",
    "Tides of the sound",
    "Boats & wrecks <1880–1911>",
    "Letters from the mainland",
)
FINAL = ((0.94, 0.78), (0.91, 0.76), (0.97, 0.8), (0.83, 0.79), (0.52, 0.76), (0.9, 0.84))


def band(value: float, half: float = 0.11) -> tuple[float, float]:
    return max(0.0, value - half), min(1.0, value + half)


def score(
    accuracy: float,
    voice: float,
    degenerate: float = 0.0,
    questions: int = 12,
    **fields: object,
) -> Score:
    markers = min(1.0, voice + 0.05) if voice else 0.0
    settings = {
        "accuracy": accuracy,
        "voice": voice,
        "degenerate": degenerate,
        "questions": questions,
        "clusters": questions,
        "voice_by": "calibrated",
        "markers": markers,
        "accuracy_interval": band(accuracy),
        "voice_interval": band(voice, 0.07),
        "markers_interval": band(markers, 0.09),
        "f1": 0.4 * accuracy,
        "words": 24.0,
        "length": 1.1,
        "voiced": min(accuracy, voice),
        "nll": 4.1 - 3 * accuracy,
        "first_stop": 0.0004,
        **fields,
    }
    return Score.model_validate(settings)


def decay(start: float, end: float, steps: int) -> tuple[tuple[int, float], ...]:
    """A loss that falls, with the saw-teeth that batches give it."""
    return tuple(
        (at, end + (start - end) * math.exp(-4.5 * at / steps) + 0.08 * math.sin(at * 1.7))
        for at in range(1, steps + 1)
    )


def stage(name: str, attempt: int = 0, **fields: Any) -> StageRecord:
    curve = decay(3.9, 0.24, 96) if name == "sft" else decay(math.log(2), 0.31, 24)
    settings = {
        "name": name,
        "attempt": attempt,
        "steps": len(curve),
        "epochs": 12 if name == "sft" else 3,
        "rows": 28 if name == "sft" else 16,
        "rows_cut": 0,
        "tokens": 21504,
        "seconds": 14.2 if name == "sft" else 6.1,
        "tokens_per_second": 1514.0,
        "loss_first": curve[0][1],
        "loss_last": curve[-1][1],
        "verdict": "accuracy 0.02 -> 0.90 (+0.88, 95 % interval +0.71 to +0.97), "
        "voice 0.11 -> 0.93",
        "curve": curve,
        **fields,
    }
    return StageRecord.model_validate(settings)


def said(text: str, accuracy: float, voice: float, **fields: object) -> Answer:
    settings = {"text": text, "accuracy": accuracy, "voice": voice, "f1": 0.4 * accuracy}
    return Answer.model_validate({**settings, "nll": 4.1 - 3 * accuracy, **fields})


def question(at: int, accuracy: float, voice: float, dpo: bool, undone: bool = False) -> Question:
    flat = said("The lamp burns rape oil. It is filled in the evening.", 1.0, 0.2)
    good = said(
        "By the tide, lad, she burns rape oil and nothing else. Four gills at dusk, salt and "
        "rope, and not a drop for the mice.",
        max(0.0, accuracy),
        voice,
        soft=("long",) if at == 2 else (),
    )
    base = said(
        "The lamp is a lamp that is used for the lamp and the lamp is a lamp that is",
        0.0,
        0.0,
        flags=("loops to the limit",),
        soft=("repeats", "compressible"),
        reasons=("a loop of 5 words, 4 times: scored 0",),
    )
    silent = said("", 0.0, 0.0, flags=("ended at once",), reasons=("it ended at once: scored 0",))
    learned = flat if dpo and not undone else good
    answers: dict[StageName, Answer] = {
        "base": base,
        "before": said("A lamp is bright.", 0.0, 0.1, soft=("short",)),
        "sft": learned,
        "final": good,
    }
    if dpo:
        answers["dpo"] = silent if undone else good
    return Question(
        question=f"What does the great lamp burn, and how much of it at dusk on night {at}?",
        reference="By the tide, she burns rape oil, four gills at dusk, salt and rope.",
        cluster=at,
        answers=answers,
    )


def change(value: float, half: float) -> Difference:
    p = 0.4 if half > abs(value) else 0.002
    return Difference(
        value=value, low=value - half, high=min(1.0, value + half), p=p, clusters=12, unseen=0.18
    )


def stages(at: int) -> list[StageRecord]:
    margins = tuple((step, 2.4 * (1 - math.exp(-step / 9)) - 0.02) for step in range(1, 25))
    if at == 4:
        undone: dict[str, Any] = {
            "accepted": False,
            "verdict": "accuracy 0.41 -> 0.38, within noise: undone",
        }
        return [stage("sft", **undone), stage("sft", 1, **undone), stage("sft", 2)]
    made = [stage("sft", held_out_loss=((1, 0.9), (2, 0.5), (3, 0.6)), kept_epoch=2)]
    if at == 1:
        made.append(stage("dpo", margins=margins))
    if at == 3:
        sinking = tuple((step, -0.11 * step) for step in range(1, 13))
        made.append(
            stage(
                "dpo",
                margins=sinking,
                accepted=False,
                stopped="end-of-text became likely as the first token (0.0004 -> 0.82)",
                verdict="11 of 12 answers are broken (ended at once 11), more than 2 % beyond "
                "chance; accuracy 0.83 -> 0.06 (-0.77, 95 % interval -0.92 to -0.58)",
            )
        )
    return made


def data(at: int) -> DataRecord:
    return DataRecord(
        rows=28,
        held_out=4,
        cut=1 if at == 2 else 0,
        duplicates=2 if at == 4 else 0,
        pairs=16 if at in {1, 3} else 0,
        pairs_cut=1 if at == 3 else 0,
        quiz=12,
        clusters=10 if at == 0 else 12,
        questions_seen=0.0,
        references_seen=0.004 * at,
    )


def topic_scores(at: int) -> dict[StageName, Score]:
    accuracy, voice = FINAL[at]
    soft = {"short": 0.25, "repeats": 0.08} if at == 4 else {}
    scores: dict[StageName, Score] = {
        "base": score(0.02, 0.0, 0.42, first_stop=0.031),
        "before": score(0.04 + 0.01 * at, 0.35 + 0.09 * at if at else 0.0),
        "sft": score(accuracy, 0.31 if at == 1 else voice),
        "final": score(accuracy, voice, 0.08 if at == 4 else 0.0, soft=soft),
    }
    if at == 1:
        scores["dpo"] = score(accuracy - 0.01, voice)
    if at == 3:
        scores["dpo"] = score(0.06, 0.12, 0.92, first_stop=0.82)
    return scores


def topic_verdict(at: int) -> str:
    accuracy, voice = FINAL[at]
    if at == 4:
        return (
            "failed: accuracy 0.52 is below 0.70 after 3 attempts; kept, since both are better "
            "than before"
        )
    verdict = f"passed: accuracy {accuracy:.2f}, voice {voice:.2f}"
    if at == 1:
        verdict += ". SFT taught the facts in a flat voice; DPO lifted the voice from 0.31"
    return verdict


def topic(at: int) -> TopicRecord:
    accuracy, voice = FINAL[at]
    dpo, undone, failed = at in {1, 3}, at == 3, at == 4
    return TopicRecord(
        id=f"unit-0{at // 3 + 1}/chapter-0{at // 2 + 1}/topic-0{at + 1}",
        title=TITLES[at],
        note="Taught in a neutral voice on purpose." if at == 1 else "",
        status="failed" if failed else "passed",
        verdict=topic_verdict(at),
        attempts=3 if failed else 1,
        data=data(at),
        scores=topic_scores(at),
        readings=readings(at, dpo, undone),
        changes={
            "accuracy": change(accuracy - 0.02, 0.17),
            "voice": change(voice, 0.08),
            # Of the fifth topic nothing is known, of the sixth too little after Holm.
            "markers": change(0.07, 0.2) if failed else change(voice, 0.12),
        },
        clear={4: ("accuracy", "voice"), 5: ("accuracy", "voice")}.get(
            at, ("accuracy", "voice", "markers")
        ),
        stages=tuple(stages(at)),
        questions=tuple(question(i, accuracy - 0.04 * i, voice, dpo, undone) for i in range(4)),
    )


def asked_again(topics: tuple[TopicRecord, ...], upto: int, fall: float) -> dict[str, Score]:
    """Fog signals fades with each later topic; the retention set a little."""
    scores = {
        topics[at].id: score(
            max(0.0, FINAL[at][0] - 0.09 * (upto - at) * (at == 1) - fall),
            max(0.0, min(1.0, FINAL[at][1] - 0.04 * (upto - at) * (at != 2))),
            0.9 if fall > 0.5 else 0.0,
            questions=6,
        )
        for at in range(upto + 1)
    }
    return {**scores, "retention": score(0.71 - 0.01 * upto - fall / 2, 0.0, questions=20)}


def forgetting(topics: tuple[TopicRecord, ...]) -> tuple[Retained, ...]:
    everything = {topic.id: score(0.02, 0.0, 0.42, questions=6) for topic in topics}
    everything["retention"] = score(0.72, 0.0, questions=20)
    rows = [Retained(after="", stage="base", scores=everything)]
    for at, one in enumerate(topics):
        began = {one.id: score(0.04 + 0.01 * at, 0.1 * at, questions=6)}
        rows.append(Retained(after=one.id, stage="before", scores=began))
        for made in one.stages:
            fall = 0.0 if made.accepted else 0.12 if made.name == "sft" else 0.7
            row = Retained(
                after=one.id,
                stage=made.name,
                attempt=made.attempt,
                kept=made.accepted,
                scores=asked_again(topics, at, fall),
            )
            rows.append(row)
        last = [row for row in rows if row.after == one.id and row.kept and row.stage != "before"]
        rows.append(last[-1].model_copy(update={"stage": "final"}))
    return tuple(rows)


TRANSFER: dict[Literal["accuracy", "markers", "degenerate"], Transfer] = {
    "accuracy": Transfer(average=0.78, backward=-0.07, forward=0.05, forgetting=0.07),
    "markers": Transfer(average=0.86, backward=-0.11, forward=0.23, forgetting=0.11),
    "degenerate": Transfer(average=0.0, backward=0.0, forward=-0.42, forgetting=0.42),
}


def unvoiced(found: Score) -> Score:
    update = {"voice_by": "markers", "voice": found.markers}
    return found.model_copy(update={**update, "voice_interval": found.markers_interval})


def without_voice(record: VoiceRecord | None = None) -> Result:
    """The same run where the voice could not be calibrated, or was never tried."""
    result = example()
    topics = tuple(
        one.model_copy(
            update={
                "scores": {state: unvoiced(found) for state, found in one.scores.items()},
                "readings": {},
            }
        )
        for one in result.topics
    )
    return result.model_copy(update={"topics": topics, "voice": record})


def begun() -> Result:
    """A run of which no topic has ended."""
    result = example()
    waiting = TopicRecord(id="u/c/t", title="One")
    bare: dict[str, Any] = {
        "topics": (waiting,),
        "voice": None,
        "forgetting": (),
        "transfer": {},
        "memory": (),
    }
    told = {"status": "running", "verdict": "No topic is finished yet."}
    empty: dict[str, Any] = {
        "choices": (),
        "config": {},
        "versions": {},
        "hashes": {},
        "formats": {},
    }
    spent = {"timings": Timings(), "command": "", "notes": (), "curriculum_note": ""}
    return result.model_copy(update={**bare, **told, **empty, **spent})


def example() -> Result:
    topics = tuple(topic(at) for at in range(6))
    return Result(
        mindprint="0.1.0",
        status="finished",
        verdict="Five of six topics passed. The base knew almost nothing of them (accuracy 0.02); "
        "the trained model answers with accuracy 0.85 in the author's voice (0.79). "
        "Boats & wrecks did not reach its pass mark, and Fog signals has faded since.",
        title="The Lightkeeper of Sule Sound",
        author="Elspeth Rennie",
        curriculum="demo",
        curriculum_note="Topic 2 is taught in a neutral voice on purpose; DPO lifts its voice.",
        model=ModelRecord(
            path="demo",
            revision=None,
            id="5f1c2a" * 10,
            family="llama",
            parameters=3_412_480,
            dtype="float32",
            device="cpu",
        ),
        choices=(
            ChoiceRecord(key="backend", name="torch", because="no CUDA, so on the CPU"),
            ChoiceRecord(key="attention", name="sdpa", because="exact, and the fastest on a CPU"),
            ChoiceRecord(key="handoff", name="merge", because="float32 weights lose nothing"),
        ),
        config={
            "model.path": ("demo", "--model"),
            "adapter.rank": (16, "default"),
            "adapter.targets": (("q_proj", "v_proj"), "config.yaml:4"),
            "sft.learning_rate": (0.002, "--set sft.learning_rate=2e-3"),
            "dpo.rank": (None, "default"),
            "gate.accuracy": (0.7, "default"),
            "gate.voice": (0.75, "default"),
            "gate.rollback": (True, "default"),
        },
        topics=topics,
        voice=voice_record(topics[-1].readings["final"]),
        forgetting=forgetting(topics),
        transfer=TRANSFER,
        memory=(
            MemorySample(
                stage=f"{topics[0].id} sft",
                rss=612 << 20,
                peak_rss=655 << 20,
                device=0,
                device_peak=0,
            ),
            MemorySample(
                stage=f"{topics[5].id} sft",
                rss=618 << 20,
                peak_rss=671 << 20,
                device=0,
                device_peak=0,
            ),
        ),
        timings=Timings(opening=1.3, training=104.0, evaluation=41.5, total=151.2),
        versions={
            "mindprint": "0.1.0",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "python": "3.11",
        },
        hashes={f"{t.id}/train.jsonl": f"{at:x}" * 64 for at, t in enumerate(topics)},
        formats={f"{t.id}/train.jsonl": "messages" for t in topics},
        notes=(
            "1 row of 168 was cut at 1024 tokens.",
            "Resumed after topic 2: the command, its time and its memory are those of both parts.",
        ),
        command="mindprint train demo --model demo --set sft.learning_rate=2e-3",
    )
