"""Build the small base model that ships with mindprint: python scripts/build_demo_model.py."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import torch
from demo_model import measure
from demo_model.corpus import conversations
from demo_model.pretrain import Plan, pretrain, saved_model
from demo_model.remembered import remember
from demo_model.tokenizer import train

FOLDER = Path(__file__).resolve().parent.parent / "mindprint" / "demo" / "model"
SAMPLE = 40_000  # conversations the tokenizer is trained on
# the first course learns to copy and to recall, the second widens what may be said of things
COURSES = (Plan(), Plan(tokens=3_200_000, rate=1.5e-3, course=2))


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder for the model (default: %(default)s)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the training to do (a trial: 0.001)"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the matrix products; auto takes bfloat16 where the chip has AMX",
    )
    return parser.parse_args()


def main() -> None:
    """Train the tokenizer and the model, save both, and say what the model can do."""
    asked = arguments()
    low = asked.precision == "bfloat16" or (
        asked.precision == "auto" and torch.cpu._is_amx_tile_supported()
    )
    seed = COURSES[0].seed
    sample = itertools.islice(conversations(seed), SAMPLE)
    tokenizer = train(text for talk in sample for _, text in talk)
    asked.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(asked.out)
    courses = [
        dataclasses.replace(course, tokens=int(course.tokens * asked.scale), low=low)
        for course in COURSES
    ]
    for course in courses:
        pretrain(tokenizer, course, asked.out)
    chance = remember(courses, asked.out)
    print(f"n-grams of the corpus written; affirmed by chance: {chance:.3f}")
    torch.set_num_threads(1)  # one short answer at a time: a second thread would only wait
    for name, share in measure.figures(saved_model(asked.out).eval(), tokenizer, seed).items():
        print(f"{name}: {share:.2f}")


if __name__ == "__main__":
    main()
