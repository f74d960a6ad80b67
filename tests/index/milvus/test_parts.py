"""What makes Milvus answer as we do: addresses, names, encodings, windows of versions; what is refused."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polylens.errors import InvalidInput, MissingExtra
from polylens.index import Range, open_store
from polylens.index.errors import CollectionBusy, InvalidMetadata, Unreachable, Unsupported
from polylens.index.milvus import MilvusStore, layout, reading, tokens
from polylens.index.milvus.address import Address, is_address, parse
from polylens.index.milvus.expressions import translate
from polylens.index.milvus.versions import Versions
from polylens.index.plan import Effort

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(2**53 - 3, 2**53 + 3),
    st.sampled_from([0, 0.0, -0.0, 1, 1.0, 2**63 - 1, 2.0**63, 5e-324]),
)


@given(NUMBERS, NUMBERS)
def test_numbers_sort_as_texts_as_they_do_as_numbers(a, b):
    assert (tokens.encoded(a) < tokens.encoded(b)) == (a < b)
    assert (tokens.encoded(a) == tokens.encoded(b)) == (a == b)
    assert (tokens.equals(("x",), a) == tokens.equals(("x",), b)) == (a == b)


@given(NUMBERS, NUMBERS)
def test_control_as_float64_large_integers_would_be_equal(a, b):
    if math.isclose(a, b) and a != b and abs(a) > 2**53 and isinstance(a, int) and isinstance(b, int):
        assert tokens.encoded(a) != tokens.encoded(b)
    assert float(2**53) == float(2**53 + 1) and tokens.encoded(2**53) != tokens.encoded(2**53 + 1)


@given(st.text(max_size=300), st.text(max_size=60))
def test_texts_sort_by_code_point_even_where_they_are_cut(text, bound):
    assert (tokens.encoded(text) < tokens.encoded(bound)) == (text.encode() < bound.encode())
    assert (tokens.encoded(text) == tokens.encoded(bound)) == (text == bound)


def test_what_is_not_the_same_has_another_token():
    path = ("a",)
    values = [True, False, None, 1, 0, "true", "1", "", "null", 1.5]
    assert len({tokens.equals(path, value) for value in values}) == len(values)
    assert tokens.equals(("a", "b"), 1) != tokens.equals(("a.b",), 1)
    assert tokens.exists(path) != tokens.equals(path, None)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("milvus://host", Address("http://host:19530")),
        ("milvus://host:1/photos", Address("http://host:1", "photos")),
        ("milvus+tls://[::1]:2/a-b/?writers=many", Address("https://[::1]:2", "a-b", many_writers=True)),
        ("milvus+lite:./x/y.db", Address("./x/y.db", lite=True)),
        ("milvus+lite:/x/y.db?writers=one", Address("/x/y.db", lite=True)),
    ],
)
def test_addresses(place, expected):
    assert is_address(place) and parse(place) == expected


@pytest.mark.parametrize("place", ["data", "./milvus", "/srv/milvus:1", "C:/data", "http://host"])
def test_folders_are_no_addresses(place):
    assert not is_address(place)


@pytest.mark.parametrize(
    "place",
    ["milvus://", "milvus://host:x", "milvus://host:99999", "milvus://host/UP", "milvus://host/a/b",
     "milvus://host/a?writers=two", "milvus://host/a?user=x", "milvus+lite:folder", "milvus://h/" + "a" * 17],
)  # fmt: skip
def test_bad_addresses_are_refused(place):
    with pytest.raises(InvalidInput):
        parse(place)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(InvalidInput) as raised:
        parse("milvus://root:hunter2@host/a")
    assert "MILVUS_TOKEN" in str(raised.value) and "hunter2" not in str(raised.value)


def test_the_token_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "root:hunter2")
    address = parse("milvus://host/a")
    assert address.token == "root:hunter2"
    assert "hunter2" not in f"{address} {address!r}"
    assert parse("milvus+lite:a.db").token == ""


def test_names_in_milvus_are_short_and_different():
    longest = layout.table("a" + "-" * 15, "a" + "-" * 63)
    assert len(longest) <= 255
    names = [layout.table(space, name) for space in ("a", "a-b") for name in ("b", "a-b", "a_b", "a.b", "2d")]
    assert len(set(names)) == len(names) and all(name.isidentifier() and name.isascii() for name in names)


@pytest.mark.parametrize(
    ("factory", "type", "exact"),
    [
        ("Flat", "FLAT", {}),
        ("HNSW16", "HNSW", None),
        ("IVF256,Flat", "IVF_FLAT", {"nprobe": 256}),
        ("IVF64,SQ8", "IVF_SQ8", None),
        ("IVF64,PQ32", "IVF_PQ", None),
        ("auto", "IVF_FLAT", {"nprobe": 1024}),
    ],
)
def test_kinds_of_index(factory, type, exact):
    kind = layout.kind(factory, lite=False)
    assert (kind.type, kind.exact) == (type, exact)
    if exact is None:
        with pytest.raises(Unsupported, match="cannot be searched exactly"):
            kind.asked(Effort(exact=True), 10)
    else:
        assert kind.asked(Effort(exact=True), 10) == exact
    assert layout.kind("auto", lite=True).type == "FLAT"


def test_how_hard_an_index_tries():
    ivf, graph = layout.kind("IVF256,Flat", False), layout.kind("HNSW16", False)
    assert ivf.asked(Effort(), 10) == {"nprobe": 16}
    assert ivf.asked(Effort(nprobe=1_000), 10) == {"nprobe": 256}
    assert graph.asked(Effort(), 10) == {"ef": 128} and graph.asked(Effort(ef_search=20), 50) == {"ef": 50}


@pytest.mark.parametrize("factory", ["OPQ64,IVF4096,PQ64", "SQfp16", "IVF0,Flat", "hnsw", "", "IVF1024"])
def test_other_kinds_are_refused(factory):
    with pytest.raises(Unsupported, match="in Milvus it is"):
        layout.kind(factory, lite=False)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=200, unique=True).map(sorted),
    st.integers(1, 20),
    st.integers(0, 100),
)
def test_a_bound_leaves_at_least_the_page_and_less_than_a_window(versions, limit, extra):
    """With a small window in place of Milvus's."""
    window, counted = limit + 1 + extra, []

    def count(until: int) -> int:
        counted.append(until)
        return sum(version <= until for version in versions)

    if len(versions) < window:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "WINDOW", window)
        until = reading.bound(count, 0, versions[-1], limit)
    assert limit <= count(until) < window
    assert len(counted) < 90


