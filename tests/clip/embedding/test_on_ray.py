"""A job on a local Ray cluster of several nodes gives the files of a job without Ray, also if a node dies."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from polylens.clip.embedding.on_ray import Resources, run_on_ray
from polylens.clip.embedding.run import run_job
from polylens.clip.load import load
from ray.cluster_utils import Cluster

from .ray_job import MODEL, UNITS, photos, planned
from .toy_job import digests

# Ray warns of its own ways, and leaves sockets to the end of the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
STORE = 80 << 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A head that does no work; the tests add nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")  # floats may depend on how many threads share a sum
        made = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos")


@pytest.fixture
def alone(tmp_path: Path, folder: Path) -> dict[str, str]:
    """What a job without Ray gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_job(planned(tmp_path / "alone", folder), load(**MODEL), workers=0)
    torch.set_num_threads(threads)
    return digests(tmp_path / "alone")


@pytest.mark.slow
def test_with_a_node_killed_in_the_middle_the_files_are_the_same(
    cluster: Cluster, tmp_path: Path, folder: Path, alone: dict[str, str]
) -> None:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(3)]
    plan = planned(tmp_path / "ray", folder)
    told: list[tuple[int, int, int]] = []
    killed: list[tuple[int, int]] = []

    def kill() -> None:
        """Takes a node away while units of every actor are under way."""
        while len(told) < 3:
            time.sleep(0.02)
        before = len(told)
        cluster.remove_node(nodes[1], allow_graceful=False)
        killed.append((before, len(told)))

    def report(*counts: int) -> None:
        told.append(counts)
        time.sleep(0.2)  # results are taken slowly, so that the node dies long before the end

    killer = threading.Thread(target=kill)
    killer.start()
    manifest = run_on_ray(plan, MODEL, Resources(cpus=1), report)
    killer.join()
    assert manifest["rows"] == 2 * UNITS - 2 and manifest["rejected"] == 2
    assert len(told) == UNITS and sum(samples for samples, _, _ in told) == 2 * UNITS
    assert killed[0][0] < UNITS and len(ray.nodes()) == 4
    until = time.monotonic() + 60
    while sum(node["Alive"] for node in ray.nodes()) == 4 and time.monotonic() < until:
        time.sleep(0.2)  # Ray notices by heartbeats
    assert sum(node["Alive"] for node in ray.nodes()) == 3
    assert digests(tmp_path / "ray") == alone
    run_on_ray(plan, MODEL, Resources(cpus=1), lambda *_: pytest.fail("nothing is left to do"))
