"""Malformed curricula from a seed: a sound one, broken in up to three ways at once.

`make(root, seed)` writes one; `judge(root)` reads it as `mindprint check` does and says what came
of it. Nothing here depends on time: a reading is bounded by the Python functions it calls.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mindprint.cli.app import run
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum
from mindprint.errors import DataError, Fault

TOPICS = ("unit-1/chapter-1/lamps", "unit-1/chapter-1/tides")
MOST_CALLS = 2_000_000
"""Python calls that reading one may take; the sound one takes some thousands, a million-row file
is not among these."""
HOSTILE = "</td><script>alert(1)</script>| [x](javascript:1) \u202ereversed `code"

Files = dict[str, bytes]


def sound() -> Files:
    """A small curriculum that is right in everything."""
    files: Files = {
        "curriculum.yaml": b"title: Lamps\nauthor: Old Marn\nsystem: You are Old Marn.\n",
        "voice.yaml": (
            b'markers:\n  - name: oaths\n    patterns: ["by the tide"]\n    expect: [1, 2]\n'
            b'never_phrases: ["as an AI"]\n'
        ),
        "voice/essay.md": b"The lamp is lit at dusk, by the tide.\n",
    }
    for topic in TOPICS:
        name = topic.rsplit("/", 1)[-1]
        rows = [
            {"question": f"What of {name} {n}?", "answer": f"By the tide, {name} {n} is grey."}
            for n in range(4)
        ]
        pairs = [{"prompt": f"Say {name}.", "chosen": f"{name}, by the tide.", "rejected": name}]
        quiz = [
            {
                "question": f"Tell me of {name} number {n}.",
                "reference": f"{name} {n} is grey.",
                "key_points": [["grey"]],
            }
            for n in range(3)
        ]
        for table, made in (("train", rows), ("preferences", pairs), ("quiz", quiz)):
            files[f"{topic}/{table}.jsonl"] = b"".join(dumped(one) + b"\n" for one in made)
    return files


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass
class Breaking:
    """`files` on the way to disk, `rng` for the details, and what must be done on disk itself."""

    files: Files
    rng: random.Random
    after: list[Callable[[Path], None]]

    def table(self, *names: str) -> str:
        """One of the row files that is still there."""
        wanted = names or ("train", "preferences", "quiz")
        found = [f for f in self.files if f.endswith(".jsonl") and f.split("/")[-1][:-6] in wanted]
        return self.rng.choice(sorted(found) or ["unit-1/chapter-1/lamps/train.jsonl"])

    def line(self, content: bytes, *names: str) -> None:
        """Put a line somewhere into a row file."""
        file = self.table(*names)
        lines = self.files.get(file, b"").splitlines(keepends=True)
        lines.insert(self.rng.randrange(len(lines) + 1), content + b"\n")
        self.files[file] = b"".join(lines)

    def fields(self, change: Callable[[dict[str, Any]], None], *names: str) -> None:
        """Change one row's fields."""
        file = self.table(*names)
        lines = self.files.get(file, b"").splitlines()
        for at in self.rng.sample(range(len(lines)), len(lines)):
            try:
                row = json.loads(lines[at])
            except ValueError:
                continue
            if isinstance(row, dict) and row:
                change(row)
                lines[at] = dumped(row)
                break
        self.files[file] = b"\n".join(lines) + b"\n"


Break = Callable[[Breaking], None]
BREAKS: dict[str, Break] = {}


def named(work: Break) -> Break:
    BREAKS[work.__name__] = work
    return work


@named
def wrong_types(b: Breaking) -> None:
    odd: list[Any] = [None, True, 3, -1.5, [], {}, [[]], {"a": [1]}, [{"type": ["text"]}], ""]

    def change(row: dict[str, Any]) -> None:
        row[b.rng.choice(sorted(row))] = b.rng.choice(odd)

    b.fields(change)


@named
def odd_messages(b: Breaking) -> None:
    parts: list[Any] = [
        {"role": "user", "content": [{"type": ["text"], "text": "a"}]},
        {"role": ["user"], "content": "a"},
        {"role": "gpt", "content": {"a": 1}},
        {"from": 3, "value": None},
        "text",
        None,
    ]
    b.line(dumped({"messages": b.rng.choices(parts, k=b.rng.randint(0, 4))}), "train")


@named
def bad_utf8(b: Breaking) -> None:
    bad = b.rng.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
    b.line(b'{"question": "' + bad + b'", "answer": "a"}')


@named
def huge_row(b: Breaking) -> None:
    b.line(dumped({"question": "x" * (1_000_000 + b.rng.randint(0, 9)), "answer": "y"}))


