"""One stage through one of TRL's trainers, from a session and back into it."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, SFTConfig

from backends.contract import Batch, Objective, OptimizerSpec, Session
from backends.engines import Course, Heard
from backends.errors import AdapterError
from backends.torch.memory import room_for
from backends.torch.noise import Noise
from backends.torch.session import TorchSession
from backends.torch.trainable import Trainable, array, contract_name
from backends.torch.trl_data import Windows, dpo_inputs, sft_inputs
from backends.torch.trl_launcher import check_accelerator, check_environment
from backends.torch.trl_quiet import quiet
from backends.torch.trl_trainers import DpoStage, Listener, Over, SftStage

LOSSES = {"sigmoid": "sigmoid", "hinge": "hinge", "length-normalised": "sigmoid_norm"}
"""The contract's losses by TRL's names. TRL's `ipo` is another: it divides each log-ratio by the
tokens of its answer."""

WITNESS = 1e-3
"""How far TRL's reference may lie from the one in the batches, in nats a row, in float32: both are
sums over a few hundred tokens, through attention with a mask and without."""


def train(
    session: Session, objective: Objective, optimizer: OptimizerSpec, course: Course, heard: Heard
) -> None:
    """As backends.engines.Engine.train."""
    if not isinstance(session, TorchSession):
        raise AdapterError("TRL trains models that the torch backend opened")
    if objective.kind == "dpo" and objective.loss not in LOSSES:
        raise AdapterError(
            f"TRL's `{objective.loss}` is another loss: it divides each log-ratio by its tokens",
            where="dpo.loss",
            hint=f"use one of: {', '.join(LOSSES)}; or the native engine",
        )
    training = session.attachments.training
    if training is not None and training.spec.spline is not None:
        raise AdapterError(
            "TRL's trainers minimise no penalty on a spline, and know no rate of its own",
            where="adapter.kind",
            hint="use the native engine",
        )
    device = session.opened.device
    check_environment(device)
    folder = tempfile.TemporaryDirectory()
    with folder as place, quiet(device), session.attachments.wrapped() as model:
        settings = _Settings(objective, optimizer, course, place, device.type == "cpu")
        with room_for("TRL's trainer", device, where="adapter.rank"):
            trainer = _trainer(session, model, settings, heard)
        try:
            check_accelerator(trainer.accelerator, device)
            _check_trainable(session, model)
            if objective.kind == "dpo":
                _check_reference(session, trainer, course)
            with contextlib.suppress(Over):
                trainer.train()
        finally:
            trainer.let_go()


class _Settings:
    """What a trainer is told, every choice of its own made explicit."""

    def __init__(
        self,
        objective: Objective,
        optimizer: OptimizerSpec,
        course: Course,
        folder: str,
        on_cpu: bool,
    ) -> None:
        self.objective, self.optimizer, self.course = objective, optimizer, course
        self._folder, self._on_cpu = folder, on_cpu

    def args(self, size: int) -> Any:
        """`size`: batches in a window."""
        shared = self._shared(size)
        if self.objective.kind == "sft":
            return SFTConfig(**shared, packing=False, dataset_kwargs={"skip_prepare_dataset": True})
        names, weights = [LOSSES[self.objective.loss]], [1.0]
        if self.objective.sft_weight:
            names, weights = [*names, "sft"], [*weights, self.objective.sft_weight]
        return DPOConfig(
            **shared,
            beta=self.objective.beta,
            loss_type=names,
            loss_weights=weights,
            disable_dropout=False,  # it would be written into the model's layers
            precompute_ref_log_probs=False,
        )

    def _shared(self, size: int) -> dict[str, Any]:
        optimizer, course = self.optimizer, self.course
        return {
            "output_dir": self._folder,
            "gradient_accumulation_steps": size,
            "num_train_epochs": course.epochs,
            "learning_rate": 1.0,  # the course's rates are factors on it
            "optim": "adamw_torch",
            "adam_beta1": optimizer.betas[0],
            "adam_beta2": optimizer.betas[1],
            "adam_epsilon": optimizer.eps,
            "weight_decay": optimizer.weight_decay,
            "max_grad_norm": course.max_grad_norm or 0.0,
            "max_length": None,
            "bf16": False,  # no autocast: the weights have their dtype already
            "fp16": False,
            "gradient_checkpointing": False,
            "use_cpu": self._on_cpu,
            "seed": optimizer.seed % 2**32,  # as NumPy takes it
            "train_sampling_strategy": "sequential",
            "remove_unused_columns": False,
            "dataloader_pin_memory": False,
            "logging_strategy": "no",
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "eval_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }


def _trainer(session: TorchSession, model: Any, settings: _Settings, heard: Heard) -> Any:
    """Raises AdapterError where TRL would train in another way than it was told."""
    opened, training = session.opened, _training(session)
    sft = settings.objective.kind == "sft"
    inputs_of = functools.partial(sft_inputs if sft else dpo_inputs, bounds=opened.bounds)
    windows = Windows(settings.course, inputs_of)
    drops = sft and training.spec.dropout > 0
    args = settings.args(windows.size)
    args.report_to = []  # some platforms add themselves to none
    _one_device(args, opened.device)
    listener = Listener(heard)
    trainer = (SftStage if sft else DpoStage)(
        course=settings.course,
        windows=windows,
        training=training,
        noise=Noise(settings.optimizer.seed, opened.device) if drops else None,
        model=model,
        args=args,
        # TRL wants a data set with columns, and a tokenizer: the rows come from the windows.
        train_dataset=Dataset.from_dict({"input_ids": [[0]], "labels": [[0]]}),
        data_collator=list,
        processing_class=_no_tokenizer(),
        callbacks=[listener],
    )
    listener.trainer = trainer
    trainer.remove_callback(PrinterCallback)  # it prints on stdout
    trainer.processing_class = None  # else its special tokens are written into the model's config
    return trainer


def _training(session: TorchSession) -> Trainable:
    training = session.attachments.training
    if training is None:
        raise AdapterError("no adapter is in training", hint="add or load one first")
    return training


def _no_tokenizer() -> Any:
    """One word: nothing here is text."""
    words = Tokenizer(WordLevel({"<pad>": 0}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<pad>")


def _one_device(args: Any, device: Any) -> None:
    """On the session's device, and on that alone: with several GPUs in sight transformers would
    wrap the model in DataParallel, whose copies TRL's patched forward does not follow."""
    if args.device.type != device.type:
        raise AdapterError(f"TRL would train on {args.device.type}, and the model is on {device}")
    args._n_gpu = min(1, args.n_gpu)


