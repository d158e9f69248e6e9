"""What a model was pretrained on, as a set of word n-grams small enough to ship with it.

A Bloom filter (Bloom 1970): it never denies an n-gram that was there, and affirms one that was
not with a small, known probability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mindprint.errors import ConfigError
from mindprint.evals.text import words

FILE = "pretraining.ngrams"
MAGIC = b"mindprint n-grams 1\n"
N = 6
"""Words in an n-gram: short enough for a short question, long enough to say something."""
PROBES = 4
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Seen:
    """`bits` uint8 [bytes]: the filter, eight bits a byte."""

    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Iterable[str], size: int = 1 << 21) -> Seen:
        """`size` in bytes: some five bits for each different n-gram are enough."""
        bits = np.zeros(size, dtype=np.uint8)
        for text in texts:
            places = _places(_hashes(text), bits.size * 8)
            np.bitwise_or.at(bits, places >> np.uint64(3), _bit(places))
        return cls(bits)

    def share(self, texts: Iterable[str]) -> float:
        """Share of the n-grams of `texts` that were seen, less those affirmed by chance; texts
        shorter than n words have none."""
        hashes = np.concatenate([np.zeros(0, np.uint64), *(_hashes(text) for text in texts)])
        if hashes.size == 0:
            return 0.0
        places = _places(hashes, self.bits.size * 8)
        held = (self.bits[places >> np.uint64(3)] & _bit(places)) != 0
        raw, chance = float(held.reshape(PROBES, -1).all(axis=0).mean()), self.false_share()
        return max(0.0, (raw - chance) / (1 - chance)) if chance < 1 else 0.0

    def false_share(self) -> float:
        """The probability that an n-gram never seen is affirmed."""
        return float((np.unpackbits(self.bits).mean()) ** PROBES)

    def save(self, path: Path) -> None:
        path.write_bytes(MAGIC + self.bits.tobytes())

    @classmethod
    def load(cls, path: Path) -> Seen:
        raw = path.read_bytes()
        if not raw.startswith(MAGIC) or len(raw) == len(MAGIC):
            raise ConfigError("not a file of pretraining n-grams", where=str(path))
        return cls(np.frombuffer(raw[len(MAGIC) :], dtype=np.uint8))


@lru_cache(maxsize=1 << 16)
def _word(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _hashes(text: str) -> NDArray[np.uint64]:
    """One hash for each run of N words, uint64 [words - N + 1]."""
    ids = np.array([_word(word) for word in words(text)], dtype=np.uint64)
    if ids.size < N:
        return np.zeros(0, dtype=np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(ids, N)
    total = np.zeros(len(runs), dtype=np.uint64)
    for place in range(N):
        total = (total ^ runs[:, place]) * MULTIPLIER
        total ^= total >> np.uint64(29)
    return total


def _places(hashes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """Bit numbers, uint64 [PROBES * hashes], by double hashing."""
    step = (hashes >> np.uint64(33)) | np.uint64(1)
    probes = [hashes + np.uint64(probe) * step for probe in range(PROBES)]
    return np.concatenate(probes) % np.uint64(size)


def _bit(places: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return (np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)).astype(np.uint8)