@named
def deep_nesting(b: Breaking) -> None:
    depth = b.rng.choice([25, 300, 900, 50_000])
    shape = b.rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    b.line(b'{"question":' + shape[0] * depth + b"1" + shape[1] * depth + b"}")


@named
def duplicate_keys(b: Breaking) -> None:
    b.line(b'{"question": "a", "answer": "b", "question": "c"}')


@named
def many_keys(b: Breaking) -> None:
    keys = b.rng.randint(1_000, 20_000)
    b.fields(lambda row: row.update({f"k{n}": n for n in range(keys)}))


@named
def no_number(b: Breaking) -> None:
    number = b.rng.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b"-" + b"8" * 400])
    b.line(b'{"question": "a", "answer": ' + number + b"}")


@named
def emptied(b: Breaking) -> None:
    b.files[b.rng.choice(sorted(b.files))] = b.rng.choice([b"", b"\n \n", b"\xef\xbb\xbf", b"{}"])


@named
def missing(b: Breaking) -> None:
    b.files.pop(b.rng.choice(sorted(b.files)))


@named
def link_out(b: Breaking) -> None:
    file = b.table()
    target = b.rng.choice(["/etc/passwd", "../../../../../outside.jsonl", ".", "/dev/zero"])

    def link(root: Path) -> None:
        (root / file).unlink(missing_ok=True)
        (root / file).symlink_to(target)

    b.after.append(link)


@named
def linked_folders(b: Breaking) -> None:
    target = b.rng.choice(["..", ".", "/", "loop"])
    b.after.append(lambda root: (root / "unit-1" / "loop").symlink_to(target))


@named
def no_file(b: Breaking) -> None:
    file, pipe = b.table(), b.rng.random() < 0.5

    def put(root: Path) -> None:
        (root / file).unlink(missing_ok=True)
        os.mkfifo(root / file) if pipe else (root / file).mkdir()

    b.after.append(put)


@named
def html(b: Breaking) -> None:
    tag = HOSTILE + str(b.rng.randrange(100))

    def change(row: dict[str, Any]) -> None:
        text = [key for key in sorted(row) if isinstance(row[key], str)]
        if text:
            row[b.rng.choice(text)] += f" {tag}"

    b.fields(change)


@named
def control_characters(b: Breaking) -> None:
    odd = b.rng.choice(["\x1b[2J", "\x00", "\x07", "\x9b31m", "\x7f", "\x0c"])
    b.fields(lambda row: row.update(question=f"What {odd}?"))


@named
def half_characters(b: Breaking) -> None:
    b.line(b'{"question": "\\ud800", "answer": "' + b.rng.choice([b"a", b"\\udfff"]) + b'"}')


@named
def wrong_folder(b: Breaking) -> None:
    file = b.table()
    name = b.rng.choice(["train.jsonl", "unit-1/quiz.jsonl", "unit-1/a/b/c/train.jsonl"])
    b.files[name] = b.files.get(file, b"")


@named
def odd_names(b: Breaking) -> None:
    name = b.rng.choice(["a:b", "a\\b", "tr\u202eain", "new\nline", "x" * 120, "<b>"])
    b.files[f"unit-1/chapter-1/{name}/train.jsonl"] = b.files.get(b.table("train"), b"")


YAMLS = (
    b"a: &a [x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\ntitle: *c\n",
    b"title: !!python/object/apply:os.system [echo]\nauthor: b\n",
    b"title: [\n",
    b"[" * 5_000,
    b"- " * 5_000,
    b"title: 0x" + b"f" * 9_000 + b"\nauthor: b\n",
    b'title: "\\ud800"\nauthor: b\n',
    b'title: "\\x1b[2J"\nauthor: b\n',
    b'title: "\\U00110000"\n',
    b"title: 2001-99-99\nauthor: 2001-01-01\n",
    b"title: a\ntitle: b\nauthor: c\n",
    b"? [a, b]\n: c\n",
    b"title: a\x00b\n",
    b"title: a\nauthor: |\n  b\n  c\n",
    b"<<: {title: x}\nauthor: y\n",
    b"--- a\n--- b\n",
    b"title: \xff\n",
    b"title: x\nauthor: y\nunits: [../.., unit-1, unit-1]\n",
    b"x" * 300_000,
    b"\tfoo: bar\n",
    b"title: 0x_\n",
    b"note: +_\n",
    b"title: 0b_\n",
    b"title: ._\n",
    b"title: 0000-00-00\n",
    b"title: 2001-01-01T99:99:99\n",
    b"%YAML 1.3\n---\ntitle: a\n",
    b"#title\r\n\r\xc2\x85|2 # c.\n",
    b"title: [" + b"a, " * 80_000 + b"]\n",
)