def test_versions_grow_even_if_the_clock_was_set_back():
    ahead = 10**15 + 2 * 10**15
    versions = Versions(lambda last: int(last < ahead))
    first, second = versions.take(3), versions.take(2)
    assert first[0] > ahead and list(first) == list(range(first[0], first[0] + 3)) and second[0] > first[-1]
    assert Versions(lambda last: 0).take(1)[0] > 1_700_000_000_000_000


def test_no_text_of_a_caller_is_in_an_expression():
    text = translate(Range('secret"]', gte="secret", lt="z")).text
    assert "secret" not in text and text.isascii()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with MilvusStore(f"milvus+lite:{tmp_path_factory.mktemp('lite') / 'data.db'}") as made:
        yield made


@pytest.fixture
def birds(store):
    yield store.create("birds", dim=8, fingerprint="f")
    store.drop("birds")


def test_what_milvus_cannot_give_is_refused(store, birds, unit):
    with pytest.raises(Unsupported, match="float32"):
        store.create("half", dim=8, fingerprint="f", dtype="float16")
    with pytest.raises(InvalidInput, match="2 to 32768"):
        store.create("narrow", dim=1, fingerprint="f")
    for call in (
        lambda: birds.upsert(["a"], unit(1), idempotency_key="k"),
        lambda: birds.delete(["a"], idempotency_key="k"),
        lambda: birds.delete_where(Range("n", gt=1), idempotency_key="k"),
    ):
        with pytest.raises(Unsupported, match="idempotency"):
            call()
    with pytest.raises(Unsupported, match="longer bound"):
        birds.count(Range("a", gt="x" * 257))
    assert birds.count() == 0


def test_a_range_over_a_long_list_is_refused_only_where_there_is_one(birds, unit):
    birds.upsert(["short", "other"], unit(2), [{"n": list(range(8))}, {"m": list(range(9))}])
    assert birds.count(Range("n", gt=6)) == 1
    with pytest.raises(Unsupported, match="range over m: items have lists of more than 8"):
        birds.count(Range("m", gt=6))
    birds.delete(["other"])
    assert birds.count(Range("m", gt=6)) == 0


