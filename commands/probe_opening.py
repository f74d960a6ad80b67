"""Opens trained probes for the commands: where a backbone lies, and probes to serve by name."""

from collections.abc import Sequence
from pathlib import Path

from ..backbone.probe.probe import Classifier, read_about
from ..clip.load import MINI
from ..errors import InvalidInput

__all__ = ["open_probe", "open_probes", "path_of"]


def path_of(model: str) -> str:
    """What the backbone is loaded from."""
    return str(MINI) if model == "mini" else model


def open_probe(
    file: Path, model: str | None = None, *, dtype: str = "auto", device: str = "auto"
) -> Classifier:
    """The classifier of a probe's file; `model` is its backbone where it lies elsewhere by now."""
    return Classifier.open(file, path_of(model or read_about(file).model), dtype=dtype, device=device)


def open_probes(named: Sequence[str], devices: Sequence[str], dtype: str) -> dict[str, list[Classifier]]:
    """By name, a classifier on each device. "NAME=FILE" names a probe; a plain file is called by its stem."""
    found: dict[str, list[Classifier]] = {}
    for text in named:
        name, _, file = text.rpartition("=")
        name = name or Path(file).stem
        if name in found:
            raise InvalidInput(f"two probes are called {name!r}; name them: --probe NAME=FILE")
        found[name] = [open_probe(Path(file), dtype=dtype, device=device) for device in devices]
    return found
