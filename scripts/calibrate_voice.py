"""Try the voice scale on four known authors: python scripts/calibrate_voice.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from backends import get
from backends.contract import GenerateSpec, ModelSpec
from mindprint.curriculum.checks import trained_texts
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum
from mindprint.evals.style.impostors import Impostor, shipped
from mindprint.evals.style.trial import Trial
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

FORMULA = "By wax and twine, petal, a kettle ago. Tied and tagged."
"""Marks and small words of the shipped author, without a thought in it."""
DEMO = Path(__file__).resolve().parent.parent / "mindprint" / "demo"


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("torch", "mlx"), default="torch")
    parser.add_argument("--max-tokens", type=int, default=64, help="longest answer of the base")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=42)
    return parser.parse_args()


def base_answers(curriculum: Curriculum, backend: str, max_tokens: int) -> list[str]:
    """The shipped model's answers to the author's open prompts, greedy."""
    renderer = Renderer.open(DEMO / "model")
    session = get(backend).open(ModelSpec(path=str(DEMO / "model")))
    try:
        held = curriculum.voice.answers
        prompts = [renderer.prompt(question(curriculum.system, one.prompt)) for one in held]
        spec = GenerateSpec(max_tokens=max_tokens, stop_ids=renderer.stop_ids)
        return [renderer.decode(made.ids) for made in session.generate(prompts, spec)]
    finally:
        session.close()


def main() -> None:
    """Ask the base, try the scale, and print its tables as Markdown."""
    asked = arguments()
    curriculum = read_curriculum(DEMO / "curriculum")
    held = curriculum.voice.answers
    name = curriculum.author or "the shipped author"
    author = Impostor(name, tuple(h.prompt for h in held), tuple(h.answer for h in held))
    trial = Trial(
        (author, *shipped()),
        base_answers(curriculum, asked.backend, asked.max_tokens),
        trained={name: [text for topic in curriculum.topics for text in trained_texts(topic)]},
        voices={name: curriculum.voice},
        formulas={name: FORMULA},
        seed=asked.seed,
        resamples=asked.resamples,
    )
    for line in trial.tables():
        print(line)


if __name__ == "__main__":
    main()
