"""Whatever happens to the files of a saved network, it comes back as it was or with an error."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import PlanError, RunError, WidthwiseError

FEW, MANY = 150, 1500
FILES = ("plan.json", "model.safetensors")


def build() -> nn.Module:
    """A network whose plan has several axes."""
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a narrow network."""
    torch.manual_seed(0)
    net, folder = build(), tmp_path_factory.mktemp("saved")
    graph = ww.trace(net, torch.randn(1, 3, 8, 8))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    ww.save(ww.shrink(net, plan), plan, folder)
    return folder


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Change a file in one of the ways that disks, networks and people do."""
    at, length = int(random.integers(len(content))), int(random.integers(1, 40))
    part = content[at : at + length]
    ways = [
        content[:at],
        content[:at] + content[at + length :],
        content[: at + length] + part + content[at + length :],
        content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :],
        content[:at] + random.bytes(length) + content[at + length :],
        content[:at] + b"\0" * len(part) + content[at + length :],
    ]
    numbers = list(re.finditer(rb"\d+", content))
    chosen = numbers[int(random.integers(len(numbers)))]
    other = [b"-1", b"1e999", b"999999999999", b'"x"', b"null", b"[]", b"{}", b"0.5"]
    number = other[int(random.integers(len(other)))]
    ways.append(content[: chosen.start()] + number + content[chosen.end() :])
    return ways[int(random.integers(len(ways)))]


def check_damaged(saved: Path, folder: Path, seeds: range) -> None:
    """Damage one file at a time and load the network."""
    whole = {name: (saved / name).read_bytes() for name in FILES}
    expected = ww.load(saved, build).state_dict()
    refused = 0
    for seed in seeds:
        random = np.random.default_rng(seed)
        name = FILES[seed % len(FILES)]
        for each, content in whole.items():
            (folder / each).write_bytes(mutated(content, random) if each == name else content)
        try:
            found = ww.load(folder, build).state_dict()
        except WidthwiseError:
            refused += 1
            continue
        assert all(torch.equal(found[key], value) for key, value in expected.items()), seed
    assert refused > 0.8 * len(seeds)


def test_a_damaged_file_is_refused_or_harmless(saved: Path, tmp_path: Path) -> None:
    """No other error than the library's, and no other network."""
    check_damaged(saved, tmp_path, range(FEW))


@pytest.mark.slow
def test_many_damaged_files_are_refused_or_harmless(saved: Path, tmp_path: Path) -> None:
    """The same ten times as often."""
    check_damaged(saved, tmp_path, range(FEW, FEW + MANY))


def test_a_flipped_bit_in_the_weights_is_found(saved: Path, tmp_path: Path) -> None:
    """The file can be read, and its numbers are others: the checksum tells."""
    for name in FILES:
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    content = bytearray((saved / FILES[1]).read_bytes())
    content[-3] ^= 64
    (tmp_path / FILES[1]).write_bytes(content)
    with pytest.raises(RunError, match="checksum"):
        ww.load(tmp_path, build)


def test_an_edited_plan_is_found_and_can_be_used_on_purpose(saved: Path, tmp_path: Path) -> None:
    """Costs are not made up; without its checksum a file is taken at its word."""
    data = json.loads((saved / FILES[0]).read_text())
    file = tmp_path / "plan.json"
    # Order and spacing may change: other tools write JSON, too.
    file.write_text(json.dumps(data, indent=4, sort_keys=True))
    assert ww.Plan.load(file).macs() == data["cost"]["macs"]
    data["cost"]["macs"] = 3
    file.write_text(json.dumps(data))
    with pytest.raises(PlanError, match="delete the line `checksum`"):
        ww.Plan.load(file)
    del data["checksum"]
    file.write_text(json.dumps(data))
    assert ww.Plan.load(file).macs() == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_ordinary_file_is_not_waited_for(saved: Path, tmp_path: Path) -> None:
    """A pipe and a device in the place of either file."""
    for name in FILES:
        folder = tmp_path / name
        folder.mkdir()
        for each in FILES:
            (folder / each).write_bytes((saved / each).read_bytes())
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises((PlanError, RunError), match="ordinary file"):
            ww.load(folder, build)
