"""Timing in turns, by a clock that only runs when it is told to."""

from __future__ import annotations

from widthwise.latency import Times, interleaved


class Clock:
    """Seconds that pass when something runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, *milliseconds: float) -> object:
        """Return what takes so many milliseconds, the last ones from then on."""
        left = list(milliseconds)

        def once() -> None:
            self.log.append(name)
            self.now += (left.pop(0) if len(left) > 1 else left[0]) / 1e3

        return once


def test_each_gets_its_own_milliseconds() -> None:
    """What takes a microsecond is timed in blocks, what takes a second is timed seven times."""
    clock = Clock()
    runs = [clock.run(f"{each}", each) for each in (0.001, 3, 1000)]
    found = interleaved(runs, clock=clock)
    for times, expected in zip(found, (0.001, 3, 1000), strict=True):
        assert abs(times.median / expected - 1) < 1e-6
        assert times.measurements == 7


def test_the_first_runs_do_not_count() -> None:
    """What is slow until it is warm is measured warm."""
    clock = Clock()
    (times,) = interleaved([clock.run("a", 500, 90, 2)], clock=clock)
    assert round(times.median, 6) == round(times.high, 6) == 2


def test_networks_take_turns() -> None:
    """The order is reversed from turn to turn, and none is measured while another is warm."""
    clock = Clock()
    interleaved([clock.run("a", 10), clock.run("b", 10)], clock=clock, seconds=0)
    turns = "".join(clock.log)[6:]
    assert turns[:16] == "aabbbbaaaabbbbaa"


def test_quartiles() -> None:
    """Half of the measurements lie within the quartiles."""
    times = Times.of([1, 2, 3, 4, 100])
    assert (times.low, times.median, times.high, times.measurements) == (2, 3, 4, 5)


def test_nothing_to_measure() -> None:
    """No callable, no times."""
    assert interleaved([]) == []
