"""`buffered`: the same items from a thread of its own, few of them early; errors come where they belong."""

import threading
import time
from collections.abc import Iterator

import pytest
from polylens.clip.batches import buffered


def test_items_come_in_order_and_few_of_them_early() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    stream = buffered(items(), 2)
    assert next(stream) == 0
    time.sleep(0.2)
    assert len(taken) <= 5
    assert list(stream) == list(range(1, 100))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    stream = buffered(items(), 4)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_who_stops_early_ends_the_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    stream = buffered(items(), 2)
    next(stream)
    stream.close()
    assert closed.is_set() and not [one for one in threading.enumerate() if one.name == "buffered"]


def test_an_empty_source_gives_nothing() -> None:
    assert list(buffered(iter(()), 1)) == []
