"""Example inputs: how they are read, cut to a batch, written to a plan and read back."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.network.inputs import Inputs


class Mode(enum.Enum):
    """What a network of the tests may do."""

    ADD = "add"
    DOUBLE = "double"


class Level(enum.IntEnum):
    """An enum whose members are integers, too."""

    LOW = 1


def there_and_back(value: Any) -> Any:
    """What a plan file makes of one input."""
    spec = json.loads(json.dumps(Inputs.of((value,)).to_spec()))
    return Inputs.from_spec(spec).args[0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        "nearest",
        (4, 4),
        [4, (5, 6)],
        {"size": (2, 3)},
        {1: "one", (2, 3): "two"},
        OrderedDict(b=1, a=2),
        Mode.DOUBLE,
        Level.LOW,
        np.float32(0.1),
        np.float64(0.1),
        np.int64(7),
        np.bool_(True),
        torch.float16,
        torch.device("cpu"),
        torch.Size((2, 3)),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}",
)
def test_plain_values_survive_a_plan_file(value: Any) -> None:
    """Each value comes back equal and of the same type, also inside of containers."""
    for wrapped in (value, [value], (value, {"inner": value})):
        found = there_and_back(wrapped)
        assert found == wrapped
        assert type(found) is type(wrapped)
    assert type(there_and_back([value])[0]) is type(value)


def test_tensors_come_back_by_shape_and_dtype() -> None:
    """Real numbers are noise, the same each time; whole ones are as they were if they are few."""
    few, many = torch.arange(4, dtype=torch.int32), torch.ones(99, dtype=torch.int64)
    given = (torch.ones(2, 3, dtype=torch.float64), [few, many, torch.tensor(True)])
    spec = Inputs.of(given).to_spec()
    once, again = Inputs.from_spec(spec).tensors, Inputs.from_spec(spec).tensors
    kinds = [torch.float64, torch.int32, torch.int64, torch.bool]
    assert [(t.shape, t.dtype) for t in once] == [
        *zip([(2, 3), (4,), (99,), ()], kinds, strict=True)
    ]
    assert torch.equal(once[0], again[0]) and once[0].std() > 0
    assert torch.equal(once[1], few) and not once[2].any() and once[3]


def test_descriptions_of_older_plans_still_load() -> None:
    """Before tuples had a key of their own, lists stood for both."""
    spec = {
        "args": [{"shape": [1, 3], "dtype": "float32"}, {"list": [{"value": 4}, {"value": 5}]}],
        "kwargs": {"options": {"dict": {"size": {"value": None}}}},
    }
    found = Inputs.from_spec(spec)
    assert found.args[1] == [4, 5] and found.kwargs == {"options": {"size": None}}


def test_what_a_file_cannot_hold_is_refused_when_it_is_saved(tmp_path: Any) -> None:
    """A plan is made and copied as ever; saving it names the class, and so does reading it."""

    class Box:
        size = 4

    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor, box: Box) -> Tensor:
            return self.last(self.first(x))[..., : box.size]

    net = Takes()
    plan = ww.plan(
        ww.trace(net, (torch.zeros(1, 3, 8, 8), Box())),
        score=ww.scores.L1(),
        budget=ww.Macs(0.5),
    )
    assert ww.shrink(net, plan).first.out_channels < 8
    with pytest.raises(ww.errors.PlanError, match="Box"):
        plan.save(tmp_path / "plan.json")
    with pytest.raises(ww.errors.PlanError, match="Box"):
        Inputs.from_spec(dict(plan.inputs))


def test_an_enum_is_looked_up_and_not_imported() -> None:
    """A plan file cannot make a module run; an enum of a module that is not there is an error."""
    spec = {"args": [{"enum": ["widthwise_tests_absent", "Mode", "ADD"]}], "kwargs": {}}
    with pytest.raises(ww.errors.PlanError, match="widthwise_tests_absent"):
        Inputs.from_spec(spec)
    spec = {"args": [{"enum": ["os", "system", "ADD"]}], "kwargs": {}}
    with pytest.raises(ww.errors.PlanError, match=r"os\.system"):
        Inputs.from_spec(spec)


class Resizes(nn.Module):
    """Takes a tuple, and refuses a list; and an enum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor, size: tuple[int, int], mode: Mode) -> Tensor:
        if not isinstance(size, tuple) or not isinstance(mode, Mode):
            raise TypeError("not like that")
        return self.last(self.first(x)[..., : size[0], : size[1]])


def test_a_loaded_plan_fits_the_network_it_was_made_for(tmp_path: Any) -> None:
    """A network that insists on a tuple and an enum is traced again from the file alone."""
    net = Resizes()
    graph = ww.trace(net, (torch.zeros(1, 3, 8, 8), (4, 4), Mode.ADD))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    plan.save(tmp_path / "plan.json")
    loaded = ww.Plan.load(tmp_path / "plan.json")
    small = ww.shrink(net, loaded)
    assert small.first.out_channels == plan.widths["first"] < 8


def test_default_device_does_not_disturb_a_trace_or_a_plan() -> None:
    """Noise is drawn on the CPU wherever new tensors go by default; the weights are on the CPU."""
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1))
    spec = Inputs.of(torch.zeros(1, 3, 4, 4)).to_spec()
    before = torch.get_default_device()
    torch.set_default_device("meta")
    try:
        tensor = Inputs.from_spec(spec).tensors[0]
        graph = ww.trace(net, torch.zeros(1, 3, 4, 4, device="cpu"))
    finally:
        torch.set_default_device(before)
    assert tensor.device.type == "cpu" and tensor.std() > 0
    assert graph.axes["0"].frozen is None


def test_a_batch_is_cut_or_repeated() -> None:
    """All tensors that share dim 0 are cut to one, or repeated to two; other values stay."""
    given = Inputs.of({"x": torch.arange(6.0).reshape(3, 2), "y": [torch.zeros(3)], "n": 5})
    assert given.batch == 3
    one, two = given.with_batch(1), given.with_batch(2)
    assert one.kwargs["x"].tolist() == [[0, 1]] and one.kwargs["y"][0].shape == (1,)
    assert two.kwargs["x"].tolist() == [[0, 1], [0, 1]] and two.kwargs["n"] == 5
    assert given.with_batch(3) is given


def test_inputs_that_share_no_batch_stay_as_they_are() -> None:
    """Two tensors of different length are no batch, and neither is a number in a tensor."""
    for value in ((torch.zeros(2, 3), torch.zeros(4, 3)), torch.tensor(1.0)):
        given = Inputs.of(value)
        assert given.batch is None
        assert given.with_batch(1) is given
