"""Pretraining of the small Llama on two CPU cores."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_model.corpus import conversations
from demo_model.tokenizer import encode

WORKERS = 2  # one per core; the weights depend on their number
# few widths, so that few shapes: each new shape costs compilation time and memory that stays taken
WIDTHS = (24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640)
KEEP = 400
BLOCK = 2048
Row = tuple[list[int], list[float]]


@dataclass(frozen=True)
class Plan:
    """Length and speed: `tokens` counts no padding, `batch` is one worker's, `low` is bfloat16."""

    tokens: int = 8_000_000
    batch: int = 2048
    rate: float = 3.0e-3
    warmup: int = 100
    aside: float = 0.3
    seed: int = 11
    course: int = 1
    low: bool = False


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Return the untrained model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=False,
        max_new_tokens=64,
    )
    return model


def saved_model(out: Path) -> LlamaForCausalLM:
    """Return the model that the course before has saved."""
    return LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)


def batches(tokenizer: PreTrainedTokenizerFast, plan: Plan) -> Iterator[tuple[int, list[Row]]]:
    """Yield a width and as many rows of about that length as make a batch, for ever."""
    stream, rng = conversations(plan.seed, plan.course), random.Random(plan.seed)
    waiting: dict[int, list[Row]] = {width: [] for width in WIDTHS}
    while True:
        ready = []
        for row in encode(tokenizer, list(itertools.islice(stream, BLOCK)), plan.aside):
            if len(row[0]) > WIDTHS[-1]:
                continue
            width = WIDTHS[bisect.bisect_left(WIDTHS, len(row[0]))]
            waiting[width].append(row)
            if len(waiting[width]) == plan.batch // width:
                ready.append((width, waiting[width]))
                waiting[width] = []
        rng.shuffle(ready)
        yield from ready


def padded(width: int, rows: list[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and weights, right-padded (causal attention never looks at the padding)."""
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows])
    weights = torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in rows])
    return ids, weights


def loss_of(
    model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor, low: bool
) -> torch.Tensor:
    """Return the weighted mean of the next-token loss; `low` computes the products in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        logits = model(input_ids=ids, use_cache=False).logits
    aims, share = ids[:, 1:].flatten(), weights[:, 1:].flatten()
    each = cross_entropy(logits[:, :-1].flatten(0, 1).float(), aims, reduction="none")
    return (each * share).sum() / share.sum()


def rate_at(share: float, step: int, plan: Plan) -> float:
    """Return the learning rate: a warm-up, then a cosine down to a twentieth."""
    return (
        plan.rate
        * min(1.0, (step + 1) / plan.warmup)
        * (0.05 + 0.475 * (1 + math.cos(math.pi * min(1.0, share))))
    )


def optimizers_of(model: LlamaForCausalLM, plan: Plan, rank: int) -> list[torch.optim.Optimizer]:
    """Return Muon for this worker's share of the layers' matrices and AdamW for all the rest."""
    chosen = {id(weight) for weight in matrices_of(model)}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    # Muon learns to copy names in far fewer steps than AdamW does
    muon = torch.optim.Muon(
        matrices_of(model)[rank::WORKERS],
        lr=plan.rate,
        weight_decay=0.05,
        adjust_lr_fn="match_rms_adamw",
    )
    return [
        muon,
        torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def matrices_of(model: LlamaForCausalLM) -> list[torch.nn.Parameter]:
    """Return the matrices inside the layers."""
    return [weight for weight in model.model.layers.parameters() if weight.dim() == 2]


def share_gradients(model: LlamaForCausalLM) -> None:
    """Replace every gradient by its mean over the workers, and clip it."""
    flat = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    dist.all_reduce(flat)
    flat.div_(WORKERS)
    parts = flat.split([weight.numel() for weight in model.parameters()])
    for weight, part in zip(model.parameters(), parts, strict=True):
        weight.grad.copy_(part.view_as(weight))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def share_matrices(model: LlamaForCausalLM) -> None:
    """Give every worker the matrices that another worker's Muon has moved."""
    for number, weight in enumerate(matrices_of(model)):
        dist.broadcast(weight.data, src=number % WORKERS)


def work(rank: int, tokenizer: PreTrainedTokenizerFast, plan: Plan, out: Path) -> None:
    """Train as one of the workers; the first one reports and saves."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORKERS)
    model = (new_model(tokenizer, plan.seed) if plan.course == 1 else saved_model(out)).train()
    optimizers = optimizers_of(model, plan, rank)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    seen, began, recent = 0, time.monotonic(), []
    stream = batches(tokenizer, plan)
    for step, pair in enumerate(
        zip(stream, stream, strict=True)
    ):  # one batch for each of the two workers
        for group in groups:
            group["lr"] = rate_at(seen / plan.tokens, step, plan)
        loss = loss_of(model, *padded(*pair[rank], tokenizer.pad_token_id), plan.low)
        loss.backward()
        share_gradients(model)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        share_matrices(model)
        seen += sum(len(ids) for _, rows in pair for ids, _ in rows)
        recent = [*recent[-99:], loss.item()]
        if rank == 0 and step % 50 == 0:
            spent = time.monotonic() - began
            print(
                f"step {step}  tokens {seen:,}  loss {fmean(recent):.3f}  {spent:.0f} s",
                file=sys.stderr,
            )
        if rank == 0 and (step % KEEP == KEEP - 1 or seen >= plan.tokens):
            copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
        if seen >= plan.tokens:
            break
    dist.destroy_process_group()


def pretrain(tokenizer: PreTrainedTokenizerFast, plan: Plan, out: Path) -> None:
    """Train a new model in WORKERS processes of one thread each, and save it in bfloat16."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    multiprocessing.spawn(work, (tokenizer, plan, out), nprocs=WORKERS)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
