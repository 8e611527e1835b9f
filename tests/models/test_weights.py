"""Files of weights, as people keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from widthwise.errors import ConfigError
from widthwise.models.weights import load_weights


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


STATE = network(1).state_dict()


class Wrapped(nn.Module):
    """A network whose own names all begin with what a wrapper would put before them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.module = network(seed)


KEPT: dict[str, Any] = {
    "a state dict": STATE,
    "a checkpoint of a trainer": {"epoch": 3, "state_dict": STATE, "optimizer": {"state": {}}},
    "a checkpoint of a script": {"model": STATE, "ema_decay": 0.9},
    "of many GPUs": {f"module.{name}": tensor for name, tensor in STATE.items()},
    "compiled, of many GPUs": {
        "state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()}
    },
    "of many GPUs, compiled": {
        f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()
    },
    "of Lightning": {
        "state_dict": {f"network.{name}": tensor for name, tensor in STATE.items()},
        "callbacks": {},
    },
    "an average": {
        "n_averaged": torch.tensor(3),
        **{f"module.{name}": tensor for name, tensor in STATE.items()},
    },
    "under a name of its own": {"net": STATE, "epoch": 3},
}


def assert_loaded(path: Path) -> None:
    """Load a file into another network, and find the first one's values in it."""
    other = network(2)
    load_weights(other, path, name="mine")
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("kept", KEPT)
def test_what_trainers_write_is_read(tmp_path: Path, kept: str) -> None:
    """Alone or inside of a checkpoint, and whatever was wrapped around the network."""
    torch.save(KEPT[kept], tmp_path / "mine.pt")
    assert_loaded(tmp_path / "mine.pt")


def test_safetensors_are_read(tmp_path: Path) -> None:
    """By their ending."""
    save_file(STATE, tmp_path / "mine.safetensors")
    assert_loaded(tmp_path / "mine.safetensors")


def test_names_that_a_network_knows_are_left_alone(tmp_path: Path) -> None:
    """A part of the network may be called as a wrapper calls it."""
    torch.save(Wrapped(1).state_dict(), tmp_path / "mine.pt")
    other = Wrapped(2)
    load_weights(other, tmp_path / "mine.pt", name="mine")
    assert torch.equal(other.module[0].weight, STATE["0.weight"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("mine.pt", None, "No such file"),
        ("mine.safetensors", None, "No such file"),
        ("mine.pt", b"", "no file of weights"),
        ("mine.pt", b"not a file of weights", "no file of"),
        ("mine.pt", b"174812789\n", "no file of"),
        ("mine.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00not json", "no file of weights"),
        ("mine.pt", [1, 2], "holds a list, expected a state dict"),
        ("mine.pt", {"student": STATE, "teacher": STATE}, "expected a state dict"),
        ("mine.pt", {0: torch.zeros(3)}, "expected a state dict"),
        ("mine.pt", network(1), r"save `model\.state_dict\(\)`"),
        ("mine.pt", {"0.weight": torch.zeros(5, 3, 3, 3)}, "size mismatch for 0.weight.*options"),
    ],
)
def test_what_does_not_fit_is_told_with_both_names(
    tmp_path: Path, name: str, content: object, says: str
) -> None:
    """The file, the network, and what is wrong with them."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ConfigError, match=f"(?s){says}") as caught:
        load_weights(network(2), path, name="mine")
    assert max(map(len, str(caught.value).splitlines())) < 240
    assert name in str(caught.value) and "`mine`" in str(caught.value)
