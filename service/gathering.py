"""What a batcher gave for the entries of one request, sorted into results and errors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .batching import Batcher
from .errors import NotReady
from .records import Done
from .stopwatch import Stopwatch

Raw = TypeVar("Raw")
Out = TypeVar("Out")


async def gathered(
    batcher: Batcher[Raw, Any, Out],
    entries: Sequence[Raw],
    watch: Stopwatch,
    note: Callable[[Done[Out]], None],
    bulk: bool = False,
) -> tuple[list[Out | None], dict[int, Exception]]:
    """A result of each entry, in order, or None where its error is among the errors."""
    found: list[Out | None] = []
    errors: dict[int, Exception] = {}
    for position, result in enumerate(await batcher.submit_all(entries, bulk=bulk)):
        if isinstance(result, Done):
            watch.note(result)
            note(result)
            found.append(result.value)
        elif isinstance(result, Exception) and not isinstance(result, NotReady):
            errors[position] = result
            found.append(None)
        else:
            raise result  # no fault of the entry
    return found, errors
