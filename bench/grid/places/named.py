"""A place by its name, as `--on` and `place=` take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bench.errors import UsageError, unknown
from bench.grid.places.base import Place
from bench.grid.places.local import Local, checked_share
from bench.question.machine import Machine

CPU = Machine("cpu")
KINDS = ("local", "dask", "ray", "slurm")
FORMS = "local, dask, dask://HOST:PORT, dask:///SCHEDULER-FILE, ray, ray://HOST:PORT, slurm, slurm://PARTITION?time=04:00:00&mem=12G"


def place_of(
    name: str = "local",
    slots: int | None = None,
    machine: Machine = CPU,
    per_gpu: int = 1,
    memory: int | None = None,
    is_mixed: bool = False,
) -> Place:
    """The place of a name, with so many trials at once (by default what is there), `per_gpu` of them on each GPU.

    `machine` is what each trial computes on and `memory` the bytes that it may take, for places that ask for them; with `is_mixed` workers
    may have other packages than the driver. Nothing is started or connected yet. Raises: UsageError.
    """
    kind, _, rest = name.partition("://")
    if kind not in KINDS:
        raise unknown("place", kind, KINDS)
    if kind == "local":
        if rest:
            raise UsageError(f"the place local is this machine and has no address, got {name!r}; known forms: {FORMS}")
        return Local.of(slots, machine, per_gpu)
    if ":" in machine.device:
        raise UsageError(f"device {machine.device} names a GPU of one machine, and {kind} has several; give cuda, and each trial gets one")
    given: dict[str, Any] = {"slots": slots, "machine": machine, "per_gpu": checked_share(per_gpu), "is_mixed": is_mixed}
    if kind == "slurm":
        from bench.grid.places.slurm import Slurm

        partition, options = _queried(name)
        return Slurm(partition, options, memory=memory, **given)
    if "?" in rest:
        raise UsageError(f"the place {kind} has no options, got {name!r}; known forms: {FORMS}")
    if kind == "ray":
        from bench.grid.places.ray import Ray

        return Ray(rest or None, **given)
    from bench.grid.places.dask import Dask

    if rest.startswith("/"):
        return Dask(file=rest, **given)
    return Dask(_address(name, rest) if rest else None, **given)


def _address(name: str, rest: str) -> str:
    """The address that dask knows a scheduler by. Raises: UsageError."""
    protocol, _, where = rest.rpartition("://")
    try:
        port = urlsplit(f"//{where}").port
    except ValueError:
        port = None
    if port is None:
        raise UsageError(f"the scheduler of {name!r} needs a host and a port, such as dask://host:8786; known forms: {FORMS}")
    return f"{protocol or 'tcp'}://{where.rstrip('/')}"


def _queried(name: str) -> tuple[str, Mapping[str, str]]:
    """Partition and options of `slurm://PARTITION?key=value&...`. Raises: UsageError on an option given twice or without a value."""
    rest, _, query = name.partition("://")[2].partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        pairs = parse_qsl(part, keep_blank_values=True)
        key, value = pairs[0] if pairs else (part, "")
        if not value or key in options:
            raise UsageError(f"options of {name!r} are key=value with an & between two, each once, got {part!r}")
        options[key] = value
    return rest.strip("/"), options
