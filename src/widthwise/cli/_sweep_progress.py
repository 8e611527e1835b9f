"""Progress of a sweep on the console: a live line per run on a terminal, quiet elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from widthwise.recipes.sweep.job import last_line
from widthwise.recipes.sweep.state import Event, State, Sweep
from widthwise.runs.results import read_results

_COLOURS = {
    State.waiting: "dim",
    State.running: "cyan",
    State.finished: "green",
    State.failed: "red",
    State.stopped: "yellow",
}
_ROOM = 4
"""Lines of a terminal that stay free."""


class SweepProgress:
    """Shows how far each run is. Without a terminal, one line says of each run how it ended.

    Args:
        sweep: As it is when it starts.
        folder: Of the sweep.
    """

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self._sweep = sweep
        self._folder = folder
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=2,
            auto_refresh=self._console.is_terminal,
        )

    def __enter__(self) -> SweepProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, sweep: Sweep, event: Event) -> None:
        """Show that a run has come into a state.

        Args:
            sweep: After it.
            event: What has happened.
        """
        self._sweep = sweep
        if not self._console.is_terminal and event.state is not State.running:
            text = f"{event.name}: {event.state}"
            told = event.problem or self._outcome(event.name)
            self._console.print(f"{text}, {told}" if told else text, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        shown = list(self._sweep.runs)
        room = max(self._console.height - _ROOM, 1)
        if len(shown) > room:
            # What goes on and what went wrong; the rest is counted.
            order = (State.running, State.failed, State.stopped, State.finished, State.waiting)
            shown = sorted(shown, key=lambda run: order.index(run.state))[:room]
        for run in shown:
            told = run.problem or ""
            if run.state is State.running:
                told = last_line(self._folder / f"{run.name}.log")
            elif run.state is State.finished:
                told = self._outcome(run.name)
            table.add_row(run.name, Text(run.state.value, _COLOURS[run.state]), Text(told))
        counts = [f"{n} {state}" for state in State if (n := self._sweep.count(state))]
        table.add_row(Text(f"{len(self._sweep.runs)} runs", "bold"), "", Text(", ".join(counts)))
        return table

    def _outcome(self, name: str) -> str:
        results = read_results(self._folder / name)
        if results is None:
            return ""
        measure, found = results.headline, results.found
        value = measure.write(found.measures[measure.name])
        return f"{measure.title} {value}, {found.macs / results.full.macs:.1%} of the MACs"
