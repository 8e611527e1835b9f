"""Where data sets are looked for, and what happens when a download fails."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from widthwise.data import load_dataset
from widthwise.data.source import FOLDER_VARIABLE, data_folder
from widthwise.errors import ConfigError, DataError


def test_the_folder_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is the one given, else that of the environment variable, else `data`."""
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert data_folder(None) == Path("data")
    monkeypatch.setenv(FOLDER_VARIABLE, "/sets")
    assert data_folder(None) == Path("/sets")
    assert data_folder(Path("mine")) == Path("mine")


def test_the_environment_variable_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a folder, a data set is looked for in that of the variable."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "sets"))
    with pytest.raises(DataError, match=str(tmp_path / "sets")):
        load_dataset("cifar100")


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet", "torchvision/FashionMNIST"])
def test_a_failed_download_says_why(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a network, `download` is an error with the reason and what else can be done."""

    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(DataError, match=f"`{name}` could not be downloaded into .*") as caught:
        load_dataset(name, folder=tmp_path / "new", download=True)
    assert "Hint: check the network" in str(caught.value)


def test_nothing_is_downloaded_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data set that is not there is an error, not a download."""
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("downloaded"))
    for name in ("cifar10", "cifar100", "tiny_imagenet", "torchvision/SVHN", "timm/torch/mnist"):
        with pytest.raises(DataError, match=r"--task.download true"):
            load_dataset(name, folder=tmp_path)


def test_an_unknown_name_lists_all_there_are() -> None:
    """A wrong name is an error with the nearest one and both libraries."""
    with pytest.raises(ConfigError, match=r"nearest name is `cifar10`; .*`timm/NAME`"):
        load_dataset("cifar-10")
