"""`mindprint doctor`: what works on this machine, found out before a run depends on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mindprint.cli.options import Json

Clear = Annotated[bool, typer.Option("--clear-cache", help="empty the cache of model answers")]
Probe = Annotated[bool, typer.Option("--probe/--no-probe", help="compute a little on every device")]


def doctor(probe: Probe = True, clear_cache: Clear = False, as_json: Json = False) -> None:
    """Show versions, machine and backends, and try each device on a small model."""
    from mindprint.cli import output
    from mindprint.cli.cached import clear
    from mindprint.errors import Exit

    if clear_cache:
        output.note(clear())
    found = examine(probe)
    if as_json:
        output.result(found)
    else:
        output.lines(told(found))
    if not any(works(backend) for backend in found["backends"].values()):
        raise typer.Exit(Exit.UNAVAILABLE)


def examine(probe: bool) -> dict[str, Any]:
    """Everything that doctor says, as plain data."""
    from dataclasses import asdict

    from backends import available, available_engines
    from mindprint.cli import cached, machine
    from mindprint.cli.shipped import MODEL
    from mindprint.versions import versions

    cache = cached.described()  # first: where it cannot be, nothing is probed
    found: dict[str, Any] = {}
    for name, availability in available().items():
        found[name] = machine.described(availability)
        devices = availability.devices if probe and availability.ok else ()
        found[name]["probes"] = {device: machine.probe(name, device, MODEL) for device in devices}
    if found["mlx"]["ok"]:
        from backends.mlx.blas import loaded

        found["mlx"]["blas"] = asdict(loaded())
    for name, availability in available().items():
        if availability.ok:
            found[name]["cpu"] = _products(name)
    return {
        "versions": versions(),
        "machine": asdict(machine.machine()),
        "backends": found,
        "engines": {name: machine.described(one) for name, one in available_engines().items()},
        "choice": _choice(),
        "cache": cache,
    }


def _products(name: str) -> dict[str, Any]:
    """How a backend multiplies on the CPU: the last digits of a result go by both."""
    import importlib

    blas = importlib.import_module(f"backends.{name}.blas")
    return {"threads": blas.threads(), "blas": blas.version()}


def _choice() -> dict[str, str]:
    from backends import choose
    from backends.errors import BackendUnavailable

    try:
        chosen = choose()
    except BackendUnavailable as error:
        return {"name": "", "because": error.what}
    return {"name": chosen.name, "because": chosen.because}


def works(backend: dict[str, Any]) -> bool:
    """Available, and at least one of its devices computes as it should."""
    probes = backend["probes"]
    return backend["ok"] and (
        not probes or any(all(check["ok"] for check in checks) for checks in probes.values())
    )


def told(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The same as lines: key, value, note."""
    from mindprint.cli import cached
    from mindprint.report.words import size

    machine = found["machine"]
    versions = [f"{name} {version}" for name, version in found["versions"].items()]
    lines = [
        ("versions", ", ".join(versions), ""),
        ("machine", machine["system"], f"{machine['processor']}, {machine['cores']} cores"),
        ("memory", size(machine["memory"]), f"{size(machine['free'])} free"),
    ]
    for name, backend in found["backends"].items():
        lines += _backend(name, backend)
    lines += [_works(name, engine) for name, engine in found["engines"].items()]
    chosen = found["choice"]
    lines.append(("auto", chosen["name"] or "none", chosen["because"]))
    lines.append(cached.told(found["cache"]))
    if machine["system"].startswith("Darwin"):
        why = "a sleeping display or a closed lid can end long work on the GPU"
        lines.append(("long runs", "caffeinate -s mindprint train ...", why))
    return lines


def _works(name: str, one: dict[str, Any]) -> tuple[str, str, str]:
    """Whether a backend or an engine works here, and if not, what would help."""
    hint = f"; run `{one['hint']}`" if one["hint"] and not one["ok"] else ""
    return name, "works" if one["ok"] else "not here", f"{one['reason']}{hint}"


def _backend(name: str, backend: dict[str, Any]) -> list[tuple[str, str, str]]:
    from mindprint.report.words import several

    lines = [_works(name, backend)]
    if "blas" in backend:
        lines.append(
            ("", backend["blas"]["name"], f"matrix products: {backend['blas']['because']}")
        )
    if "cpu" in backend:
        shared = several(backend["cpu"]["threads"], "thread")
        lines.append(("", backend["cpu"]["blas"], f"on the CPU, with {shared}"))
    for device, checks in backend["probes"].items():
        for check in checks:
            verdict = "good" if check["ok"] else "BAD"
            lines.append(("", f"{device} {verdict}", f"{check['name']}: {check['detail']}"))
    return lines
