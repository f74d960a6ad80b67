"""The planner: recall at every selectivity, effort on request, a scan where an index would miss."""

import numpy as np
import pytest
from polylens.index import Collection, Equal, In, approximate, plan, scan, tune
from polylens.index.faiss_index import Kind
from polylens.index.plan import Effort, Probe

WIDTH, ROWS = 24, 12_000
SHARES = {0.01: [0], 0.1: list(range(10)), 0.5: list(range(50)), 0.9: list(range(90))}
KINDS = ["IVF64,Flat", "HNSW16", "IVF64,SQ8", "OPQ8,IVF32,PQ8x4"]
IVF, HNSW = Kind("nprobe", 1_024, True, 0), Kind("ef_search", 2_048, True, 64)


def clustered(rows: int, seed: int) -> np.ndarray:
    """Unit vectors around 200 centres, as embeddings of pictures lie."""
    centres = np.random.default_rng(0).standard_normal((200, WIDTH))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 200, rows)] + 0.7 * generator.standard_normal((rows, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def sealed(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "c"
    with (
        pytest.MonkeyPatch.context() as patch,
        Collection.create(path, dim=WIDTH, fingerprint="f", index=request.param) as made,
    ):
        patch.setattr(tune, "QUERIES", 100)
        groups = np.random.default_rng(3).integers(0, 100, ROWS).tolist()
        made.upsert([f"id{n}" for n in range(ROWS)], clustered(ROWS, 1), [{"group": g} for g in groups])
        made.seal()
        assert made.info().segments[0].factory == request.param
        yield made


def recall(collection, queries, condition=None, k=10, effort=plan.USUAL):
    found = collection.search(queries, k, condition, effort=effort)
    exact = collection.search(queries, k, condition, effort=Effort(exact=True))
    return np.mean([len({*a.ids} & {*b.ids}) / len(b.ids) for a, b in zip(found, exact, strict=True)])


@pytest.fixture
def indexes_only(monkeypatch):
    """As if an index were always cheaper than a scan, which at these sizes it is not."""
    monkeypatch.setattr(plan, "scan_cost", lambda *arguments: np.inf)


@pytest.mark.parametrize("planned", [True, False], ids=["as planned", "indexes only"])
@pytest.mark.parametrize("share", SHARES)
def test_recall_holds_at_every_selectivity(sealed, share, planned, request):
    if not planned:
        request.getfixturevalue("indexes_only")
    assert recall(sealed, clustered(60, 2), In("group", tuple(SHARES[share]))) >= 0.95


@pytest.mark.usefixtures("indexes_only")
@pytest.mark.parametrize("k", [1, 10, 40, 200])
def test_recall_holds_for_other_numbers_of_hits(sealed, k):
    assert recall(sealed, clustered(60, 2), k=k) >= 0.95


@pytest.mark.usefixtures("indexes_only")
def test_control_a_filter_that_does_not_scale_the_knob_costs_recall(sealed, monkeypatch):
    if not sealed.info().index.startswith(("IVF64,Flat", "HNSW")):
        pytest.skip("the other kinds fetch enough, and are scanned where they do not")
    monkeypatch.setattr(plan, "scaled", lambda base, kind, share: 1)
    monkeypatch.setattr(approximate, "short", lambda known_QC, count: np.empty(0, np.int64))
    assert recall(sealed, clustered(60, 2), Equal("group", 0)) < 0.95


@pytest.mark.usefixtures("indexes_only")
def test_effort_replaces_what_was_tuned(sealed):
    queries = clustered(60, 2)
    knob = sealed.info().segments[0].factory.startswith("HNSW")
    little = Effort(ef_search=1) if knob else Effort(nprobe=1)
    much = Effort(ef_search=2_000) if knob else Effort(nprobe=64)
    low, high = recall(sealed, queries, effort=little), recall(sealed, queries, effort=much)
    assert low < high
    assert high >= 0.97 if "PQ" in sealed.info().index else high == pytest.approx(1, abs=0.001)


@pytest.mark.usefixtures("indexes_only")
def test_hits_have_exact_scores_in_exact_order(sealed, brute_force):
    queries, vectors = clustered(20, 2), clustered(ROWS, 1)
    for query, hits in zip(queries, sealed.search(queries, 10), strict=True):
        rows = [int(id[2:]) for id in hits.ids]
        scores = (vectors[rows].astype(np.float64) @ query).astype(np.float32)
        assert hits.scores.tobytes() == scores.tobytes() and (np.diff(hits.scores) <= 0).all()


@pytest.mark.usefixtures("indexes_only")
def test_where_an_index_finds_too_few_the_rows_are_scanned(sealed):
    (segment,) = sealed._memory.view.segments
    mask = np.zeros(ROWS, np.bool_)
    mask[np.argsort(clustered(ROWS, 1) @ clustered(1, 2)[0])[:100]] = True  # the rows farthest from the query
    part = scan.Part(segment, mask, 0)
    query, position = approximate.proposed(part, Probe(1, 10), clustered(1, 2), 10)
    assert len(query) >= 10 and mask[position].all()


def test_few_rows_are_scanned_and_many_are_not(sealed):
    (segment,) = sealed._memory.view.segments
    assert plan.probe(segment, 5, 1, 10, plan.USUAL) is None
    assert plan.probe(segment, ROWS, 1, 10, Effort(exact=True)) is None


def test_costs_decide_at_a_million_rows():
    rows = 1_000_000
    for kind, setting in ((IVF, 16), (HNSW, 100)):
        for queries in (1, 64):
            assert plan.cost(kind, rows, setting) < plan.scan_cost(rows, rows, queries)
            assert plan.cost(kind, rows, 100 * setting) > plan.scan_cost(rows, rows // 100, queries)


def test_the_knob_grows_with_the_number_of_hits():
    tuned = {"nprobe": 8, "nprobe_wide": 20}
    assert [plan.tuned(IVF, tuned, k) for k in (1, 10, 55, 100, 1_000)] == [8, 8, 14, 20, 200]
    assert plan.tuned(HNSW, {}, 10) == 128


@pytest.mark.parametrize(
    "effort", [{"nprobe": 0}, {"ef_search": -1}, {"nprobe": 2.5}, {"exact": 1, "nprobe": True}]
)
def test_a_senseless_effort_is_refused(effort):
    with pytest.raises(ValueError, match="expected"):
        Effort(**effort)
