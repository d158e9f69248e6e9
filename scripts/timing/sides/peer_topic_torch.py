"""A whole topic as a script of TRL's and transformers' own tools: SFTTrainer, then `model.generate`
over the quiz one question after another, DPOTrainer on the same adapter, and the quiz again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import DPOConfig, SFTConfig

from timing import data, topic, work
from timing.protocol import Outcome, Spec, run
from timing.sides.transformers_model import opened
from timing.sides.trl_train import Dpo, Sft, dpo_row, settings, sft_row

NATURAL = "an answer ends where the model ends it, or at its {} tokens"


@dataclass
class Done:
    """What was fed and answered, and the seconds of each part."""

    fed: work.Work = field(default_factory=work.Work)
    answers: work.Work = field(default_factory=work.Work)
    parts: dict[str, float] = field(default_factory=dict)

    def trained(self, made: Any) -> None:
        self.fed.rows += made.fed.rows
        self.fed.tokens += made.fed.tokens


def side(spec: Spec) -> Outcome:
    """Raises what the libraries raise; ValueError for an option, since there is none."""
    if spec.options:
        raise ValueError(f"the peers' script has no option {', '.join(sorted(spec.options))}")
    began = time.perf_counter()
    model = opened(spec)
    loaded = work.resident()
    tokenizer = AutoTokenizer.from_pretrained(spec.model)
    done = Done(parts={"opening": time.perf_counter() - began})
    model = stage(done, "sft", spec, model, tokenizer)
    quiz(done, "quiz after sft", spec, model)
    model = stage(done, "dpo", spec, model, tokenizer)
    quiz(done, "quiz after dpo", spec, model)
    return Outcome(
        seconds=time.perf_counter() - began,
        rows=done.fed.rows,
        trained_tokens=done.fed.tokens,
        loaded_rss=loaded,
        peak_rss=work.peak(),
        versions=work.versions("torch", "trl", "transformers", "peft"),
        notes=[NATURAL.format(spec.max_tokens)],
        parts=done.parts,
        details={"answers": done.answers.rows, "answered_tokens": done.answers.tokens},
    )


def stage(done: Done, kind: str, spec: Spec, model: Any, tokenizer: Any) -> Any:
    """Train, save the adapter, and give back the model with it."""
    began = time.perf_counter()
    samples = data.read(Path(spec.data) / kind)
    kinds: dict[str, Any] = {"sft": (Sft, SFTConfig, sft_row), "dpo": (Dpo, DPOConfig, dpo_row)}
    make, config, row = kinds[kind]
    told = {**settings(replace(spec, kind=kind)), "num_train_epochs": topic.EPOCHS[kind]}
    new = {"peft_config": adapter(spec)} if kind == "sft" else {}
    made = make(
        model=model,
        args=config(**told, **({"beta": spec.beta} if kind == "dpo" else {})),
        train_dataset=Dataset.from_list([row(sample) for sample in samples]),
        processing_class=tokenizer,
        **new,
    )
    made.train()
    made.save_model(str(Path(spec.work) / kind))
    done.trained(made)
    done.parts[kind] = time.perf_counter() - began
    return made.model


def adapter(spec: Spec) -> LoraConfig:
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=list(spec.targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def quiz(done: Done, name: str, spec: Spec, model: Any) -> None:
    """Every question greedily, one after another."""
    began = time.perf_counter()
    model.eval()
    for sample in data.read(Path(spec.data) / "quiz"):
        ids = torch.tensor([sample.prompt], device=spec.device)
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        row = model.generate(**asked, max_new_tokens=spec.max_tokens, do_sample=False)[0]
        answer = row[ids.shape[1] :].tolist()
        done.answers.row(answer, len(answer))
    done.parts[name] = time.perf_counter() - began


if __name__ == "__main__":
    run(side)
