"""The automatic choice of an index, and of the segments to seal or merge."""

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Collection, policy
from polylens.index.memory import View
from polylens.index.policy import Policy, around, due, everything, factory, unsealed
from polylens.index.sealed import Sealed, Stamp
from polylens.index.segment import Segment

GIB = 2**30


def segment(rows: int, sealed: str | None = None, dead: int = 0) -> Segment:
    """Rows that take no memory; only their number matters here."""
    live = None
    if dead:
        live = np.ones(rows, np.bool_)
        live[:dead] = False
    files = None if sealed is None else Sealed(1, sealed, Stamp(0, 0), Stamp(0, 0), {}, None)
    ids = np.broadcast_to(np.int64(1), rows)
    return Segment(np.broadcast_to(np.float32(0), (rows, 64)), ids, live, rows - dead, 1.0, files)


def view(*segments: Segment) -> View:
    return View(segments, 0)


def test_small_segments_have_no_index_and_large_ones_have_ivf():
    assert factory(Policy(), 1_000, 512) == factory(Policy(), policy.INDEX_ROWS - 1, 512) == "Flat"
    assert factory(Policy(), 100_000, 512).startswith("IVF1024,")
    assert factory(Policy(), 1_000_000, 768).startswith("IVF4096,")


def test_less_memory_means_coarser_codes():
    kinds = [
        factory(Policy(memory_bytes=limit), 1_000_000, 768) for limit in (8 * GIB, 2 * GIB, GIB, GIB // 8)
    ]
    assert kinds == ["IVF4096,Flat", "IVF4096,SQfp16", "IVF4096,SQ8", "OPQ64,IVF4096,PQ64"]
    assert factory(Policy(memory_bytes=1), 1_000_000, 7) == "OPQ1,IVF4096,PQ1"


def test_a_latency_target_asks_for_a_graph_if_there_is_room():
    assert factory(Policy(latency_ms=0.001), 10_000_000, 768) == "HNSW32"
    assert factory(Policy(latency_ms=0.001, memory_bytes=GIB), 10_000_000, 768).startswith("OPQ")
    assert factory(Policy(latency_ms=1_000), 10_000_000, 768).startswith("IVF")


def test_a_users_choice_holds_where_it_can_be_trained():
    asked = Policy("IVF1024,Flat")
    assert factory(asked, 39 * 1_024, 64) == "IVF1024,Flat" and factory(asked, 39 * 1_024 - 1, 64) == "Flat"
    assert factory(Policy("OPQ8,IVF16,PQ8"), 39 * 256 - 1, 64) == "Flat"
    assert factory(Policy("HNSW32"), 5, 64) == "HNSW32"


@pytest.mark.parametrize(
    "index",
    [
        *(
            "",
            "nonsense",
            "IVF16,PQ7",
            "IDMap,Flat",
            "IVF16,PQ8,RFlat",
            "PQ8",
            "IVF0,Flat",
            "NSG16",
            "x" * 200,
        ),
        *("LSH", "IVF99999999999,Flat", "Flät", None, 3),
    ],
)
def test_what_faiss_or_a_selection_does_not_know_is_refused(collection, index, tmp_path):
    with pytest.raises(InvalidInput, match="index"):
        collection.configure(index)
    with pytest.raises(InvalidInput):
        Collection.create(tmp_path / "new", dim=8, fingerprint="f", index=index)
    assert collection.info().index == "auto" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("aims", [{"memory_bytes": 0}, {"latency_ms": -1}, {"latency_ms": float("nan")}])
def test_senseless_aims_are_refused(collection, aims):
    with pytest.raises(InvalidInput, match="expected a positive number"):
        collection.configure(**aims)


def test_the_configuration_is_kept(collection):
    collection.configure("HNSW16", memory_bytes=GIB)
    path = collection.path
    collection.close()
    with Collection.open(path) as again:
        assert again.info().index == "HNSW16" and again._policy == Policy("HNSW16", GIB)


def test_sealing_waits_until_it_pays():
    assert due(Policy(), view(segment(policy.INDEX_ROWS - 1))) is None
    assert due(Policy(), view(segment(policy.INDEX_ROWS))) == range(1)
    large = segment(10 * policy.SEAL_ROWS, "IVF1024,Flat")
    assert due(Policy(), view(large, segment(policy.SEAL_ROWS - 1))) is None
    assert due(Policy(), view(large, segment(policy.SEAL_ROWS))) == range(1, 2)


def test_a_seal_takes_in_neighbours_up_to_twice_its_size():
    parts = [segment(900, "Flat"), segment(100, "Flat"), segment(60, "Flat"), segment(40)]
    assert around(parts, range(3, 4)) == range(1, 4)
    assert around([segment(300, "Flat"), *parts[1:]], range(3, 4)) == range(4)
    # A set-aside segment in the middle takes in sealed ones of both sides, and no unsealed one behind it.
    parts = [segment(900, "Flat"), segment(100), segment(150, "Flat"), segment(50)]
    assert around(parts, range(1, 2)) == range(1, 3)


def test_wasteful_outdated_and_many_segments_are_due():
    assert due(Policy(), view(segment(1_000, "Flat", dead=200))) is None
    assert due(Policy(), view(segment(9_000, "Flat"), segment(1_000, "Flat", dead=201))) == range(1, 2)
    assert due(Policy("HNSW32"), view(segment(1_000, "Flat"))) == range(1)
    assert due(Policy(), view(segment(1_000, "HNSW32"))) is None
    assert due(Policy(), view(segment(policy.INDEX_ROWS, "Flat"))) == range(1)
    sizes = [3 * 4**n for n in range(8, -1, -1)]
    assert due(Policy("Flat"), view(*(segment(size, "Flat") for size in sizes))) == range(7, 9)
    assert due(Policy("Flat"), view(*(segment(size, "Flat") for size in sizes[1:]))) is None


def test_unsealed_rows_are_found_wherever_they_lie():
    assert unsealed([]) == range(0)
    assert unsealed([segment(5, "Flat"), segment(2), segment(3, "Flat"), segment(4)]) == range(3, 4)
    assert unsealed([segment(5), segment(2), segment(3, "Flat"), segment(4)]) == range(2)


def test_everything_is_one_clean_sealed_segment():
    assert everything(view()) is everything(view(segment(5, "Flat"))) is None
    for parts in ([segment(5)], [segment(5, "Flat", dead=1)], [segment(5, "Flat"), segment(5, "Flat")]):
        assert everything(view(*parts)) == range(len(parts))
