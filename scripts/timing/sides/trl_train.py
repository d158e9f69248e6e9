"""TRL's side of training: SFTTrainer or DPOTrainer over text, as a user writes it.

Three things are added: what is fed is counted, each step is timed, and A begins with the values
that mindprint draws, so that losses can be compared step by step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from backends.contract import AdapterSpec
from backends.lora import init_a
from timing import data, work
from timing.protocol import Outcome, Spec, run
from timing.sides.rows import EPOCHS
from timing.sides.transformers_model import device_bytes, opened

MINE = ".lora_A.default.weight"
OUTERMOST = "base_model.model."


class Counted:
    """Over a trainer: what each step is fed, and its loss."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.fed = work.Work()
        self.losses: list[Any] = []
        super().__init__(*args, **settings)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **rest: Any) -> Any:
        real, trained = inputs["attention_mask"].bool(), targets(inputs)
        for ids, kept, count in zip(inputs["input_ids"], real, trained, strict=True):
            self.fed.row(ids[kept].tolist(), count)
        loss = super().training_step(model, inputs, *args, **rest)  # type: ignore[misc]
        self.losses.append(loss)
        return loss


def targets(inputs: dict[str, Any]) -> list[int]:
    """How many tokens of each row the loss is taken over."""
    if "labels" in inputs:
        kept = inputs["labels"][:, 1:] != -100
    else:
        kept = inputs["completion_mask"][:, 1:]
    return [int(count) for count in kept.sum(dim=1)]


class Sft(Counted, SFTTrainer):  # type: ignore[misc]
    """TRL's own, counted."""


class Dpo(Counted, DPOTrainer):  # type: ignore[misc]
    """TRL's own, counted."""


class Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds of each step, from its first batch to the end of its optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._began)


def side(spec: Spec) -> Outcome:
    """Raises what TRL raises, and ValueError where it takes no such step count."""
    samples = data.read(spec.data)
    if spec.steps * spec.batch != len(samples) * EPOCHS[spec.kind]:
        raise ValueError(f"{len(samples)} rows do not make {spec.steps} steps of {spec.batch}")
    model = opened(spec)
    loaded, first = work.resident(), device_bytes()
    clock = Clock()
    began = time.perf_counter()
    made = trainer(spec, model, samples, clock)
    seed_adapter(made.model, spec)
    ready = time.perf_counter()
    made.train()
    ended = time.perf_counter()
    return Outcome(
        seconds=ended - began,
        rows=made.fed.rows,
        trained_tokens=made.fed.tokens,
        loaded_rss=loaded,
        peak_rss=work.peak(),
        step_seconds=clock.seconds,
        losses=[float(loss) for loss in made.losses],
        versions=work.versions("torch", "trl", "transformers", "peft"),
        parts={"preparing": ready - began, "steps": ended - ready},
        details={
            **made.fed.details,
            "threads": torch.get_num_threads(),
            "device_loaded": first,
            "device_peak": device_bytes(most=True),
        },
    )


def trainer(spec: Spec, model: Any, samples: Sequence[data.Sample], clock: Clock) -> Any:
    kind = {"sft": (Sft, SFTConfig, sft_row), "dpo": (Dpo, DPOConfig, dpo_row)}
    make, config, row = kind[spec.kind]
    told = {"beta": spec.beta, "precompute_ref_log_probs": spec.reference == "precomputed"}
    return make(
        model=model,
        args=config(**settings(spec), **(told if spec.kind == "dpo" else {})),
        train_dataset=Dataset.from_list([row(sample) for sample in samples]),
        processing_class=AutoTokenizer.from_pretrained(spec.model),
        callbacks=[clock],
        peft_config=LoraConfig(
            r=spec.rank,
            lora_alpha=spec.alpha,
            target_modules=list(spec.targets),
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        ),
    )


def settings(spec: Spec) -> dict[str, Any]:
    """TRL's defaults but for what is the same on every side, and no writing."""
    return {
        "output_dir": str(Path(spec.work) / "trl"),
        "num_train_epochs": EPOCHS[spec.kind],
        "per_device_train_batch_size": spec.batch,
        "learning_rate": spec.rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "gradient_checkpointing": False,
        "bf16": spec.dtype == "bfloat16",
        "use_cpu": spec.device == "cpu",
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def sft_row(sample: data.Sample) -> dict[str, Any]:
    (answer,) = sample.said
    return {"prompt": turn("user", sample.question), "completion": turn("assistant", answer)}


def dpo_row(sample: data.Sample) -> dict[str, Any]:
    chosen, rejected = sample.said
    return {
        "prompt": turn("user", sample.question),
        "chosen": turn("assistant", chosen),
        "rejected": turn("assistant", rejected),
    }


def turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def seed_adapter(model: Any, spec: Spec) -> None:
    """The values that mindprint's adapter begins with. Raises ValueError where none is found."""
    seed, found = AdapterSpec().seed, 0
    for name, parameter in model.named_parameters():
        if name.endswith(MINE):
            path = name.removeprefix(OUTERMOST).removesuffix(MINE)
            values = init_a(seed, path, *parameter.shape)
            parameter.data.copy_(torch.from_numpy(values))
            found += 1
    if not found:
        raise ValueError(f"no tensor of the adapter is named *{MINE}")


if __name__ == "__main__":
    run(side)
