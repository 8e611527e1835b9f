"""Somebody else's package teaches the library an operator, from outside, by public names only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NETWORK = '''
"""A network with an operator of its own, which knows nothing of any library but torch."""
import torch
from torch import Tensor, nn


@torch.library.custom_op("shop::maxout", mutates_args=())
def maxout(x: Tensor) -> Tensor:
    """The larger of the two halves of the channels."""
    first, second = x.chunk(2, dim=1)
    return torch.maximum(first, second)


@maxout.register_fake
def _(x):
    return x.new_empty((x.shape[0], x.shape[1] // 2, *x.shape[2:]))


class Maxout(nn.Module):
    def forward(self, x):
        return maxout(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.trunk = nn.Sequential(nn.Conv2d(6, 16, 3, padding=1), Maxout())
        self.one, self.other = nn.Conv2d(6, 5, 1), nn.Conv2d(6, 5, 1)
        self.head = nn.Conv2d(18, 4, 1)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head(torch.cat([self.trunk(x), self.one(x), self.other(x)], 1))


def image():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
'''

RULE = '''
"""What the operator does to channels."""
from widthwise.rules import Op, register


@register({operator})
def maxout_rule(op: Op):
    """A channel of one half meets the channel at the same place in the other."""
    batch, channels, *space = op.label(op.args[0])
    if channels is not None:
        half = len(channels) // 2
        channels = op.tie(channels[:half], channels[half:])
    return (batch, channels, *space)
'''

BY_PACKET = "from shop.network import torch\n" + RULE.replace("{operator}", "torch.ops.shop.maxout")
BY_NAME = RULE.replace("{operator}", '"shop::maxout"')

CUT = """
def cut(net, graph):
    # Shrink with proof; then look, without the library, at what the narrow network computes.
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    plan.save("plan.json")
    small = ww.shrink(net, plan)
    removed = [int(i) for i in np.flatnonzero(~plan.mask(graph)[graph.slots["head.weight"][1]])]
    stem = plan.mask(graph)[graph.slots["stem.weight"][0]]
    with torch.no_grad():
        again = ww.shrink(net, ww.Plan.load("plan.json"))(image())
        masked = copy.deepcopy(net)
        masked.head.weight[:, removed] = 0
        for conv in (masked.trunk[0], masked.one, masked.other):
            conv.weight[:, ~torch.from_numpy(stem)] = 0
        error = float((masked(image()) - small(image())).abs().max())
        differs = float((again - small(image())).abs().max())
    layers = ("stem", "trunk.0", "one", "other")
    return {
        "error": error,
        "differs": differs,
        "widths": {name: small.get_submodule(name).out_channels for name in layers},
        "share": plan.macs() / graph.macs(),
    }
"""

HEADER = """
import copy, json
import numpy as np
import torch
import widthwise as ww
torch.manual_seed(0)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package `shop` in it, which nothing has installed."""
    shop = tmp_path / "shop"
    shop.mkdir()
    files = {
        "__init__": "",
        "network": NETWORK,
        "rules_by_packet": BY_PACKET,
        "rules_by_name": BY_NAME,
    }
    for name, text in files.items():
        (shop / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def run(folder: Path, script: str) -> Any:
    """Run a script in a fresh process, in the package's folder; returns what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", HEADER + CUT + script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_a_rule_frees_what_the_operator_froze(package: Path) -> None:
    """Without its rule an operator freezes its channels and says where; with it they are cut."""
    found = run(
        package,
        """
from shop.network import Net, image
net = Net().eval()
before = ww.trace(net, image())
import shop.rules_by_packet
after = ww.trace(net, image())
print(json.dumps({
    "reason": before.axes["trunk.0"].frozen,
    "free": [name for name, axis in before.axes.items() if axis.frozen is None],
    "before": str(before),
    "axis": [after.axes["trunk.0"].frozen, after.axes["trunk.0"].width],
    **cut(net, after),
}))
""",
    )
    assert found["reason"] == "`shop.maxout` in `trunk.1`: has no rule"
    assert found["free"] == ["stem", "one", "other"], "it freezes what it touches, and only that"
    assert found["reason"] in found["before"], "the printed graph tells, too"
    assert found["axis"] == [None, 8]
    assert found["widths"]["trunk.0"] in range(2, 16, 2)
    assert 0.4 < found["share"] <= 0.5
    assert found["error"] < 1e-5
    assert found["differs"] == 0, "a plan read from its file cuts the same"


def test_a_rule_by_name_waits_for_its_operator(package: Path) -> None:
    """A rule registered by name, before the library of its operator exists, is the same rule."""
    found = run(
        package,
        """
import shop.rules_by_name
try:
    torch.ops.shop.maxout
    known = True
except AttributeError:
    known = False
from shop.network import Net, image
net = Net().eval()
graph = ww.trace(net, image())
print(json.dumps({
    "known": known,
    "found": ww.rules.lookup(torch.ops.shop.maxout.default) is shop.rules_by_name.maxout_rule,
    "axis": [graph.axes["trunk.0"].frozen, graph.axes["trunk.0"].width],
    **cut(net, graph),
}))
""",
    )
    assert not found["known"]
    assert found["found"]
    assert found["axis"] == [None, 8]
    assert found["error"] < 1e-5


def test_wishes_and_a_foreign_rule_work_together(package: Path) -> None:
    """What is frozen and tied by name stays so, beside channels that a foreign rule ties."""
    found = run(
        package,
        """
import shop.rules_by_name
from shop.network import Net, image
net = Net().eval()
graph = ww.trace(net, image(), freeze=["stem"], tie=[("one", "other")])
one, other = (graph.slots[f"{name}.weight"][0] for name in ("one", "other"))
print(json.dumps({
    "stem": graph.axes["stem"].frozen,
    "axes": list(graph.axes),
    "alike": bool((one == other).all()),
    **cut(net, graph),
}))
""",
    )
    assert found["stem"] == "frozen by name (`stem`)"
    assert found["axes"] == ["stem", "trunk.0", "one", "head"]
    assert found["alike"]
    assert found["widths"]["stem"] == 6
    assert found["widths"]["one"] == found["widths"]["other"]
    assert found["error"] < 1e-5
    assert found["differs"] == 0, "the constraints are kept in the plan"
