"""Progress on the console: a live bar on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from widthwise.measures import Measure
from widthwise.runs.results import Results


class ConsoleProgress:
    """Shows the stages of a run on standard output.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet)
        self._live = self._console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._task = TaskID(0)
        self._title = ""
        self._epochs = 0
        self._done = 0
        self._measures: tuple[Measure, ...] = ()

    def __enter__(self) -> ConsoleProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def speak_of(self, measures: Sequence[Measure]) -> None:
        """Say what is measured after every epoch.

        Args:
            measures: Of the task; shown in this order.
        """
        self._measures = tuple(measures)

    def where(self) -> str:
        """Say how far the run has got."""
        if not self._title:
            return "before the first stage"
        return f"in stage `{self._title}` after {self._done} of {self._epochs} epochs"

    def stage_begins(self, title: str, *, epochs: int, done: int) -> None:
        self._title, self._epochs, self._done = title, epochs, done
        state = f"resumed after epoch {done}" if done else ""
        self._task = self._bars.add_task(title, total=epochs, completed=done, state=state)
        if not self._live:
            self._line(f"{title} ({state})" if state else title)

    def epoch_ends(self, metrics: Mapping[str, Any]) -> None:
        self._done = metrics["epoch"] + 1
        state = f"loss {metrics['train_loss']:.4g}"
        for measure in self._measures:
            state += f"  {measure.title} {measure.write(metrics[f'test_{measure.name}'])}"
        if metrics["macs_fraction"] is not None:
            state += f"  MACs {metrics['macs_fraction']:.1%}"
        self._bars.update(self._task, completed=self._done, state=state)
        if not self._live:
            width = len(str(self._epochs))
            self._line(
                f"  epoch {self._done:>{width}}/{self._epochs}  {state}  {metrics['seconds']:.1f} s"
            )

    def stage_ends(self, summary: str) -> None:
        self._bars.update(self._task, completed=self._epochs, state=summary)
        if not self._live:
            self._line(f"  {summary}")

    def note(self, text: str) -> None:
        self._line(text)

    def results(self, results: Results) -> None:
        """Print the table of results."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("network", no_wrap=True)
        titles = [measure.title for measure in results.measures]
        for name in (*titles, "MACs", "parameters", "epochs", "seconds"):
            table.add_column(name, justify="right")
        if (given := results.full.measures) is not None:
            table.add_row(
                "your network, as given",
                *(m.finer().write(given[m.name]) for m in results.measures),
                f"{results.full.macs:,}",
                f"{results.full.params:,}",
                "0",
            )
        for arm in results.arms:
            table.add_row(
                f"{arm.arm} ({arm.weights} weights)",
                *(m.finer().write(arm.measures[m.name]) for m in results.measures),
                f"{arm.macs:,}",
                f"{arm.params:,}",
                str(arm.epochs),
                f"{arm.seconds:.1f}",
            )
        if not self._live:
            # A pipe has no width of its own, and a table in narrow columns cannot be read.
            self._console.width = 160
        self._console.print()
        self._console.print(table)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)
