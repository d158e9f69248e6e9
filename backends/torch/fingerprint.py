"""A checksum of a tensor's bytes, computed where the tensor lies."""

from __future__ import annotations

from typing import Any

import torch

CHUNK = 1 << 22  # elements; bounds the int64 copies to 64 MiB


def checksum(tensor: Any) -> int:
    """sum_i v_i (2 i + 1) mod 2^64 over the bytes as integers v_i of 32 bits (16 for half types, 8
    for packed ones).

    A single changed bit changes v_i by a power of two below 2^32, times an odd weight: never 0.
    Two elements that change places differ by (v_i - v_j) 2 (i - j), which has fewer than 64
    factors of two while there are fewer than 2^31 elements.
    """
    width = {1: torch.int8, 2: torch.int16}.get(tensor.element_size(), torch.int32)
    flat = tensor.detach().contiguous().view(-1).view(width)
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK].to(torch.int64)
        place = torch.arange(start, start + part.numel(), dtype=torch.int64, device=flat.device)
        total += (part * (2 * place + 1)).sum()  # int64 wraps, which is the modulus
    return int(total.item())
