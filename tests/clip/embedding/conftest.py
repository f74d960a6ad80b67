"""Jobs of a toy encoder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .toy_job import Job


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """job(sources…, **settings): a job whose output is a new folder."""
    count = iter(range(100))
    return lambda *sources, **settings: Job(tmp_path / f"out{next(count)}", sources, **settings)