def test_metadata_with_too_many_values_is_refused_with_its_place(birds, unit):
    with pytest.raises(InvalidMetadata, match="metadata 1 has .* at most 4096"):
        birds.upsert(["a", "b"], unit(2), [{}, {"a": list(range(5_000))}])
    assert birds.count() == 0


def test_a_write_beyond_one_message_is_refused_whole(birds, unit, monkeypatch):
    monkeypatch.setattr("polylens.index.milvus.collection.WRITE_BYTES", 100)
    with pytest.raises(InvalidInput, match="4 items of 136 bytes"):
        birds.upsert(list("abcd"), unit(4))
    birds.upsert(list("ab"), unit(2))
    assert birds.count() == 2


def test_pages_are_right_when_there_are_more_rows_than_milvus_answers(birds, unit, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW", 40)
    monkeypatch.setattr(reading, "KEYS", 7)
    for start in range(0, 200, 50):
        birds.upsert(
            [f"id{n}" for n in range(start, start + 50)], unit(50), [{"n": n % 2} for n in range(50)]
        )
    birds.delete([f"id{n}" for n in range(60, 120)])
    seen, after = [], 0
    while page := birds.scan(limit=15, after=after):
        seen += [record.id for record in page]
        after = page[-1].version
    assert seen == [f"id{n}" for n in [*range(60), *range(120, 200)]]


def test_searches_are_split_where_an_answer_would_be_too_large(birds, unit, monkeypatch):
    birds.upsert([f"id{n}" for n in range(50)], unit(50))
    whole = birds.search(unit(20, seed=1), 5)
    monkeypatch.setattr(reading, "ANSWER_BYTES", 4 * 8 * (5 + reading.SPARE) * 3)
    for one, other in zip(whole, birds.search(unit(20, seed=1), 5), strict=True):
        assert one.ids == other.ids and np.array_equal(one.scores, other.scores)
    with pytest.raises(Unsupported, match="Milvus answers at most"):
        birds.search(unit(1), 100)


def test_with_several_writers_conditions_are_refused(tmp_path, unit):
    with MilvusStore(f"milvus+lite:{tmp_path / 'data.db'}?writers=many") as store:
        birds = store.create("birds", dim=8, fingerprint="f")
        with pytest.raises(Unsupported, match="writers=one"):
            birds.upsert(["a"], unit(1), if_version=[0])
        assert birds.upsert(["a"], unit(1), if_version=[None]) == 1


def test_a_file_is_held_by_one_store_and_free_again(tmp_path):
    place = f"milvus+lite:{tmp_path / 'data.db'}"
    with MilvusStore(place) as store:
        store.create("birds", dim=8, fingerprint="f")
        with pytest.raises(CollectionBusy):
            open_store(place)
    with open_store(place) as again:
        assert [entry.name for entry in again.open_all()] == ["birds"]


def test_a_creation_that_was_cut_short_is_no_collection_and_can_be_repeated(store, unit):
    table = layout.table("default", "half")
    layout.create(store._connection, table, 4, layout.kind("Flat", True))  # and then the process died
    assert [entry.name for entry in store.open_all()] == []
    half = store.create("half", dim=8, fingerprint="f")
    assert half.upsert(["a"], unit(1)) == 1
    store.drop("half")


def test_a_listed_collection_that_is_gone_never_stops_the_others(store, unit):
    store.create("good", dim=8, fingerprint="f")
    store.create("gone", dim=8, fingerprint="f")
    store._open.pop("gone")
    store._connection.call("drop_collection", layout.table("default", "gone"))
    entries = {entry.name: entry.error for entry in store.open_all()}
    assert entries["good"] is None and "Milvus does not have" in str(entries["gone"])
    store.drop("good")
    store._remove("collection", "gone")
    store._errors.clear()


def test_nobody_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr("polylens.index.milvus.connection.TIMEOUT", 1.0)
    with pytest.raises(Unreachable, match="127.0.0.1:9"):
        MilvusStore("milvus://127.0.0.1:9/x")


def test_without_pymilvus_one_sentence_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtra, match=r"polylens\[milvus\]"):
        MilvusStore("milvus://127.0.0.1:9/x")
