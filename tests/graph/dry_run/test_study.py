"""A study answers questions and is not changed by them; an attempt says how far it got."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
import zoo_dry_run as zoo
from widthwise.graph.dry_run.assumptions import Assumptions, Follow, Freeze, Reading, dims_of
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.freezing import freeze, reason_of
from widthwise.graph.dry_run.loop import settle
from widthwise.graph.dry_run.rehearsal import Failure, Success, rehearse
from widthwise.graph.dry_run.remedies import remedies
from widthwise.graph.dry_run.trials import trial_masks
from widthwise.graph.recording.values import NoValues


def outcome(attempt: Attempt) -> tuple[object, ...]:
    """What two answers to one question must have in common."""
    axes = [(a.name, a.width, a.frozen) for a in attempt.units.axes.values()]
    return axes, attempt.failure, attempt.trial, attempt.number


def test_asking_changes_nothing() -> None:
    """The same question has the same answer after others were asked, other readings included."""
    study = zoo.study_of(zoo.SecondReading(), torch.zeros(2, 6))
    before = study.under(Assumptions())
    place = before.calls[before.failure.call].place
    other = study.under(before.assumptions.plus(Reading(place, 1)))
    again = study.under(Assumptions())
    assert outcome(before) == outcome(again)
    assert before.failure is not None and other.failure is None
    assert before.recording is again.recording is not other.recording


def test_a_recording_is_kept_as_long_as_an_attempt_rests_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same readings are recorded once while somebody needs them, and again when nobody did."""
    study = zoo.study_of(zoo.SecondReading(), torch.zeros(2, 6))
    first = study.solved(Assumptions())
    place = next(call.place for call in first.calls if call.options)
    reading = Assumptions().plus(Reading(place, 1))
    kept = study.solved(reading)
    assert study.solved(reading).recording is kept.recording
    gone = id(kept.recording), kept.recording.ledger.calls[0]
    del kept
    gc.collect()
    assert study.solved(reading).recording.ledger.calls[0] is not gone[1]
    assert study.solved(Assumptions()).recording is first.recording


def test_an_attempt_tells_where_it_failed() -> None:
    """The failure is that of the first narrow run that went another way; masks and ids fit it."""
    attempt = zoo.study_of(zoo.Viewed()).under(Assumptions())
    assert attempt.failure is not None
    call = attempt.calls[attempt.failure.call]
    assert call.name == "aten.view"
    assert attempt.trial == 0 and attempt.number == 0
    axis = attempt.units.axes["first"]
    assert 0 < attempt.kept[axis.units].sum() < 12
    (ids,) = (ids for at, ids in dims_of(call) if at.dim == 1 and not at.of_output)
    assert attempt.kept_ids[ids].sum() == attempt.kept[axis.units].sum()


def test_an_attempt_that_gets_further() -> None:
    """Success is further than any failure, a later call than an earlier one."""
    study = zoo.study_of(zoo.MeetsAgain(), torch.zeros(4, 3))
    first = study.under(Assumptions())
    (follow,) = (
        proposal[0]
        for proposal in remedies(first, study.modules)
        if len(proposal) == 1 and isinstance(proposal[0], Follow)
    )
    second = study.under(first.assumptions.plus(follow))
    done = settle(study)
    assert second.failure is not None and second.gets_further_than(first)
    assert not first.gets_further_than(second) and not first.gets_further_than(first)
    assert done.gets_further_than(second)


def test_without_a_failure_there_is_nothing_to_mend() -> None:
    """Remedies and verdicts of an attempt that ran are none."""
    study = zoo.study_of(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)))
    attempt = study.under(Assumptions())
    assert attempt.failure is None
    assert list(remedies(attempt, study.modules)) == []
    assert freeze(attempt) == [] and reason_of(attempt) == ""


def test_solved_runs_no_narrow_network() -> None:
    """Units and axes come without a run; whether they hold is another question."""
    study = zoo.study_of(zoo.Viewed())
    assert study.solved(Assumptions()).failure is None
    assert study.under(Assumptions()).failure is not None


def test_room_counts_what_may_go() -> None:
    """Every free axis keeps one unit; a frozen one keeps all."""
    study = zoo.study_of(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)))
    assert study.solved(Assumptions()).room == 7


