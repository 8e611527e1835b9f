"""Narrow networks on the Hugging Face Hub, without a connection."""

from __future__ import annotations

import inspect
import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError, RunError
from widthwise.shrinking.hub import HubFolder

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


class Hub:
    """Repositories in folders of this machine, called as the real package is."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, []
        self.asked: list[str] = []

    def create_repo(self, repo_id: str, **rest: Any) -> None:
        inspect.signature(huggingface_hub.create_repo).bind(repo_id, **rest)
        self.made.append((repo_id, rest["private"]))
        (self.root / repo_id).mkdir(parents=True, exist_ok=rest["exist_ok"])

    def file_exists(self, repo_id: str, filename: str, **rest: Any) -> bool:
        inspect.signature(huggingface_hub.file_exists).bind(repo_id, filename, **rest)
        return (self.root / repo_id / filename).exists()

    def upload_folder(self, **rest: Any) -> None:
        inspect.signature(huggingface_hub.upload_folder).bind(**rest)
        target = self.root / rest["repo_id"] / (rest["path_in_repo"] or "")
        shutil.copytree(rest["folder_path"], target, dirs_exist_ok=True)

    def snapshot_download(self, repo_id: str, **rest: Any) -> str:
        inspect.signature(huggingface_hub.snapshot_download).bind(repo_id, **rest)
        self.asked = rest["allow_patterns"]
        if not (self.root / repo_id).exists():
            raise OSError("404 Client Error\nand a page of reasons")
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The Hub, as the library sees it."""
    fake = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


def cut() -> tuple[nn.Module, ww.Plan]:
    """A narrow network and its plan."""
    model = Net().eval()
    graph = ww.trace(model, X)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    return ww.shrink(model, plan), plan


@pytest.mark.parametrize("address", ["hf://me/nets", "hf://me/nets/half/", "hf://me/nets@v2/a/b"])
def test_a_network_comes_back_from_the_hub(address: str, hub: Hub) -> None:
    """Plan and weights are all that is downloaded, and outputs are the same to the bit."""
    small, plan = cut()
    ww.save(small, plan, address)
    again = ww.load(address, Net).eval()
    assert torch.equal(again(X), small(X))
    assert [Path(name).name for name in hub.asked] == ["plan.json", "model.safetensors"]
    assert hub.made == [("me/nets", True)]


def test_the_card_says_what_it_is_and_how_it_is_loaded(hub: Hub) -> None:
    """Its line loads the network; a card that is there stays."""
    small, plan = cut()
    ww.save(small, plan, "hf://me/nets")
    card = hub.root / "me/nets/README.md"
    text = card.read_text()
    assert text.startswith("---\nlibrary_name: widthwise\n")
    assert f"| {plan.macs():,} | {plan.full_macs:,} |" in text
    names: dict[str, Any] = {"Net": Net}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    assert torch.equal(names["network"].eval()(X), small(X))
    card.write_text("my own")
    ww.save(small, plan, "hf://me/nets")
    assert card.read_text() == "my own"


def test_what_the_hub_refuses_is_said_in_one_line(hub: Hub) -> None:
    """With the address, the first line of the reason, and the way out."""
    with pytest.raises(RunError, match=r"`hf://me/none` cannot be read: OSError: 404.*\nHint"):
        ww.load("hf://me/none", Net)


@pytest.mark.parametrize(
    "address", ["hf://", "hf://alone", "hf://me/nets/../../other", "hf://a b/c"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Before anything is written or asked for."""
    with pytest.raises(ConfigError, match="hf://user/repository"):
        HubFolder.at(address)


def test_without_the_package_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what to install."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RunError, match="pip install huggingface_hub"):
        ww.load("hf://me/nets", Net)
