"""lm-evaluation-harness asks our sessions and its own `hf` model the same, of the same weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.contract import GenerateSpec
from mindprint.errors import ConfigError
from mindprint.evals.harness import MindprintLM, open_lm
from tests.conformance.conftest import ModelFolder
from tests.conformance.test_peft_folders import saved_by_peft
from tests.tiny import SENTENCES, make_tokenizer

pytestmark = [
    # PEFT 0.21 still asks transformers under the older name.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    # lm-eval's own: a table written with a library that renames an option.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lm_eval.*"),
]

LENGTH = 64
"""Tokens read at once by both: short, so that contexts are cut and texts take several windows."""
NEAR = 3e-5
"""Sums near -76 in float32, whose steps there are 8e-6; one such step is what was measured."""


@pytest.fixture(scope="module")
def folder(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("llama", seed=7))


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_by_peft(folder, tmp_path_factory.mktemp("peft"), target_modules="all-linear")


@pytest.fixture(scope="module", params=[False, True], ids=["bare", "adapter"])
def worn(request: pytest.FixtureRequest, adapter: Path) -> Path | None:
    return adapter if request.param else None


@pytest.fixture
def ours(folder: Path, backend: str, worn: Path | None) -> Iterator[MindprintLM]:
    adapters = [] if worn is None else [worn]
    with open_lm(
        str(folder), backend, adapters, device="cpu", batch_size=3, max_length=LENGTH
    ) as model:
        yield model


@pytest.fixture(scope="module")
def theirs(folder: Path, worn: Path | None) -> Any:
    from lm_eval.models.huggingface import HFLM

    peft = None if worn is None else str(worn)
    return HFLM(
        str(folder), device="cpu", dtype="float32", batch_size=3, max_length=LENGTH, peft=peft
    )


def asked(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, given, place) for place, given in enumerate(arguments)]


PAIRS = (
    ("The lamp is lit", " at dusk"),
    ("The lamp is lit ", "at dawn"),  # the blank moves over to the continuation
    ("", "Who keeps the lamp?"),
    (" ".join(SENTENCES * 3), " The keeper keeps the lamp, and the tide."),  # is cut on the left
    ("<|begin|>The lamp", " is out."),
    ("What is the tower made of?", " stone"),
    ("Ünwritten — words", " 灯 and more"),
)


def test_log_likelihoods_are_those_of_hf(ours: MindprintLM, theirs: Any) -> None:
    requests = asked("loglikelihood", *PAIRS)
    found, wanted = ours.loglikelihood(requests), theirs.loglikelihood(requests)
    assert [value for value, _ in found] == pytest.approx([v for v, _ in wanted], abs=NEAR)
    assert [sure for _, sure in found] == [sure for _, sure in wanted]


def test_what_greedy_decoding_says_is_known_for_it(ours: MindprintLM, theirs: Any) -> None:
    """By token ids: a random model's text is not encoded as it was decoded."""
    requests = []
    for text in SENTENCES:
        context = ours.tok_encode(text)
        spec = GenerateSpec(max_tokens=9, stop_ids=())
        said = list(ours._session.generate([context], spec)[0].ids)
        requests += [(None, context, said), (None, context, said[:1])]
        other = [[*said[:at], said[at] ^ 1, *said[at + 1 :]] for at in (0, 4, 8)]
        requests += [(None, context, tokens) for tokens in other]
    found, wanted = (model._loglikelihood_tokens(requests) for model in (ours, theirs))
    assert [sure for _, sure in found] == [sure for _, sure in wanted]
    assert [sure for _, sure in found] == [True, True, False, False, False] * len(SENTENCES)


def test_rolling_texts_are_weighed_as_hf_weighs_them(ours: MindprintLM, theirs: Any) -> None:
    texts = [" ".join(SENTENCES), "Short.", "", " ".join(SENTENCES * 2)]
    requests = asked("loglikelihood_rolling", *((text,) for text in texts))
    assert len(ours.tok_encode(texts[3])) > 3 * LENGTH
    wanted = theirs.loglikelihood_rolling(requests)  # sums near -1,500
    assert ours.loglikelihood_rolling(requests) == pytest.approx(wanted, rel=1e-6)