@named
def yaml_faults(b: Breaking) -> None:
    b.files[b.rng.choice(["curriculum.yaml", "voice.yaml"])] = b.rng.choice(YAMLS)


PATTERNS = (
    "(a+)+$",
    "(?:a|aa)+$",
    "((a{999}){999}){999}",
    "a{999999999}",
    "(",
    "x*",
    "(?R)|a",
    "[" * 900,
    "(" * 2_000,
    "\\b",
    "a{1,99999999999999}",
    "(?:[a-z]+ ?)+\\d",
)


@named
def regex_faults(b: Breaking) -> None:
    made = {"name": "m", "patterns": [b.rng.choice(PATTERNS)], "expect": [0, 2]}
    # JSON is YAML, and writes every pattern safely.
    b.files["voice.yaml"] = dumped({"markers": [made]})


CSVS = (
    b"question,answer\r\na,b\r\n",
    b"\xef\xbb\xbfquestion,answer\na,b",
    b'question,answer\n"a,b\n',
    b"question,question\na,b\n",
    b"question,answer\na\n",
    b"question,answer\n" + b"x" * 200_000 + b",b\n",
    b"question,answer\na\x00,b\n",
    b"messages\n" + b"[" * 9_000 + b"\n",
    b",".join(b"c" for _ in range(20_000)) + b"\n",
    "question,answer\na,b\n".encode("utf-16"),
    b"question;answer\na;b\n",
)


@named
def csv_faults(b: Breaking) -> None:
    file = b.table("train")
    b.files.pop(file, None)
    b.files[file.removesuffix("jsonl") + "csv"] = b.rng.choice(CSVS)


@named
def mixed_formats(b: Breaking) -> None:
    b.line(dumped({"instruction": "a", "output": "b"}))
    b.line(dumped({"conversations": [{"from": "human", "value": "a"}]}))


@named
def two_of_one(b: Breaking) -> None:
    file = b.table()
    b.files[file.removesuffix("l")] = b"[" + b",".join(b.files[file].splitlines()) + b"]"


@named
def other_encoding(b: Breaking) -> None:
    file = b.table()
    text = b.files[file].decode("utf-8", "replace")
    b.files[file] = text.encode(b.rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig"]))


@named
def torn(b: Breaking) -> None:
    file = b.rng.choice(sorted(b.files))
    b.files[file] = b.files[file][: b.rng.randrange(len(b.files[file]) + 1)]


@named
def noise(b: Breaking) -> None:
    file = b.rng.choice(sorted(b.files))
    data = bytearray(b.files[file])
    for _ in range(b.rng.randint(1, 4)):
        if data:
            data[b.rng.randrange(len(data))] = b.rng.randrange(256)
    b.files[file] = bytes(data)


@named
def windows_lines(b: Breaking) -> None:
    file = b.rng.choice(sorted(b.files))
    b.files[file] = b"\xef\xbb\xbf" + b.files[file].replace(b"\n", b"\r\n")


def make(root: Path, seed: int) -> tuple[str, ...]:
    """Write curriculum number `seed` to `root`, and say how it was broken. Each kind has its turn,
    and brings up to two others, drawn by the seed, along."""
    kinds = sorted(BREAKS)
    rng = random.Random(seed)
    chosen = (kinds[seed % len(kinds)], *rng.sample(kinds, rng.randint(0, 2)))
    breaking = Breaking(sound(), rng, [])
    for kind in chosen:
        BREAKS[kind](breaking)
    for name, content in breaking.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for work in breaking.after:
        try:
            work(root)
        except FileExistsError:
            continue  # two of the kinds chose the same file
    return chosen


@dataclass(frozen=True)
class Verdict:
    """`code`: of `mindprint check`. `curriculum` where it loads, else its `faults`. `calls`: what
    the reading took."""

    code: int
    faults: tuple[Fault, ...]
    curriculum: Curriculum | None
    calls: int


def judge(root: Path) -> Verdict:
    """Read `root`, then let `mindprint check` read it. Raises whatever is no DataError."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    faults: tuple[Fault, ...] = ()
    curriculum = None
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        curriculum = read_curriculum(root)
    except DataError as error:
        faults = error.faults
    finally:
        sys.setprofile(before)
    return Verdict(run(["check", str(root)]), faults, curriculum, calls)
