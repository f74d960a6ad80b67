"""Filters: what they mean, shown by a naive twin; what they refuse; and that no text becomes SQL."""

import json

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polylens.index import And, Equal, Exists, In, Not, Or, Range, filters, from_json
from polylens.index.errors import InvalidFilter


def same(left: object, right: object) -> bool:
    """JSON equality: 1 is 1.0, but true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def matches(condition, metadata: dict) -> bool:
    """The naive twin."""
    match condition:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
    value, missing = metadata, object()
    for key in condition.field.split("."):
        value = value.get(key, missing) if isinstance(value, dict) else missing
    if isinstance(condition, Exists):
        return value is not missing
    elements = (
        value if isinstance(value, list) else [] if isinstance(value, dict) or value is missing else [value]
    )
    if isinstance(condition, Range):
        return any(within(condition, element) for element in elements)
    wanted = [condition.value] if isinstance(condition, Equal) else condition.values
    return any(same(element, value) for element in elements for value in wanted)


def within(bounds: Range, value: object) -> bool:
    given = {
        name: bound for name in ("gt", "gte", "lt", "lte") if (bound := getattr(bounds, name)) is not None
    }
    kind = str if isinstance(next(iter(given.values())), str) else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    checks = {"gt": lambda b: value > b, "gte": lambda b: value >= b, "lt": lambda b: value < b}
    checks["lte"] = lambda b: value <= b
    return all(checks[name](bound) for name, bound in given.items())


FIELDS = st.sampled_from(["a", "b", "a.b", "a.a", "é x", 'q"', "back\\", "new\nline", "$", "a'--"])
PLAIN = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.0]), st.sampled_from(["", "1", "x", "é", "o'--"])
)
SCALARS = PLAIN | st.booleans() | st.none()
KEYS = st.sampled_from(["a", "b", "é x", 'q"', "back\\", "new\nline", "$", "a'--"])
OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_size=4,
)


@st.composite
def ranges(draw):
    kind = draw(st.sampled_from([st.integers(-3, 3) | st.just(0.5), st.sampled_from(["", "1", "x", "é"])]))
    names = draw(st.sets(st.sampled_from(["gt", "gte", "lt", "lte"]), min_size=1))
    return Range(draw(FIELDS), **{name: draw(kind) for name in names})


LEAVES = st.one_of(
    st.builds(Equal, FIELDS, SCALARS),
    st.builds(In, FIELDS, st.lists(SCALARS, min_size=1, max_size=4).map(tuple)),
    ranges(),
    st.builds(Exists, FIELDS),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


def select(objects: list[dict], condition) -> list[int]:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE row (row_id INTEGER PRIMARY KEY, metadata BLOB NOT NULL)")
    texts = [(n, json.dumps(value, ensure_ascii=False)) for n, value in enumerate(objects)]
    connection.executemany("INSERT INTO row VALUES (?, jsonb(?))", texts)
    sql, parameters = filters.to_sql(condition)
    return [
        n for (n,) in connection.execute(f"SELECT row_id FROM row WHERE {sql} ORDER BY row_id", parameters)
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OBJECTS, min_size=1, max_size=6), CONDITIONS)
def test_selects_what_the_naive_twin_selects(objects, condition):
    assert select(objects, condition) == [n for n, value in enumerate(objects) if matches(condition, value)]


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(OBJECTS, min_size=1, max_size=6), st.lists(CONDITIONS, min_size=3, max_size=6))
def test_every_store_selects_what_the_naive_twin_selects(collection, unit, objects, conditions):
    collection.delete([str(n) for n in range(6)])
    collection.upsert([str(n) for n in range(len(objects))], unit(len(objects)), objects)
    for condition in conditions:
        expected = [str(n) for n, value in enumerate(objects) if matches(condition, value)]
        assert [record.id for record in collection.scan(filter=condition, vectors=False)] == expected
        assert sorted(collection.search(unit(1), 10, condition)[0].ids) == expected


def test_numbers_and_texts_at_the_edges_are_compared_exactly(collection, unit):
    numbers = [2**63 - 1, 2**63 - 2, -(2**63), 2**53, 2**53 + 1, 1e308, 5e-324, -5e-324, -0.0, 0.1, 1e19]
    texts = ["", "a", "a\0", "aa", "é", "\U0001f426", "\uffff", "z" * 300, "z" * 300 + "a"]
    objects = [{"a": value} for value in numbers + texts] + [{"a": True}, {"a": None}, {}]
    names = [str(n) for n in range(len(objects))]
    collection.upsert(names, unit(len(objects)), objects)
    for bound in (*numbers, 2**53 + 1.0, 0, 1, "a", "é", "\uffff", "z" * 256):
        for condition in (Equal("a", bound), Range("a", gt=bound), Range("a", lte=bound)):
            for wanted in (condition, Not(condition)):
                expected = [name for name, one in zip(names, objects, strict=True) if matches(wanted, one)]
                found = collection.scan(1000, filter=wanted, vectors=False)
                assert [record.id for record in found] == expected, wanted


PEOPLE = [
    {"lang": "sw", "year": 1999, "tags": ["cat", "sea"]},
    {"lang": "en", "year": 2003.5, "tags": "cat", "camera": {"model": "X"}},
    {"lang": None, "year": "2003", "tags": [], "seen": True},
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"lang": "sw"}, [0]),
        ({"lang": None}, [2]),
        ({"lang": {"$ne": "sw"}}, [1, 2]),
        ({"lang": {"$in": ["sw", "en"]}}, [0, 1]),
        ({"lang": {"$nin": ["sw", None]}}, [1]),
        ({"tags": "cat"}, [0, 1]),
        ({"tags": "cat", "year": {"$gte": 2000}}, [1]),
        ({"year": {"$gt": 1999, "$lte": 2003.5}}, [1]),
        ({"year": {"$gte": "2000"}}, [2]),
        ({"year": {"$gte": 1990, "$ne": 1999}}, [1]),
        ({"seen": True}, [2]),
        ({"seen": 1}, []),
        ({"camera.model": {"$eq": "X"}}, [1]),
        ({"camera": {"$exists": True}}, [1]),
        ({"camera": {"$exists": False}}, [0, 2]),
        ({"camera": "X"}, []),
        ({"$or": [{"lang": "sw"}, {"$and": [{"seen": True}, {"lang": None}]}]}, [0, 2]),
        ({"$not": {"tags": "cat"}}, [2]),
    ],
)
def test_json_form(value, expected):
    assert select(PEOPLE, from_json(json.loads(json.dumps(value)))) == expected


NESTED: dict = {"a": 1}
for _ in range(20):
    NESTED = {"$not": NESTED}


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, "a = 1", {"a": {}}, {"a": {"$regex": "x"}}, {"a": {"b": 1}}, {"$where": "1"},
        {"a": [1]},         {"$and": {}}, {"$or": []}, {"$not": []}, {"a": {"$in": "xy"}}, {"a": {"$in": []}},
        {"a": {"$in": [[1]]}},
        {"a": {"$exists": 1}}, {"a": {"$gt": None}}, {"a": {"$gt": True}}, {"a": {"$gt": 1, "$lt": "x"}},
        {"": 1}, {"a..b": 1}, {"a.": 1}, {"a": 2**63}, {"a": 10**400}, {"a": float("nan")},
        {"a": {"$gt": [1]}},
        {"a": "x" * 5_000}, {"a" * 5_000: 1}, {"a": "\ud800"}, {"\ud800": 1}, {1: 2}, {"a": {1: 2}},
        {"a\0": 1}, {"a": {"$in": list(range(1_001))}}, NESTED, {"$and": [{"a": 1}] * 65},
        {"$or": [{"a": {"$in": list(range(900))}}] * 12},
    ],
    ids=lambda value: f"{value!r:.40}",
)  # fmt: skip
def test_refuses_what_is_not_in_the_language_or_too_much(value):
    with pytest.raises(InvalidFilter):
        filters.to_sql(from_json(value))


def test_refuses_objects_that_are_no_filters():
    for value in (
        "1=1",
        And(("1=1",)),
        And(()),
        Or("ab"),
        Not(None),
        In("a", ()),
        Equal(3, 1),
        Equal("a", b"x"),
    ):  # type: ignore[arg-type]
        with pytest.raises(InvalidFilter):
            filters.to_sql(value)  # type: ignore[arg-type]


HOSTILE = [
    "'; DROP TABLE row; --",
    '") OR 1=1 --',
    'x"] OR $."y',
    "a') UNION SELECT row_id FROM row --",
    '$."a"',
    "a[0]",
    "%",
    "?1",
    "\\",
    '\\"',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_only_texts(collection, unit, text):
    collection.upsert(
        ["target", "other"], unit(2), [{text.replace(".", ""): text}, {"x": 1, "y": 1, "a": [1]}]
    )
    field = text.replace(".", "")
    for condition, expected in (
        (Equal(field, text), ["target"]),
        (In(field, (text, "more")), ["target"]),
        (Range(field, gte=text, lte=text), ["target"]),
        (Exists(field), ["target"]),
        (Equal("x", text), []),
        (Equal(field + "'", text), []),
        (Equal(field + '"', text), []),
    ):
        assert collection.search(unit(1), 10, condition)[0].ids == expected
    assert collection.count() == 2


def test_no_value_is_in_the_sql_text():
    condition = And(
        (Equal("secret-field", "secret"), Range("secret-field", gt=4711), In("f", ("secret", 4711, True)))
    )
    sql, parameters = filters.to_sql(condition)
    assert "secret" not in sql and "4711" not in sql
    assert parameters.count("secret") == 2 and parameters.count(4711) == 2


def test_control_a_path_that_is_not_quoted_reads_another_field(monkeypatch):
    """The hostile fields above prove something only if careless quoting would have been seen."""
    monkeypatch.setattr(filters, "_path", lambda field: f'$."{field}"')
    assert select([{"x": {"y": 1}}], Equal('x"."y', 1)) == [0]
    monkeypatch.undo()
    assert select([{"x": {"y": 1}}], Equal('x"."y', 1)) == []


def test_numbers_of_numpy_are_accepted_where_they_are_python_numbers():
    assert select([{"a": 0.5}], Equal("a", np.float64(0.5))) == [0]