def test_answers_are_those_of_hf(ours: MindprintLM, theirs: Any) -> None:
    plain = {"until": [], "max_gen_toks": 40}
    contexts = [*SENTENCES, "", " ".join(SENTENCES)]
    free = theirs.generate_until(asked("generate_until", *((text, plain) for text in SENTENCES)))
    # Plain letters: hf looks at the last few tokens alone, which may begin inside of a character
    # and then show a U+FFFD that the whole text does not hold.
    found = [(place, re.search("[A-Za-z]+", text[4:])) for place, text in enumerate(free)]
    place, letters = next((at, match.group()) for at, match in found if match)
    stop = {"until": [letters, "\n\n"], "max_gen_toks": 40}
    requests = asked(
        "generate_until",
        *((text, plain) for text in contexts if text),
        *((text, stop) for text in contexts if text),
    )
    answers = ours.generate_until(requests)
    assert answers == theirs.generate_until(requests)
    cut = answers[len(answers) // 2 + place]
    assert cut == re.split(f"{letters}|\n\n", free[place])[0] != free[place]


def test_sampling_is_seeded_and_stops_at_its_limit(ours: MindprintLM) -> None:
    warm = {"until": [], "max_gen_toks": 40, "do_sample": True, "temperature": 1.5, "top_p": 0.9}
    requests = asked("generate_until", *((text, warm) for text in SENTENCES))
    first = ours.generate_until(requests)
    assert first == ours.generate_until(requests)
    cold = ours.generate_until([*asked("generate_until", (SENTENCES[0], {"max_gen_toks": 40}))])
    assert first[0] != cold[0]
    with pytest.raises(ConfigError, match="`top_k`"):
        ours.generate_until(asked("generate_until", ("The lamp", {"top_k": 5})))
    with pytest.raises(ConfigError, match="no room"):
        ours.generate_until(asked("generate_until", ("The lamp", {"max_gen_toks": LENGTH})))


def test_chat_templates_agree(ours: MindprintLM, theirs: Any) -> None:
    turns = [
        {"role": "system", "content": "You keep a lamp."},
        {"role": "user", "content": "Who are you?"},
    ]
    assert ours.apply_chat_template(turns) == theirs.apply_chat_template(turns)
    begun = [*turns, {"role": "assistant", "content": "The keeper"}]
    wanted = theirs.apply_chat_template(begun, add_generation_prompt=False)
    assert ours.apply_chat_template(begun, add_generation_prompt=False) == wanted
    assert ours.chat_template(True) == theirs.chat_template(True)


CHOICES = [
    {"q": "What is lit at dusk?", "choices": ["the lamp", "the tide", "stone"], "answer": 0},
    {"q": "Who keeps the lamp?", "choices": ["dawn", "the keeper of it", "hill"], "answer": 1},
    {"q": "What is grey?", "choices": ["the sea", "the long grey tower", "the stone"], "answer": 2},
    {"q": "When is it put out?", "choices": ["at dawn", "noon", "在黎明"], "answer": 0},
    {"q": "Name a thing.", "choices": ["tide", "sea", "a lamp that is lit"], "answer": 1},
]
METRICS = {
    "choice": ("acc", "acc_norm", "acc_bytes"),
    "say": ("exact_match",),
    "roll": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}
YAML = """\
task: mp_{name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
  cache_dir: {cache}
test_split: test
output_type: {kind}
doc_to_text: {text}
{rest}
metric_list:
{metrics}
"""


def write_tasks(folder: Path, answers: list[str]) -> None:
    """Three tasks and their rows. `answers`: what is right in the task of free answers."""
    says = [{"q": text, "a": said} for text, said in zip(SENTENCES, answers, strict=True)]
    rolls = [{"page": text} for text in (*SENTENCES, " ".join(SENTENCES))]
    kinds: dict[str, tuple[str, str, str, list[Any]]] = {
        "choice": (
            "multiple_choice",
            "'Question: {{q}}\\nAnswer:'",
            "doc_to_choice: choices\ndoc_to_target: answer",
            CHOICES,
        ),
        "say": (
            "generate_until",
            "'{{q}}'",
            "doc_to_target: '{{a}}'\ngeneration_kwargs: {until: [' x'], max_gen_toks: 12}",
            says,
        ),
        "roll": ("loglikelihood_rolling", "''", "doc_to_target: '{{page}}'", rolls),
    }
    for name, (kind, text, rest, rows) in kinds.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        metrics = "\n".join(f"  - metric: {metric}" for metric in METRICS[name])
        cache = folder / "cache"
        task = YAML.format(
            name=name, data=data, cache=cache, kind=kind, text=text, rest=rest, metrics=metrics
        )
        (folder / f"{name}.yaml").write_text(task.replace('"', ""), "utf-8")


def scores(model: Any, folder: Path) -> dict[str, float]:
    """`task/metric` -> value, as lm-eval itself puts them together."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found: Any = simple_evaluate(
        model=model,
        tasks=[f"mp_{name}" for name in METRICS],
        task_manager=manager,
        bootstrap_iters=0,
    )
    return {
        f"{name}/{metric}": found["results"][f"mp_{name}"][f"{metric},none"]
        for name, metrics in METRICS.items()
        for metric in metrics
    }


def test_tasks_score_as_under_hf(ours: MindprintLM, theirs: Any, tmp_path: Path) -> None:
    short = {"until": [" x"], "max_gen_toks": 12}
    said = theirs.generate_until(asked("generate_until", *((text, short) for text in SENTENCES)))
    write_tasks(tmp_path, [said[0], said[1], said[2], "something else"])
    found, wanted = scores(ours, tmp_path), scores(theirs, tmp_path)
    for name, value in wanted.items():
        if name.startswith("roll/"):
            assert found[name] == pytest.approx(value, rel=NEAR), name
        else:
            assert found[name] == value, name
    assert wanted["say/exact_match"] == 0.75  # the task tells right from wrong


def test_lm_eval_opens_it_by_name(folder: Path, adapter: Path, backend: str) -> None:
    from lm_eval.api.registry import get_model

    known = get_model("mindprint")
    arguments = f"model={folder},backend={backend},adapters={adapter}"
    with known.create_from_arg_string(arguments, {"device": "cpu", "batch_size": "2"}) as model:
        assert (model.batch_size, model.max_length) == (2, 512)
        assert model.get_model_info()["model_adapters"] == ["given-1"]
    with pytest.raises(ConfigError, match="no key `colour`"):
        known.create_from_arg_string(f"model={folder},colour=red", None)
    with pytest.raises(ConfigError, match="a `model` is needed"):
        known.create_from_arg_string(f"backend={backend}", None)


def test_a_fault_of_ours_is_not_told_as_a_wrong_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(named: str, **settings: Any) -> Any:
        raise TypeError("a bug")

    monkeypatch.setattr("mindprint.evals.harness.Target.find", broken)
    with pytest.raises(TypeError, match="a bug"):
        MindprintLM.create_from_arg_obj({"model": str(folder)})
