"""`doctor` on this machine: what is here, tried on the model that ships."""

from __future__ import annotations

import pytest

from mindprint.cli import doctor
from tests.cli.conftest import Mindprint


def test_without_a_probe(mindprint: Mindprint) -> None:
    found = mindprint("doctor", "--no-probe", "--json")
    assert found.code == 0
    backends = found.tree["backends"]
    assert backends["torch"]["ok"] and backends["mlx"]["ok"]
    assert backends["mlx"]["blas"]["name"] and backends["mlx"]["blas"]["because"]
    for backend in backends.values():
        assert backend["cpu"]["threads"] >= 1 and backend["cpu"]["blas"]
    assert found.tree["machine"]["memory"] > 0 and found.tree["versions"]["torch"]
    said = mindprint("doctor", "--no-probe")
    assert "auto" in said.out and "matrix products" in said.out
    assert said.out.count("on the CPU, with ") == 2
    assert found.tree["engines"]["trl"]["ok"] and "TRL 1." in said.out


def test_every_device_is_tried(mindprint: Mindprint) -> None:
    found = mindprint("doctor", "--json")
    assert found.code == 0, found.out
    for backend in found.tree["backends"].values():
        assert backend["probes"].keys() == set(backend["devices"])
        for checks in backend["probes"].values():
            assert all(check["ok"] for check in checks), checks


@pytest.mark.parametrize(
    ("ok", "good", "code"), [(True, True, 0), (True, False, 69), (False, True, 69)]
)
def test_no_backend_that_works_is_69(
    mindprint: Mindprint, monkeypatch: pytest.MonkeyPatch, ok: bool, good: bool, code: int
) -> None:
    found = doctor.examine(probe=False)
    check = {"name": "the same product twice", "ok": good, "detail": "they differ by 1.0e-02"}
    for backend in found["backends"].values():
        backend.update(ok=ok, probes={"cpu": [check]} if ok else {})
    monkeypatch.setattr(doctor, "examine", lambda probe: found)
    said = mindprint("doctor")
    assert said.code == code
    assert ("BAD" in said.out) == (not good and ok)
