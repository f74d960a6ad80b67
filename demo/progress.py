"""A progress bar on stderr, so that results alone stand on stdout."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int, *, step: int = 1) -> Iterator[Item]:
    """The same items, one by one, under a bar of `total` things that each item advances by `step`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.update(task, completed=min(total, progress.tasks[task].completed + step))
