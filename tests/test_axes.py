"""What a trace finds, for every case of the zoo, as text a person can read and review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import widthwise as ww
from cases import BY_NAME, CASES, Case, every_case

GOLDEN = Path(__file__).parent / "golden" / "axes.txt"
UPDATE = "WIDTHWISE_UPDATE_GOLDEN"


def describe(case: Case) -> str:
    """The axes of a case, one a line: name, width, channels per unit, what it runs through."""
    graph = ww.trace(case.build(), case.example_inputs)
    lines = [f"{case.name}: {case.note}"]
    for axis in graph.axes.values():
        size = f" x {axis.unit_size}" if axis.unit_size > 1 else ""
        lines.append(f"    {axis.name}: {axis.width}{size}, {axis.frozen or 'free'}")
        lines.append("        " + " ".join(f"{name}:{dim}" for name, dim in axis.members))
    lines += [f"    note: {note}" for note in graph.notes]
    return "\n".join(lines)


def golden() -> dict[str, str]:
    """The reviewed text of every case."""
    blocks = GOLDEN.read_text(encoding="utf-8").rstrip().split("\n\n")
    return {block.partition(":")[0]: block for block in blocks}


@every_case()
def test_axes_are_the_reviewed_ones(case: Case) -> None:
    """The axes of a case are those in golden/axes.txt; set WIDTHWISE_UPDATE_GOLDEN=1 to rewrite."""
    if os.environ.get(UPDATE):
        pytest.skip("rewriting")
    assert describe(case) == golden()[case.name]


def test_golden_file_covers_the_zoo() -> None:
    """Every case is in the golden file, in order, and nothing else is."""
    if os.environ.get(UPDATE):
        GOLDEN.write_text("\n\n".join(describe(case) for case in CASES) + "\n", encoding="utf-8")
    assert list(golden()) == [case.name for case in CASES]


def test_units_of_an_axis_are_a_range_and_cover_it() -> None:
    """Units are numbered axis by axis without gaps, in the order of `graph.axes`."""
    for case in CASES:
        graph = ww.trace(case.build(), case.example_inputs)
        stop = 0
        for axis in graph.axes.values():
            assert (axis.units.start, axis.units.stop - axis.units.start) == (stop, axis.width)
            stop = axis.units.stop
        assert stop <= graph.unit_count


def test_every_weight_dim_is_explained() -> None:
    """Each dim of each parameter has a unit per index, or is the space of a kernel."""
    for case in CASES:
        model = case.build()
        graph = ww.trace(model, case.example_inputs)
        for name, parameter in model.named_parameters():
            slots = graph.slots[name]
            assert len(slots) == parameter.dim(), name
            for dim, units in enumerate(slots):
                if units is None:
                    assert dim >= 2, (case.name, name)
                else:
                    assert len(units) == parameter.shape[dim], (case.name, name)


@pytest.mark.parametrize(
    ("name", "axis", "words"),
    [
        ("chain", "5.fc", "network output"),
        ("unknown_op", "second.0", "`aten.cumsum`"),
        (
            "custom_op",
            "first.0",
            "`widthwise_tests.alternate` in the outermost forward: has no rule",
        ),
        ("unequal_split", "conv.0[0:12]", "`aten.split_with_sizes`"),
        ("type_a_shortcut", "body.2.0", "`aten.constant_pad_nd`"),
    ],
)
def test_frozen_axes_say_why(name: str, axis: str, words: str) -> None:
    """The reason names the operator, or the rule, that holds the axis."""
    graph = ww.trace(BY_NAME[name].build(), BY_NAME[name].example_inputs)
    assert words in (graph.axes[axis].frozen or "free")


def test_report_lists_every_axis_and_the_smallest_cost() -> None:
    """The pre-flight report has each axis, each reason and what the narrowest plan costs."""
    case = BY_NAME["unknown_op"]
    graph = ww.trace(case.build(), case.example_inputs)
    text = str(graph)
    for axis in graph.axes.values():
        assert axis.name in text
    assert "network output" in text
    assert f"{graph.macs():,} MACs" in text
    assert f"{graph.macs(graph.smallest()):,} MACs" in text


def test_one_unit_can_hold_many_channels() -> None:
    """A pixel shuffle by 2 makes units of four channels; a group is a unit of its channels."""
    shuffle = ww.trace(BY_NAME["pixel_shuffle"].build(), BY_NAME["pixel_shuffle"].example_inputs)
    assert (shuffle.axes["up.0"].width, shuffle.axes["up.0"].unit_size) == (5, 4)
    grouped = ww.trace(BY_NAME["grouped_conv"].build(), BY_NAME["grouped_conv"].example_inputs)
    assert (grouped.axes["reduce.0"].width, grouped.axes["reduce.0"].unit_size) == (4, 3)


def test_graph_holds_its_model_only_weakly() -> None:
    """A graph does not keep the weights of a network alive, and says so when they are gone."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    assert graph.model is model
    del model
    with pytest.raises(ww.errors.TraceError, match="no longer exists"):
        _ = graph.model
    assert graph.macs() == 12384
