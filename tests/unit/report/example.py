"""A whole result, written by hand: six topics, a DPO, a retry, a failure, something forgotten."""

from __future__ import annotations

import math

from mindprint.report.model import (
    Answer,
    ChoiceRecord,
    MemorySample,
    ModelRecord,
    Question,
    Result,
    Retained,
    Score,
    StageName,
    StageRecord,
    Timings,
    TopicRecord,
)

TITLES = (
    "The lamp and its oil",
    "Fog signals",
    "The keeper's day",
    "Tides of the sound",
    "Boats & wrecks <1880–1911>",
    "Letters from the mainland",
)
FINAL = ((0.94, 0.96), (0.91, 0.88), (0.97, 1.0), (0.83, 0.79), (0.52, 0.81), (0.9, 0.93))


def score(accuracy: float, voice: float, degenerate: float = 0.0, questions: int = 12) -> Score:
    return Score(accuracy=accuracy, voice=voice, degenerate=degenerate, questions=questions)


def decay(start: float, end: float, steps: int) -> tuple[tuple[int, float], ...]:
    """A loss that falls, with the saw-teeth that batches give it."""
    return tuple(
        (at, end + (start - end) * math.exp(-4.5 * at / steps) + 0.08 * math.sin(at * 1.7))
        for at in range(1, steps + 1)
    )


def stage(name: str, attempt: int = 0, **fields: object) -> StageRecord:
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
        "verdict": "accuracy 0.02 → 0.90, voice 0.11 → 0.93: kept.",
        "curve": curve,
        **fields,
    }
    return StageRecord.model_validate(settings)


def question(at: int, accuracy: float, voice: float, dpo: bool) -> Question:
    flat = Answer(
        text="The lamp burns rape oil. It is filled in the evening.", accuracy=1.0, voice=0.2
    )
    good = Answer(
        text="By the tide, lad, she burns rape oil and nothing else. Four gills at dusk, salt and "
        "rope, and not a drop for the mice.",
        accuracy=accuracy,
        voice=voice,
    )
    answers: dict[StageName, Answer] = {
        "base": Answer(
            text="The lamp is a lamp that is used for the lamp and the lamp is a lamp that is",
            accuracy=0.0,
            voice=0.0,
            flags=("ran to the limit", "loops"),
            reasons=("a loop of 5 words, 4 times: scored 0",),
        ),
        "before": Answer(text="A lamp is bright.", accuracy=0.0, voice=0.1),
        "sft": flat if dpo else good,
        "final": good,
    }
    if dpo:
        answers["dpo"] = good
    return Question(
        question=f"What does the great lamp burn, and how much of it at dusk on night {at}?",
        reference="By the tide, she burns rape oil, four gills at dusk, salt and rope.",
        answers=answers,
    )


def topic(at: int) -> TopicRecord:
    accuracy, voice = FINAL[at]
    dpo, failed = at in {1, 3}, at == 4
    stages = [stage("sft")]
    if failed:
        undone = {"accepted": False, "verdict": "accuracy 0.41 → 0.38, voice fell: undone."}
        stages = [stage("sft", **undone), stage("sft", 1), stage("sft", 2)]
    if dpo:
        margins = tuple((at, 2.4 * (1 - math.exp(-at / 9)) - 0.02) for at in range(1, 25))
        stages.append(stage("dpo", margins=margins, stopped=""))
    scores: dict[StageName, Score] = {
        "base": score(0.02, 0.01, 0.4),
        "before": score(0.04 + 0.01 * at, 0.1 + 0.1 * at),
        "sft": score(accuracy, 0.31 if dpo else voice),
        "final": score(accuracy, voice, 0.08 if failed else 0.0),
    }
    if dpo:
        scores["dpo"] = score(accuracy - 0.01, voice)
    spoken = "failed" if failed else "passed"
    verdict = (
        "Accuracy 0.52 stays under its pass mark of 0.70 after 3 attempts; kept, since it beats "
        "what the topic began with on both measures."
        if failed
        else f"Passed with accuracy {accuracy:.2f} and voice {voice:.2f}."
    )
    if dpo:
        verdict += " SFT taught the facts in a flat voice; DPO lifted the voice from 0.31."
    return TopicRecord(
        id=f"unit-0{at // 3 + 1}/chapter-0{at // 2 + 1}/topic-0{at + 1}",
        title=TITLES[at],
        status="failed" if spoken == "failed" else "passed",
        verdict=verdict,
        attempts=3 if failed else 1,
        scores=scores,
        stages=tuple(stages),
        questions=tuple(question(i, accuracy - 0.04 * i, voice, dpo) for i in range(4)),
    )


def example() -> Result:
    topics = tuple(topic(at) for at in range(6))
    forgetting = tuple(
        Retained(
            after=topics[n].id,
            scores={
                **{
                    topics[m].id: score(
                        max(0.0, FINAL[m][0] - 0.09 * (n - m) * (m == 1)),
                        min(1.0, FINAL[m][1] - 0.04 * (n - m) * (m != 2)),
                        questions=6,
                    )
                    for m in range(n + 1)
                },
                "retention": score(0.71 - 0.01 * n, 0.0, questions=20),
            },
        )
        for n in range(1, 6)
    )
    return Result(
        mindprint="0.1.0",
        status="finished",
        verdict="Five of six topics passed. The base knew almost nothing of them (accuracy 0.02); "
        "the trained model answers with accuracy 0.85 in the author's voice (0.90). "
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
        forgetting=forgetting,
        retention_base=score(0.7, 0.0, questions=20),
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
        notes=("1 row of 168 was cut at 1024 tokens.",),
        command="mindprint train demo --model demo --set sft.learning_rate=2e-3",
    )
