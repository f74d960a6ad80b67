"""Both metrics and both dtypes: scores are those of what is stored, in float64, however it is stored."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from polylens.errors import InvalidInput
from polylens.index import Collection, Store, validation
from polylens.index.errors import CollectionExists, InvalidVector

KINDS = [(metric, dtype) for metric in ("cosine", "inner_product") for dtype in ("float32", "float16")]


def vectors_of(metric: str, rows: int, width: int, seed: int) -> np.ndarray:
    """Unit rows, or rows whose lengths go from 1e-4 to 1e4 and of which one is zero."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((rows, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if metric == "inner_product":
        vectors *= 10 ** generator.uniform(-4, 4, (rows, 1))
        vectors[rows // 2] = 0
    return vectors.astype(np.float32)


def naive(queries, stored, k: int):
    """Rows and scores by float64 inner products of what is stored."""
    for query in queries.astype(np.float64):
        scores = (stored.astype(np.float64) @ query).astype(np.float32)
        order = np.lexsort((np.arange(len(stored)), -scores))[:k]
        yield order, scores[order]


@pytest.fixture(params=KINDS, ids=lambda kind: " ".join(kind))
def made(request, tmp_path):
    """A collection of this metric and dtype, 300 rows, and these as they should be stored."""
    metric, dtype = request.param
    vectors = vectors_of(metric, 300, 16, 0)
    with Collection.create(tmp_path / "c", dim=16, fingerprint="f", metric=metric, dtype=dtype) as collection:
        collection.upsert([f"id{n}" for n in range(300)], vectors)
        yield collection, vectors.astype(dtype)


@pytest.mark.parametrize("queries", [1, 5])
def test_search_equals_brute_force_over_what_is_stored(made, queries):
    collection, stored = made
    asked = vectors_of(collection.metric, queries, 16, 1)
    collection.delete(["id7", "id8"])
    left = np.array([n for n in range(300) if n not in (7, 8)])
    for k in (1, 10, 300):
        found = collection.search(asked, k)
        for hits, (rows, scores) in zip(found, naive(asked, stored[left], k), strict=True):
            assert hits.ids == [f"id{left[row]}" for row in rows]
            assert hits.scores.tobytes() == scores.tobytes()
    for hits, (_, scores) in zip(
        collection.range_search(asked, 0.25), naive(asked, stored[left], 300), strict=True
    ):
        assert len(hits) == np.count_nonzero(scores >= 0.25)


def test_what_is_stored_comes_back_also_after_reopening(made):
    collection, stored = made
    asked = vectors_of(collection.metric, 3, 16, 2)
    before = collection.search(asked, 20)
    collection.close()
    with Collection.open(collection.path) as again:
        assert (again.metric, again.dtype) == (collection.metric, collection.dtype)
        assert again._memory.view.segments[0].vectors_ND.dtype == collection.dtype
        for n, record in enumerate(again.get([f"id{n}" for n in range(300)])):
            assert record.vector.dtype == np.float32
            assert record.vector.astype(collection.dtype).tobytes() == stored[n].tobytes()
        for old, new in zip(before, again.search(asked, 20), strict=True):
            assert old.ids == new.ids and old.scores.tobytes() == new.scores.tobytes()


def test_near_duplicates_are_found_by_cosine_whatever_the_lengths(made):
    collection, stored = made
    exact = stored.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    if collection.metric == "inner_product":
        exact /= np.where(norms > 0, norms, 1)[:, None]
    scores = np.triu((exact @ exact.T).astype(np.float32), 1)
    expected = {(f"id{a}", f"id{b}") for a, b in zip(*np.nonzero(scores >= 0.75), strict=True)}
    pairs = collection.near_duplicates(0.75)
    assert expected and {(pair.id_a, pair.id_b) for pair in pairs} == expected


def test_diverse_hits_of_long_vectors(made):
    collection, stored = made
    query = vectors_of(collection.metric, 1, 16, 3)
    plain, diverse = collection.search(query, 5)[0], collection.search(query, 5, diversity=0.2)[0]
    assert len(set(diverse.ids)) == 5
    if collection.metric == "cosine":
        assert diverse.ids[0] == plain.ids[0]


def test_half_the_bytes(tmp_path):
    sizes = []
    for dtype in ("float32", "float16"):
        with Collection.create(tmp_path / dtype, dim=8, fingerprint="f", dtype=dtype) as collection:
            collection.upsert(["a"], vectors_of("cosine", 1, 8, 0))
            with collection._database.reader() as connection:
                sizes += [n for (n,) in connection.execute("SELECT length(vector) FROM vector")]
    assert sizes == [32, 16]


def test_control_scores_of_what_was_sent_are_others(tmp_path):
    """Why rounding matters: scores of the float32 vectors differ from those of the stored float16 ones."""
    vectors, asked = vectors_of("cosine", 50, 16, 0), vectors_of("cosine", 1, 16, 1)
    with Collection.create(tmp_path / "c", dim=16, fingerprint="f", dtype="float16") as collection:
        collection.upsert([f"id{n}" for n in range(50)], vectors)
        (hits,) = collection.search(asked, 50)
    (_, scores), (_, rounded) = next(naive(asked, vectors, 50)), next(naive(asked, vectors.astype("f2"), 50))
    assert hits.scores.tobytes() == rounded.tobytes() != scores.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lengths_that_are_refused(tmp_path, dtype):
    with Collection.create(
        tmp_path / "c", dim=4, fingerprint="f", metric="inner_product", dtype=dtype
    ) as collection:
        good = np.array([[0, 0, 0, 1e4], [0, 0, 0, 0], [1e-30, 0, 0, -5], [60, 70, 80, 90]], np.float32)
        collection.upsert(list("abcd"), good)
        for bad, message in (
            (70_000, "is too long.*norm 70000, expected at most 10000"),  # beyond the largest float16
            (1e4 * 1.001, "is too long"),
            (1e38, "is too long"),
            (np.inf, "holds NaN or infinity"),
            (np.nan, "holds NaN or infinity"),
        ):
            vectors = good.copy()
            vectors[2, 1] = bad
            for call in (
                lambda v=vectors: collection.upsert(list("efgh"), v),
                lambda v=vectors: collection.search(v),
            ):
                with pytest.raises(InvalidVector, match=f"vector 2 {message}"):
                    call()
        assert collection.count() == 4
        with pytest.raises(InvalidVector, match="has no direction"):
            collection.upsert(["z"], good[1:2], normalize=True)
        collection.upsert(["z"], [[3e30, 4e30, 0, 0]], normalize=True)
        assert collection.get(["z"])[0].vector[:2] == pytest.approx([0.6, 0.8], abs=1e-3)


def test_kinds_are_checked_when_made_and_when_made_again(tmp_path):
    for options in ({"metric": "euclid"}, {"dtype": "int8"}, {"metric": None}, {"dtype": np.float16}):
        with pytest.raises(InvalidInput, match=next(iter(options))):
            Collection.create(tmp_path / "c", dim=4, fingerprint="f", **options)
    assert not (tmp_path / "c").exists()
    with Store(tmp_path) as store:
        store.create("a", dim=4, fingerprint="f", metric="inner_product", dtype="float16")
        same = store.create(
            "a", dim=4, fingerprint="f", metric="inner_product", dtype="float16", exist_ok=True
        )
        assert same is store.get("a")
        with pytest.raises(CollectionExists, match="metric inner_product, not cosine"):
            store.create("a", dim=4, fingerprint="f", exist_ok=True)
        store.get("a").close()
        with pytest.raises(CollectionExists, match="dtype float16, not float32"):
            Collection.create(tmp_path / "a", dim=4, fingerprint="f", metric="inner_product", exist_ok=True)


FLOATS = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e38, -1e38, 1e-45, 1e-38, 6e4, 7e4, np.inf, -np.inf, np.nan]),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One collection of each kind with one known item, for all examples."""
    known = np.eye(4, dtype=np.float32)[:1]
    collections = []
    for metric, dtype in KINDS:
        path = tmp_path_factory.mktemp("kinds") / "c"
        collections.append(Collection.create(path, dim=4, fingerprint="f", metric=metric, dtype=dtype))
        collections[-1].upsert(["known"], known)
    yield collections
    for collection in collections:
        collection.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(npst.arrays(np.float32, (2, 4), elements=FLOATS), st.sampled_from(range(len(KINDS))), st.booleans())
def test_whatever_floats_come_they_are_stored_and_found_or_refused_whole(kept, array, kind, normalize):
    """Subnormal, huge, infinite: refused with nothing written, or searched exactly ever after."""
    collection = kept[kind]
    metric, dtype = KINDS[kind]
    collection.delete(["x", "y"])
    try:
        collection.upsert(["x", "y"], array, normalize=normalize)
    except InvalidVector:
        assert [record.id for record in collection.scan()] == ["known"]
        assert collection.search(np.eye(4, dtype=np.float32)[:1])[0].ids == ["known"]
        return
    records = collection.scan()
    stored = np.array([record.vector for record in records])
    assert np.isfinite(stored).all()
    if not normalize:
        assert stored[1:].astype(dtype).tobytes() == array.astype(dtype).tobytes()
    asked = np.eye(4, dtype=np.float32)[:1]
    (hits,), ((rows, scores),) = collection.search(asked), naive(asked, stored, 10)
    assert hits.ids == [records[row].id for row in rows]
    assert hits.scores.tobytes() == scores.tobytes()


@settings(max_examples=60, deadline=None)
@given(npst.arrays(np.float32, (3, 8), elements=FLOATS), st.booleans())
def test_inner_product_takes_exactly_the_finite_and_not_too_long(array, normalize):
    with np.errstate(all="ignore"):
        norms = np.sqrt(np.square(array.astype(np.float64)).sum(axis=1))
    fine = (norms <= validation.MAX_NORM).all()
    if normalize:
        fine = (np.isfinite(norms) & (norms > validation.MIN_NORM)).all()
    try:
        vectors = validation.vectors(array, dim=8, limit=3, normalize=normalize, metric="inner_product")
    except InvalidVector:
        assert not fine
        return
    assert fine and np.isfinite(vectors.astype(np.float16)).all()
