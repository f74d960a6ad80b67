"""A small job for the tests of Ray: two pictures for each unit."""

from pathlib import Path

from polylens.clip.embedding.plan import Plan
from polylens.clip.embedding.run import plan_of
from polylens.clip.embedding.settings import Settings
from polylens.clip.load import load

from .toy_job import picture

MODEL = {"name": "mini"}
UNITS = 24


def photos(root: Path) -> Path:
    """The folder, with two pictures for each unit, and two files among them that are none."""
    root.mkdir()
    for i in range(2 * UNITS - 2):
        (root / f"{i:03}.png").write_bytes(picture(i))
    (root / "a.jpg").write_bytes(b"")
    (root / "z.png").write_bytes(picture(1)[:40])
    return root


def planned(out: Path, folder: Path) -> Plan:
    return plan_of(load(**MODEL), [str(folder)], out, Settings(unit_size=2, batch_size=2))