def test_trial_masks_narrow_every_free_axis_in_two_ways() -> None:
    """One mask removes last units and one first ones, by other amounts; frozen ones stay."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 2, 1)
    )
    units = zoo.study_of(net).solved(Assumptions()).units
    last, first = trial_masks(units)
    for axis in units.axes.values():
        if axis.frozen:
            assert last[axis.units].all() and first[axis.units].all()
            continue
        one, other = last[axis.units], first[axis.units]
        assert one[0] and not one[-1] and other[-1] and not other[0]
        assert one.sum() != other.sum()
        assert min(one.sum(), other.sum()) >= axis.width // 2


def run(net: nn.Module, kept: dict[str, int]) -> Success | Failure:
    """Rehearse a network with the first units of some axes kept."""
    study = zoo.study_of(net)
    attempt = study.solved(Assumptions())
    mask = np.ones(attempt.units.count, bool)
    for name, count in kept.items():
        units = attempt.units.axes[name].units
        mask[units.start + count : units.stop] = False
    each = study.passes[0]
    return rehearse(
        each.ready(), each.inputs, attempt.recording.calls(0), attempt.units, mask, NoValues()
    )


class Scaled(nn.Module):
    """Scales by a number that depends on a width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * x.shape[1] ** -0.5)


class Branches(nn.Module):
    """Calls another operator when it is narrow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x.relu() if x.shape[1] > 5 else x.tanh())


def test_rehearsal_notices_numbers_that_depend_on_widths() -> None:
    """A scale computed from a width is no failure, but noted."""
    assert run(Scaled(), {"first": 4}) == Success(rescales=True)
    assert run(Scaled(), {}) == Success(rescales=False)


def test_rehearsal_blames_the_call_before_another_way() -> None:
    """Where the narrow run makes another call, the last one both have made is to blame."""
    failure = run(Branches(), {"first": 4})
    assert isinstance(failure, Failure) and not failure.before
    assert failure.path == "" and "depends on the width" in failure.message
    assert run(Branches(), {"first": 6}) == Success(rescales=False)


def test_rehearsal_names_the_size_that_differs() -> None:
    """A call that gives another shape is a failure with the size expected and the one found."""
    failure = run(zoo.CountedByCode(), {"first": 5})
    assert isinstance(failure, Failure)
    assert failure.size == (8, 5) and not failure.emptied


def test_rehearsal_notices_what_a_slice_leaves_empty() -> None:
    """A call that gives no channel of those it takes is a failure, though its shape is right."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)[:, 5:])

    # The first slot of the slice is its own axis: all of it goes.
    study = zoo.study_of(Late())
    attempt = study.solved(Assumptions())
    names = list(attempt.units.axes)
    assert names[:2] == ["first[0:5]", "first[5:8]"]
    failure = run(Late(), {"first[5:8]": 0})
    assert isinstance(failure, Failure) and failure.emptied


def test_an_exception_before_a_call_is_of_the_code_that_raised() -> None:
    """Code that refuses a width is blamed with the call it was about to make."""
    failure = run(zoo.Refused(), {"first": 4})
    assert isinstance(failure, Failure) and failure.before
    assert failure.message == "ValueError: eight, and no other number"


def test_freezing_takes_the_nearest_that_is_free() -> None:
    """A verdict freezes something free each time, so that rounds end."""
    study = zoo.study_of(zoo.Refused())
    attempt = study.under(Assumptions())
    verdicts = freeze(attempt)
    assert [type(verdict) for verdict in verdicts] == [Freeze]
    frozen = study.under(attempt.assumptions.plus(*verdicts))
    assert frozen.room < attempt.room
    assert frozen.units.axes["first"].frozen == reason_of(attempt)


def test_constraints_and_disuse_freeze_in_every_answer() -> None:
    """What the user freezes, and what no pass reads, is frozen under any assumption."""

    class Spare(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))

    net = Spare(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(4, 4, 1))
    graph = ww.trace(net, zoo.IMAGE, freeze=["0"])
    assert graph.axes["0"].frozen == "frozen by name (`0`)"
    assert zoo.study_of(net).unused == {"2.weight", "2.bias"}
