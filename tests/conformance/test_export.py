"""Every form of an export, opened again by the libraries it is for: the run's model, or refused.

The oracles are plain transformers, plain PEFT and plain mlx-lm. The processes are real in one test
of each library; elsewhere the witnesses' own functions run in this one.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backends.chain import Held, Rows
from backends.contract import GenerateSpec
from mindprint.export import adapter, checked, exporting, merged, mlx_adapter, probes
from mindprint.export.checked import ExportRefused
from mindprint.export.folded import Folded, folded
from mindprint.export.form import Asked, Done
from mindprint.export.model_config import with_both_spellings
from mindprint.export.plain import Plain
from mindprint.export.witness import Seen, witness
from mindprint.tokens.lessons import question
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, SECOND, ground, inside, make_run

FORMS = {"adapter": adapter.write, "mlx-adapter": mlx_adapter.write, "merged": merged.write}
NEAR = 1e-5
"""Of the adapters' effect: float32 in another order of sums, 7e-7 to 1.6e-6 was measured."""
GEMMA = 1e-2
"""mlx-lm rounds Gemma's embedding scale to bfloat16 in whatever arithmetic, as plain mlx-lm does
without any adapter: 2.8e-3 was measured."""
ON = {"llama": "mlx", "qwen2": "torch", "qwen3": "mlx", "mistral": "torch"} | {
    "gemma3_text": "mlx",
    "phi3": "torch",
}
"""Which backend gives the exact logits: half of the families on each."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "witness", inside)
    monkeypatch.setattr(probes, "MAX_TOKENS", 8)


def model(folder: Path, family: str, *, both: bool = True, **settings: Any) -> Path:
    """A tiny model with its tokenizer; `both`: its rope spelt as older libraries look for it too,
    as the configs of most models on the hub have it."""
    make_tokenizer(make_model(folder, family, **settings))
    if both:
        rewrite(folder, with_both_spellings(json.loads((folder / "config.json").read_text())))
    return folder


def rewrite(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def made(form: str, run: Path, backend: str, out: Path, **options: Any) -> Done:
    out.mkdir()
    bound = options.pop("bound", 0.1)
    return FORMS[form](ground(run, backend, bound=bound), Asked(form, **options), out)


def test_every_family_in_every_form(tmp_path: Path, family: str) -> None:
    """Entries of another rank, one of them rslora; tied and untied heads, Phi-3's fused layers."""
    run = make_run(tmp_path / "r", model(tmp_path / "m", family))
    on = ground(run, ON[family])
    asked = []
    for form, write in FORMS.items():
        (tmp_path / form).mkdir()
        _, found = write(on, Asked(form), tmp_path / form)
        for one in found.verified:
            exact = GEMMA if (family, one.framework) == ("gemma3_text", "mlx-lm") else NEAR
            assert one.lost < exact, (form, one)
            assert (one.answers, one.tokens) == (one.asked, one.tokens_of), (form, one)
            assert one.positions >= 64 and one.tokens_of > 0
            asked.append(one.framework)
    assert asked == ["peft", "mlx-lm", "transformers", "mlx-lm"]


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_bfloat16_that_loses_the_adapter_is_refused_with_its_loss(
    tmp_path: Path, backend: str
) -> None:
    base = model(tmp_path / "m", "qwen2", dtype="bfloat16")
    run = make_run(tmp_path / "r", base, size=3e-6)
    with pytest.raises(ExportRefused, match=r"loses \d+ % with transformers, \d+ % with mlx") as no:
        made("merged", run, backend, tmp_path / "auto")
    assert "float32 would keep it" in no.value.hint and "`--dtype float32`" in no.value.hint
    assert no.value.exit == 1
    written, found = made("merged", run, backend, tmp_path / "exact", dtype="float32")
    assert found.lost < 0.01 and written.weight_error < 1e-3
    config = json.loads((tmp_path / "exact" / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == "float32"


def test_nothing_is_left_of_an_export_that_is_not_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change written twice over, as a wrong scale would."""

    def doubled(adapters: Sequence[Held], rows: Rows) -> Folded:
        return folded([*adapters, *adapters], rows)

    monkeypatch.setattr(merged, "folded", doubled)
    run = make_run(tmp_path / "r", model(tmp_path / "m", "llama"))
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportRefused, match="loses"):
        exporting.export(ground(run, "torch"), Asked("merged"), tmp_path / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m", "out", "r"]
    assert not list((tmp_path / "out").iterdir())


def test_a_smaller_rank_is_measured_and_refused_over_the_bound(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", model(tmp_path / "m", "llama"))
    with pytest.raises(ExportRefused, match="with peft") as no:
        made("adapter", run, "torch", tmp_path / "two", rank=2)
    kept = int(no.value.hint.split("`--rank ")[1].split("`")[0])
    assert 2 < kept <= 6
    written, found = made("adapter", run, "torch", tmp_path / "loose", rank=2, bound=2.0)
    assert written.rank == 2 and 0.1 < written.weight_error < 1 and 0.1 < found.lost < 2
    assert "rank 2 leaves out" in written.notes[0]


def test_until_and_without_are_the_ledger_up_to_there(tmp_path: Path) -> None:
    """Both leave the first topic alone, which is another model than both together."""
    run = make_run(tmp_path / "r", model(tmp_path / "m", "llama"))
    first = ground(run, "torch", until=FIRST)
    apart = ground(run, "torch", without=[SECOND])
    for name, one in (("until", first), ("without", apart)):
        (tmp_path / name).mkdir()
        _, found = merged.write(one, Asked("merged"), tmp_path / name)
        assert found.lost < NEAR and [e.topic for e in one.source.entries] == [FIRST]
    same = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("until", "without")]
    assert same[0] == same[1]
    assert ground(run, "torch").exact.effect != pytest.approx(first.exact.effect, rel=1e-2)


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_a_rope_base_as_transformers_5_spells_it(tmp_path: Path, family: str) -> None:
    """Bases of 30000 and 5000 under `rope_parameters` alone, where mlx-lm does not look: the merged
    model says them twice; of an adapter, whose base is not ours to change, it is told."""
    run = make_run(tmp_path / "r", model(tmp_path / "m", family, both=False))
    _, found = made("merged", run, "torch", tmp_path / "merged")
    assert found.lost < (GEMMA if family == "gemma3_text" else NEAR)
    with pytest.raises(ExportRefused, match="with mlx-lm") as no:
        made("mlx-adapter", run, "torch", tmp_path / "adapter")
    assert "`rope_theta` 30000.0" in no.value.hint and "`--to merged`" in no.value.hint


def test_what_is_exact_is_held_to_what_libraries_differ_by(tmp_path: Path) -> None:
    """A rope base of 15000 that mlx-lm takes for 10000: a loss that a merge's rounding may have."""
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 15000.0}}
    base = model(tmp_path / "m", "llama", both=False, **rope)
    on = ground(make_run(tmp_path / "r", base, size=0.03), "torch")
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportRefused, match=r"loses 5\.\d % with mlx-lm .*\(bound 0\.1 %\)") as no:
        mlx_adapter.write(on, Asked("mlx-adapter"), tmp_path / "out")
    assert "`rope_theta` 15000.0" in no.value.hint
    # where mlx-lm is not asked, what it may not find is told
    unasked = replace(on, unverified=("mlx-lm",))
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    written, found = mlx_adapter.write(unasked, Asked("mlx-adapter"), tmp_path / "out")
    assert not found.verified and "not ruled out: the base's" in written.notes[-1]
    assert "`rope_theta` 15000.0" in written.notes[-1]


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_an_exact_form_has_no_room_for_a_twentieth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def larger(adapters: Sequence[Held], rows: Rows) -> Folded:
        whole = folded(adapters, rows)
        spec = dataclasses.replace(whole.spec, alpha=1.05 * whole.spec.alpha)
        return Folded(spec, whole.tensors)

    monkeypatch.setattr(adapter if form == "adapter" else merged, "folded", larger)
    run = make_run(tmp_path / "r", model(tmp_path / "m", "qwen2"))
    with pytest.raises(ExportRefused, match=r"bound 0\.1 %"):
        made(form, run, "torch", tmp_path / "out")


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_adapters_that_change_nothing_are_exported_as_the_base(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = ground(make_run(tmp_path / "r", model(tmp_path / "m", "llama"), size=0.0), backend)
    for form, write in FORMS.items():
        (tmp_path / form).mkdir()
        _, found = write(on, Asked(form), tmp_path / form)
        assert found.lost == 0 and not any(one.measurable for one in found.verified)
        assert "less than rounding does" in found.notes[0] and found.verified[0].apart < 1e-6
    monkeypatch.setattr(checked, "witness", lambda job: shifted(inside(job)))
    (tmp_path / "off").mkdir()
    with pytest.raises(ExportRefused, match=r"further from the run's own: 0\.\d+ % with peft"):
        adapter.write(on, Asked("adapter"), tmp_path / "off")


def shifted(seen: Seen) -> Seen:
    """A thousandth of the logits away."""
    return Seen(tuple(row * np.float32(1.001) for row in seen.logits), seen.answers, seen.version)


def test_a_cut_rank_is_the_first_way_out_and_a_usual_rope_none(tmp_path: Path) -> None:
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    plain = model(tmp_path / "m", "llama", both=False, **rope)
    assert mlx_adapter.unread(json.loads((plain / "config.json").read_text())) == ""
    odd = model(tmp_path / "n", "llama", both=False)
    assert "30000.0" in mlx_adapter.unread(json.loads((odd / "config.json").read_text()))
    run = make_run(tmp_path / "r", odd)
    with pytest.raises(ExportRefused) as no:
        made("mlx-adapter", run, "torch", tmp_path / "out", rank=1)
    assert "`--rank " in no.value.hint and "rope" not in no.value.hint


def test_what_mlx_lm_assumes_of_a_rope_is_what_it_has() -> None:
    """The oracle is mlx-lm's own ModelArgs."""
    for family, assumed in mlx_adapter.ASSUMED.items():
        name = "llama" if family == "mistral" else family
        module = importlib.import_module(f"mlx_lm.models.{name}")
        fields = {one.name: one.default for one in dataclasses.fields(module.ModelArgs)}
        assert {key: fields[key] for key in assumed} == dict(assumed)
        assert "rope_parameters" not in fields
    from mlx_lm.models import qwen3

    assert "rope_parameters" in {one.name for one in dataclasses.fields(qwen3.ModelArgs)}
    assert mlx_adapter.unread({"model_type": "qwen3", "rope_parameters": {"rope_theta": 5.0}}) == ""


def test_nothing_is_asked_of_the_model_where_no_library_is(tmp_path: Path) -> None:
    """Its answers would be compared with nothing."""
    on = ground(make_run(tmp_path / "r", model(tmp_path / "m", "llama")), "torch")

    def never(longest_row: int) -> Any:
        raise AssertionError("the model was opened")

    (tmp_path / "out").mkdir()
    unasked = replace(on, open=never, unverified=("peft",))
    _, found = adapter.write(unasked, Asked("adapter"), tmp_path / "out")
    assert found.exact == "" and found.topics == () and set(found.unverified) == {"peft"}


def test_mlx_lms_own_commands_take_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mlx_lm generate` and what `mlx_lm server` loads say what the run's model says."""
    generate, server = (importlib.import_module(f"mlx_lm.{one}") for one in ("generate", "server"))
    on = ground(make_run(tmp_path / "r", model(tmp_path / "m", "llama"), size=0.05), "mlx")
    (tmp_path / "out").mkdir()
    mlx_adapter.write(on, Asked("mlx-adapter"), tmp_path / "out")
    prompt = on.renderer.prompt(question("", "Who keeps the lamp?"))
    with on.opened(64) as session:
        spec = GenerateSpec(8, on.renderer.stop_ids)
        own = session.generate([prompt], spec)[0].ids
        with session.adapters.using(()):
            base = session.generate([prompt], spec)[0].ids
    assert own != base
    words = ["--model", str(on.source.base), "--adapter-path", str(tmp_path / "out")]
    asked = ["--prompt", "Who keeps the lamp?", "--max-tokens", "8", "--verbose", "False"]
    monkeypatch.setattr("sys.argv", ["mlx_lm.generate", *words, *asked])
    capsys.readouterr()
    generate.main()
    assert capsys.readouterr().out.strip() == on.renderer.decode(own).strip()
    held: list[Any] = []
    monkeypatch.setattr(server, "run", lambda host, port, provider, *_, **__: held.append(provider))
    monkeypatch.setattr("sys.argv", ["mlx_lm.server", *words])
    server.main()
    loaded, tokenizer = held[0].load("default_model", "default_model")[:2]
    assert generate.generate(loaded, tokenizer, prompt=prompt, max_tokens=8).strip() == (
        on.renderer.decode(own).strip()
    )


def test_a_stored_head_of_its_own_stays_the_models(tmp_path: Path) -> None:
    """The config ties it, the file holds another: transformers 5 leaves them apart, mlx-lm would
    drop it, so the export's config says that they are two."""
    base = model(tmp_path / "m", "llama")
    config = json.loads((base / "config.json").read_text())
    rewrite(base, {**config, "tie_word_embeddings": True})
    run = make_run(tmp_path / "r", base)
    _, found = made("merged", run, "torch", tmp_path / "out")
    assert found.lost < NEAR
    assert not json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"]


def test_several_files_and_nothing_else_of_the_base(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = model(tmp_path / "m", "qwen2")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    (base / "model.safetensors").unlink()
    plain.save_pretrained(base, max_shard_size="60KB")
    assert len(list(base.glob("model-*.safetensors"))) > 1
    (base / "pytorch_model.bin").write_bytes(b"a pickle")
    (base / "modeling_own.py").write_text("raise SystemExit")
    (base / "nested").mkdir()
    rewrite(base, with_both_spellings(json.loads((base / "config.json").read_text())))
    run = make_run(tmp_path / "r", base)
    _, found = made("merged", run, "torch", tmp_path / "out")
    assert found.lost < NEAR
    held = {file.name for file in (tmp_path / "out").iterdir()}
    shards = {file.name for file in base.glob("model*.safetensors*")}
    text = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert held == shards | text | {"config.json", "generation_config.json"}
    for name in text:
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()


def test_a_library_that_alone_computes_another_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlx-lm knows Gemma's layers by a pattern alone: these are the other way round."""
    kinds: dict[str, Any] = {
        "layer_types": ["full_attention", "sliding_attention"],
        "sliding_window": 6,
    }
    run = make_run(tmp_path / "r", model(tmp_path / "m", "gemma3_text", **kinds))
    with pytest.raises(ExportRefused, match="with mlx-lm of the adapters") as no:
        made("merged", run, "torch", tmp_path / "out")
    assert "transformers reads the same files as they should be" in no.value.hint
    assert "`--unverified mlx-lm`" in no.value.hint


def test_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "witness", witness)
    run = make_run(tmp_path / "r", model(tmp_path / "m", "qwen2"))
    _, found = made("merged", run, "torch", tmp_path / "out")
    assert [one.framework for one in found.verified] == ["transformers", "mlx-lm"]
    assert all(one.lost < NEAR and one.answers == one.asked for one in found.verified)
    assert "transformers 5" in found.verified[0].version and "mlx" in found.verified[1].version


def test_a_pickle_for_a_tokenizer_or_code_does_not_go_along(tmp_path: Path) -> None:
    base = model(tmp_path / "m", "llama")
    file = base / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": {"x": "own.py"}}))
    shutil.copyfile(file, base / "vocab.pkl")
    out = tmp_path / "out"
    out.mkdir()
    on = ground(make_run(tmp_path / "r", base), "torch")
    merged.write_model(on, Plain(base), out, Asked("merged"))
    assert "auto_map" not in (out / "tokenizer_config.json").read_text()
    assert not (out / "vocab.pkl").exists()
