"""A checksum of a tensor's bytes, computed where the tensor lies."""

from __future__ import annotations

from backends.mlx.framework import mx, number

CHUNK = 1 << 22  # elements; bounds the temporaries to a few times 16 MiB


def checksum(tensor: mx.array) -> int:
    """Sum mod 2^32 of mix(v_i xor i * 0x9E3779B1) over the bytes as integers v_i of 32 bits (16
    for half types, 8 for packed scales); mix is MurmurHash3's finaliser.

    mix is a bijection, so a single changed bit always changes the sum; a permutation changes it
    but for one chance in 2^32.
    """
    flat = tensor.reshape(-1)
    flat = flat.view({1: mx.uint8, 2: mx.uint16}.get(tensor.dtype.size, mx.uint32))
    total = 0
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK].astype(mx.uint32)
        place = mx.arange(start, start + part.size).astype(mx.uint32)
        total += int(number(_mix(part ^ (place * mx.array(0x9E3779B1, mx.uint32))).sum()))
    return total % (1 << 32)


def _mix(x: mx.array) -> mx.array:
    x = (x ^ (x >> 16)) * mx.array(0x85EBCA6B, mx.uint32)
    x = (x ^ (x >> 13)) * mx.array(0xC2B2AE35, mx.uint32)
    return x ^ (x >> 16)
