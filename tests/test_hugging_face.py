"""Narrow networks of packages that have `save_pretrained` and `from_pretrained`."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError, PlanError
from widthwise.hugging_face import from_pretrained, save_pretrained
from widthwise.network.outputs import tensors_of

pytestmark = pytest.mark.filterwarnings("default")  # not ours to mend

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def resnet() -> Any:
    """A small ResNet of transformers, and an image."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type="basic", num_labels=5
    )
    return ResNetForImageClassification(config), (IMAGE,)


def vit() -> Any:
    """A small vision transformer of transformers, and an image."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=32, patch_size=8, num_labels=5,
    )  # fmt: skip
    return ViTForImageClassification(config), (IMAGE,)


def diffusion_unet() -> Any:
    """A small UNet of diffusers, and a noisy image with its time."""
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=32, layers_per_block=1, block_out_channels=(32, 64), norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return model, (IMAGE, torch.tensor([3]))


def segmentation_unet() -> Any:
    """A UNet of segmentation_models_pytorch, and an image."""
    import segmentation_models_pytorch

    return segmentation_models_pytorch.Unet("resnet18", encoder_weights=None), (IMAGE,)


NETWORKS: dict[str, tuple[str, Callable[[], Any]]] = {
    "resnet": ("transformers", resnet),
    "vit": ("transformers", vit),
    "diffusion_unet": ("diffusers", diffusion_unet),
    "segmentation_unet": ("segmentation_models_pytorch", segmentation_unet),
}


def build(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network and what it is called with; skips without its package."""
    package, make = NETWORKS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    torch.manual_seed(0)
    model, inputs = make()
    return model.eval(), inputs


def cut(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[nn.Module, ww.Plan]:
    graph = ww.trace(model, inputs)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    return ww.shrink(model, plan), plan


@pytest.mark.parametrize("name", NETWORKS)
def test_loads_equal_to_the_bit_in_a_fresh_process(name: str, tmp_path: Path) -> None:
    """By the method of its own class, at half the MACs; of that very class."""
    model, inputs = build(name)
    small, plan = cut(model, inputs)
    assert plan.macs() <= 0.5 * plan.full_macs
    save_pretrained(small, plan, tmp_path / "narrow")
    torch.save((inputs, tensors_of(small(*inputs))), tmp_path / "wanted.pt")
    kind = type(model)
    code = (
        f"import copy, sys, torch; torch.set_num_threads({torch.get_num_threads()})\n"
        f"from {kind.__module__} import {kind.__name__} as Kind\n"
        "from widthwise.hugging_face import from_pretrained\n"
        "from widthwise.network.outputs import tensors_of\n"
        "small = from_pretrained(Kind, 'narrow')\n"
        "assert type(small) is Kind\n"
        # Weights that lie in the memory of their file may be summed in another order.
        "small = copy.deepcopy(small).eval()\n"
        "inputs, wanted = torch.load('wanted.pt')\n"
        "assert all(map(torch.equal, tensors_of(small(*inputs)), wanted))\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", NETWORKS)
def test_plan_and_tensors_are_enough(name: str, tmp_path: Path) -> None:
    """`ww.save` and `ww.load` need nothing of the package but what builds the network."""
    model, inputs = build(name)
    small, plan = cut(model, inputs)
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, lambda: build(name)[0]).eval()
    pairs = zip(tensors_of(again(*inputs)), tensors_of(small(*inputs)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Mine(nn.Module):
    """What such a package asks of a network, and no more."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width = width
        self.first, self.last = nn.Conv2d(3, width, 3), nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())

    def save_pretrained(self, folder: Path) -> None:
        Path(folder).mkdir()
        Path(folder, "config.json").write_text(json.dumps({"width": self.width}))
        torch.save(self.state_dict(), Path(folder) / "weights.pt")

    @classmethod
    def from_pretrained(cls, folder: Path) -> Mine:
        network = cls(**json.loads(Path(folder, "config.json").read_text()))
        network.load_state_dict(torch.load(Path(folder) / "weights.pt"))
        return network


@pytest.fixture
def saved(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A narrow network of our own, and its folder."""
    small, plan = cut(Mine().eval(), (IMAGE,))
    save_pretrained(small, plan, tmp_path / "narrow")
    return small, tmp_path / "narrow"


def test_any_class_with_these_methods_will_do(saved: tuple[nn.Module, Path]) -> None:
    """Nothing of a package is used; what is loaded is of the class itself and can be copied."""
    small, folder = saved
    again = from_pretrained(Mine, folder)
    assert type(again) is Mine
    assert type(copy.deepcopy(again)) is Mine
    assert again.first.out_channels == small.first.out_channels < 8
    assert torch.equal(again(IMAGE), small(IMAGE))


def test_a_folder_without_its_plan_is_refused(saved: tuple[nn.Module, Path]) -> None:
    """The widths are nowhere else."""
    _, folder = saved
    (folder / "plan.json").unlink()
    with pytest.raises(PlanError, match="There is no plan file"):
        from_pretrained(Mine, folder)


def test_a_class_without_these_methods_is_told_what_to_write(tmp_path: Path) -> None:
    """`ww.save` and `ww.load` are for any network."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)).eval()
    small, plan = cut(net, (IMAGE,))
    with pytest.raises(ConfigError, match=r"`save_pretrained`(?s:.*)ww\.save"):
        save_pretrained(small, plan, tmp_path)
    with pytest.raises(ConfigError, match=r"`from_pretrained`(?s:.*)ww\.load"):
        from_pretrained(nn.Sequential, tmp_path)
