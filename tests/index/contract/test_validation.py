"""Bad input is refused with a sentence, before anything is written."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from polylens.errors import InvalidInput
from polylens.index import validation
from polylens.index.errors import (
    CollectionNotFound,
    DimensionMismatch,
    InvalidId,
    InvalidMetadata,
    InvalidVector,
)

GOOD = np.eye(8, dtype=np.float32)


def spoiled(row: int, value: float) -> np.ndarray:
    vectors = GOOD.copy()
    vectors[row] = value
    return vectors


BAD_VECTORS = [
    (GOOD[:, :7], DimensionMismatch, r"shape \(8, 7\), expected \(N, 8\)"),
    (np.eye(9, dtype=np.float32)[:8], DimensionMismatch, r"shape \(8, 9\)"),
    (GOOD[0], DimensionMismatch, r"shape \(8,\)"),
    (GOOD[None], DimensionMismatch, r"shape \(1, 8, 8\)"),
    (np.empty((8, 0), np.float32), DimensionMismatch, r"shape \(8, 0\)"),
    (GOOD[:7], DimensionMismatch, "7 vectors for 8 ids"),
    (GOOD.astype(np.int64), InvalidVector, "dtype int64"),
    (GOOD.astype(np.complex64), InvalidVector, "dtype complex64"),
    (GOOD.astype(bool), InvalidVector, "dtype bool"),
    (GOOD.astype(object), InvalidVector, "dtype object"),
    ([[1.0], [1.0, 2.0]], InvalidVector, "array"),
    (spoiled(3, np.nan), InvalidVector, "vector 3 holds NaN or infinity"),
    (spoiled(5, np.inf), InvalidVector, "vector 5 holds NaN or infinity"),
    (spoiled(5, -np.inf), InvalidVector, "vector 5"),
    (spoiled(0, 1e38), InvalidVector, "vector 0 is not a unit"),
    (spoiled(0, 1e-40), InvalidVector, "vector 0 has no direction"),
    (spoiled(7, 0), InvalidVector, "vector 7 has no direction: norm 0"),
    (GOOD.astype(np.float64) * 1e300, InvalidVector, "NaN or infinity"),
    (GOOD * np.float32(1.002), InvalidVector, "normalize=True"),
    (GOOD * np.float32(0.998), InvalidVector, "not a unit vector"),
]


@pytest.mark.parametrize(("vectors", "error", "message"), BAD_VECTORS)
def test_bad_vectors_are_refused_and_nothing_is_written(collection, vectors, error, message):
    collection.upsert(["kept"], GOOD[:1])
    with pytest.raises(error, match=message):
        collection.upsert(list("abcdefgh"), vectors)
    if "ids" not in message:
        with pytest.raises(error):
            collection.search(vectors)
    assert [record.id for record in collection.scan()] == ["kept"]
    assert collection.search(GOOD)[0].ids == ["kept"]


def test_what_is_accepted_is_stored_as_it_came_unless_asked_otherwise(collection):
    almost = GOOD[:1] * np.float32(1.0009)
    collection.upsert(["a"], almost)
    assert collection.get(["a"])[0].vector.tobytes() == almost[0].tobytes()
    collection.upsert(
        ["b", "c"], [[3e30, 4e30, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 3e-5, 4e-5]], normalize=True
    )
    assert collection.get(["b"])[0].vector[:2].tolist() == pytest.approx([0.6, 0.8])
    assert collection.search([[0.0] * 7 + [100.0]], k=1, normalize=True)[0][0].score == pytest.approx(0.8)
    for dtype in (np.float16, np.float64, ">f4"):
        collection.upsert(["d"], GOOD[:1].astype(dtype))
        assert collection.get(["d"])[0].vector.tobytes() == GOOD[0].tobytes()
    collection.upsert(list("abcd"), np.asfortranarray(GOOD)[::2])
    assert collection.get(["b"])[0].vector.tobytes() == GOOD[2].tobytes()


def test_the_callers_array_is_neither_changed_nor_kept(collection):
    vectors = GOOD[:2].copy()
    vectors.flags.writeable = False
    collection.upsert(["a", "b"], vectors, normalize=True)
    vectors = vectors.copy()
    collection.upsert(["c", "d"], vectors)
    vectors[:] = 0
    assert collection.search(GOOD[1:2], k=2)[0].scores.tolist() == [1, 1]


@pytest.mark.parametrize(
    "bad",
    ["", "x" * 257, "鳥" * 86, "nul\0", "\ud800", 7, None, b"bytes", ["x"]],
    ids=lambda value: f"{value!a:.20}",
)
def test_bad_ids_are_refused_everywhere(collection, bad):
    with pytest.raises(InvalidId, match="id 1 "):
        collection.upsert(["fine", bad], GOOD[:2])
    with pytest.raises(InvalidId):
        collection.delete(["fine", bad])
    with pytest.raises(InvalidId):
        collection.get([bad])
    assert collection.count() == 0


def test_ids_at_the_limits(collection):
    longest = ["x" * 256, "鳥" * 85, "'; DROP TABLE row; --", "../../etc/passwd", " ", "\n", "a" * 255 + "%"]
    collection.upsert(longest, GOOD[: len(longest)])
    assert [record.id for record in collection.get(longest)] == longest
    assert collection.delete(longest) == len(longest)
    with pytest.raises(InvalidId, match="one string"):
        collection.get("abc")
    with pytest.raises(InvalidInput, match="65537 ids"):
        collection.get(["x"] * 65_537)


LOOP: dict = {}
LOOP["self"] = LOOP
WIDE: list = []
for _ in range(30):  # 2**30 elements, thirty lists
    WIDE = [WIDE, WIDE]
DEEP: dict = {}
for _ in range(2_000):
    DEEP = {"d": DEEP}


@pytest.mark.parametrize(
    "bad",
    [
        None, [], "text", 3, {1: "x"}, {"a": {2: 3}}, {"a": float("nan")}, {"a": [float("inf")]},
        {"a": 2**63},
        {"a": {1, 2}}, {"a": b"x"}, {"a": (1, 2)}, {"a": np.float32(1)}, {"a": "\ud800"}, {"\ud800": 1},
        {"nul\0": 1}, {"a": "x" * 65_536}, {"a": [0] * 32_768}, LOOP, {"a": WIDE}, DEEP,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_bad_metadata_is_refused_and_nothing_is_written(collection, bad):
    with pytest.raises(InvalidMetadata, match="metadata 1"):
        collection.upsert(["a", "b"], GOOD[:2], [{"fine": 1}, bad])
    assert collection.count() == 0


def test_metadata_at_the_limits_comes_back_equal(collection):
    largest = {"a": "é" * 32_764}  # 65,528 bytes and eight of JSON around them
    numbers = {"a": [2**63 - 1, -(2**63), 1e308, 5e-324, -0.0, 0.1, 1.0], "b": "\0\x1f\u2028\U0001f426\\\"'"}
    deepest: list = []
    for _ in range(31):
        deepest = [deepest]
    everything = [largest, numbers, {"d": deepest}, {"": {"": ""}}, {"a.b": 1, "$c": [{}, []]}]
    collection.upsert(list("abcde"), GOOD[:5], everything)
    for record, metadata in zip(collection.get(list("abcde")), everything, strict=True):
        assert record.metadata == metadata and repr(record.metadata) == repr(metadata)
    with pytest.raises(InvalidMetadata, match="1 metadata objects for 2 ids"):
        collection.upsert(["a", "b"], GOOD[:2], [{}])


@pytest.mark.parametrize("bad", [0, -1, 1_001, 2**70, True, 1.0, "5", None])
def test_bad_numbers_are_refused(collection, bad):
    with pytest.raises(InvalidInput, match="k is .*, expected"):
        collection.search(GOOD, k=bad)
    with pytest.raises(InvalidInput, match="limit is .*, expected"):
        collection.scan(limit=bad if bad != 1_001 else 10_001)
    assert collection.search(GOOD, k=np.int32(3)) is not None


def test_too_many_rows_or_queries_are_refused(collection):
    with pytest.raises(InvalidInput, match="4097 vectors in one call, expected at most 4096"):
        collection.search(np.broadcast_to(GOOD[:1], (4_097, 8)))
    with pytest.raises(InvalidInput, match="at most 65536"):
        collection.upsert(["x"] * 65_537, np.broadcast_to(GOOD[:1], (65_537, 8)))


def test_bad_widths_and_fingerprints_are_refused(shared):
    for dim in (0, -1, 32_769, 2.0, None):
        with pytest.raises(InvalidInput, match="dim is"):
            shared.create("bad", dim=dim, fingerprint="x")
    for fingerprint in ("", "x" * 257, None, 3):
        with pytest.raises(InvalidInput, match="fingerprint is"):
            shared.create("bad", dim=8, fingerprint=fingerprint)
    with pytest.raises(CollectionNotFound):
        shared.open("bad")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(npst.arrays(np.float32, (3, 8), elements=st.floats(width=32)), st.booleans())
def test_whatever_floats_come_only_unit_vectors_pass(array, normalize):
    try:
        vectors = validation.vectors(array, dim=8, limit=10, normalize=normalize)
    except InvalidVector:
        return
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-3)
