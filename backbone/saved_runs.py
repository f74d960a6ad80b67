"""What a run leaves so that it can go on: checkpoints and the settings it was started with."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import torch

from ..errors import InvalidInput
from ..whole import write_whole

KEEP = 2


def newest_checkpoint(out: Path) -> Path | None:
    """The checkpoint of the latest step in a run's folder."""
    found = [
        (int(m[1]), p)
        for p in (out / "checkpoints").glob("*.pt")
        if (m := re.fullmatch(r"step-(\d+)", p.stem))
    ]
    return max(found)[1] if found else None


def write_checkpoint(out: Path, step: int, state: dict[str, Any]) -> None:
    """Nothing; the state is on disk under its step before older ones go: the two newest are kept."""
    folder = out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"step-{step:08d}.pt", lambda path: torch.save(state, path), sync=True)
    for old in sorted(folder.glob("step-*.pt"))[:-KEEP]:
        old.unlink()


def refuse_others(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Nothing, or `InvalidInput` with the names of the settings in which a resumed run differs."""
    if changed := [name for name in now if before.get(name) != now[name]]:
        raise InvalidInput(
            f"the run was started with other settings ({', '.join(changed)}); resume needs the same"
        )


def read_settings(
    path: Path, record: type[Any], overrides: dict[str, Any], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a TOML file for a dataclass, `overrides` (None: not given) over them.

    Settings that the record does not have, or that it needs and nobody gave, are named in the error. Those of
    `optional` need no value although the record has no default for them.
    """
    fields = dataclasses.fields(record)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"cannot read the training file {path.name}: {error}") from error
    known = {field.name for field in fields}
    if unknown := sorted(set(values) - known):
        raise InvalidInput(
            f"{path.name}: unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    values |= {name: value for name, value in overrides.items() if value is not None}
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    if missing := sorted(required - set(values) - set(optional)):
        raise InvalidInput(f"{path.name}: settings missing: {', '.join(missing)}")
    return values