def _check_trainable(session: TorchSession, model: Any) -> None:
    """Just the adapter trains. Raises AdapterError."""
    own = set(_training(session).parameters())
    found = {
        contract_name(name.removeprefix("base_model.model."))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    if found != own:
        odd = ", ".join(sorted(found ^ own)[:3])
        raise AdapterError(f"TRL would train other tensors than the adapter's: {odd}")


def _check_reference(session: TorchSession, trainer: Any, course: Course) -> None:
    """TRL's own reference, a copy of the adapter as it begins, gives the log-probabilities that the
    batches were made with. Raises AdapterError."""
    for batch in course.batches_of(0):
        if batch.reference is None:
            raise AdapterError("a batch of pairs has no reference log-probabilities")
        inputs = trainer._prepare_inputs(dpo_inputs(batch, session.opened.bounds))
        trainer.model.eval()
        halves = trainer.compute_ref_log_probs(trainer.model, inputs)
        theirs = np.concatenate([array(half) for half in halves])
        apart = float(np.abs(theirs - batch.reference).max())
        bound = WITNESS if session.info.dtype == "float32" else max(WITNESS, _noise(session, batch))
        if apart > bound:
            raise AdapterError(
                f"TRL's reference is not the policy as the stage began: {apart:.2g} nats apart",
                hint="the adapter must be in the model once only, and trained by nobody else",
            )


def _noise(session: TorchSession, batch: Batch) -> float:
    """Three times the most that a row's log-probability moves when it goes through alone: what
    another order of sums may do in half precision."""
    together = session.logprobs(batch).rows
    alone = np.concatenate([session.logprobs(one).rows for one in _one_by_one(batch)])
    return 3 * float(np.abs(together - alone).max())


def _one_by_one(batch: Batch) -> Iterator[Batch]:
    for row, length in enumerate(batch.lengths.tolist()):
        part = slice(row, row + 1)
        yield Batch(batch.ids[part, :length], batch.lengths[part], batch.mask[part, :length])
