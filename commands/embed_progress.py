"""The progress of a batch job on the terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as Column
from rich.text import Text

__all__ = ["Bar"]


class Rate(Column):
    """Samples per second, lately."""

    def render(self, task: Task) -> Text:
        """Such as `812/s`."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else "")


class Bar:
    """A bar of samples. How many there will be is known, or follows from the units that are complete."""

    def __init__(self, samples: int | None, units: int) -> None:
        self._samples, self._units, self._complete = samples, units, 0
        columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        note = TextColumn("{task.description}")
        self._progress = Progress(*columns, note, console=Console(stderr=True), speed_estimate_period=60)
        self._task = self._progress.add_task("", total=samples)
        self.rejected = 0

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, samples: int, rejected: int, units: int) -> None:
        """So many samples more, of which some were refused, and so many complete units."""
        self.rejected += rejected
        self._complete += units
        self._progress.update(
            self._task, advance=samples, description=f"{self.rejected} refused" if self.rejected else ""
        )
        if units and self._samples is None:
            done = self._progress.tasks[0].completed
            self._progress.update(self._task, total=round(done * max(1, self._units / self._complete)))
