"""What Ray calls on each machine: units are done once, waited for, and refused for another model."""

import threading
from pathlib import Path

import pytest
from polylens.clip.embedding import on_ray
from polylens.clip.embedding.on_ray import Actor
from polylens.clip.embedding.plan import claim
from polylens.errors import InvalidInput

from .ray_job import MODEL, UNITS, photos, planned


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos")


def test_an_actor_refuses_another_model_and_does_a_unit_once(tmp_path: Path, folder: Path) -> None:
    plan = planned(tmp_path / "out", folder)
    with pytest.raises(InvalidInput, match="give --dtype"):
        Actor(str(plan.out), {"name": "mini", "dtype": "bfloat16"}, 0)
    actor = Actor(str(plan.out), MODEL, 0)
    told = actor({"unit": list(range(len(plan)))})
    assert told["error"] == [""] * UNITS and sum(told["rows"]) == 2 * UNITS - 2
    assert actor({"unit": [3]})["rows"] == [told["rows"][3]]


def test_a_unit_that_a_dying_process_holds_is_waited_for(tmp_path: Path, folder: Path, monkeypatch) -> None:
    plan = planned(tmp_path / "out", folder)
    actor = Actor(str(plan.out), MODEL, 0)
    release = claim(plan.out, 0)
    monkeypatch.setattr(on_ray, "HELD_SECONDS", 0.5)
    assert actor({"unit": [0]})["error"] == ["another process has it"]
    monkeypatch.setattr(on_ray, "HELD_SECONDS", 60.0)
    threading.Timer(0.3, release).start()
    assert actor({"unit": [0]})["error"] == [""]
