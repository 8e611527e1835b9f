"""Backbones of a tracker that are classifiers of any source: cut off, with their own weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.models.dimp.backbones import Trunk
from widthwise.models.dimp.network import Dimp, example_inputs

IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves behind of a ResNet-18 that was narrowed to a third of its MACs."""
    folder, name = tmp_path_factory.mktemp("runs") / "narrow", "torchvision/resnet18"
    torch.manual_seed(0)
    full = resolve(name).build(num_classes=10)
    graph = ww.trace(full, torch.zeros(1, 3, 64, 64))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.34), round_to=1)
    ww.save(ww.shrink(full, plan), plan, folder)
    model = {"name": name, "options": {"num_classes": 10}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    return folder


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("torchvision/resnet18", "layer3"),
        ("timm/resnet18", "layer3"),
        ("timm/efficientnet_b0", "blocks_4"),
        ("torchvision/mobilenet_v2", "features_13"),
    ],
)
def test_a_stage_ends_before_the_map_gets_smaller(name: str, last: str) -> None:
    """The last map of each stride is returned, at any size of image, and nothing after it stays."""
    trunk = Trunk(resolve(name).build(), (8, 16)).eval()
    assert [name for name, _ in trunk.named_children()][-1] == last
    with torch.no_grad():
        fine, coarse = trunk(IMAGES)
    assert fine.shape[2:] == (12, 12)
    assert coarse.shape[2:] == (6, 6)


def test_maps_are_those_of_timm() -> None:
    """They are what timm's own extraction of features returns for the same weights."""
    network = resolve("timm/resnet18").build()
    other = Dimp("resnet18", classifier_width=8, box_width=8).backbone.eval()
    other.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        made, expected = Trunk(network, (8, 16)).eval()(IMAGES), other(IMAGES)
    torch.testing.assert_close(made, expected)


def test_a_narrowed_classifier_is_a_backbone(run: Path) -> None:
    """Its run folder is named; weights and widths are those of the run, and heads fit them."""
    network = Dimp(str(run), classifier_width=16, box_width=8).eval()
    narrow = resolve(str(run)).build().eval()
    own = narrow.state_dict()
    kept = network.backbone.state_dict()
    assert kept
    assert all(torch.equal(own[name], values) for name, values in kept.items())
    assert not any(name.startswith(("layer4", "fc")) for name in kept)
    width = narrow.layer3[1].conv2.out_channels
    assert network.classifier.features[0].in_channels == width < 256
    assert network(*example_inputs(side=64)).scores.isfinite().all()


def test_a_tracker_on_a_run_can_be_cut_again(run: Path) -> None:
    """Layers of the backbone have axes, and the cut is proven."""
    network = Dimp(str(run), classifier_width=16, box_width=8).eval()
    graph = ww.trace(network, example_inputs(side=64))
    assert graph.axes["backbone.layer2.1.conv1"].frozen is None
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.8))
    assert ww.shrink(network, plan)(*example_inputs(side=64)).overlaps.isfinite().all()


def test_maps_that_grow_again_are_not_taken() -> None:
    """What comes after the first smaller map, such as a decoder, is cut off."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 8, 8),
        nn.Conv2d(4, 5, 2, 2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(5, 6, 1),
    )
    trunk = Trunk(network, (8, 16))
    assert [name for name, _ in trunk.named_children()] == ["0", "1"]
    assert [each.shape[1] for each in trunk(IMAGES)] == [4, 5]


class Scaled(nn.Module):
    """Layers that are called in turn, but for a factor between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 4, 8, 8)
        self.coarse = nn.Conv2d(4, 4, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.coarse(self.fine(images) * 2)
        return made


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (Scaled(), "more than to call its layers"),
        (nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 4, 4, 4)), "strides 8, 32"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)), "maps of strides"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), "does not run on an image of 64x64"),
    ],
)
def test_what_does_not_serve_is_refused(network: nn.Module, problem: str) -> None:
    """An error says what the layers make, or that they are not all there is."""
    with pytest.raises(ConfigError, match=problem):
        Trunk(network, (8, 16))


def test_weights_of_timm_are_for_names_of_timm(run: Path) -> None:
    """Asking for them with a run folder is an error, and so is a folder that is not there."""
    with pytest.raises(ConfigError, match="`pretrained`"):
        Dimp(str(run), pretrained=True)
    with pytest.raises(ConfigError, match="No model `runs/nowhere`"):
        Dimp("runs/nowhere")


def test_trackers_are_found_by_name() -> None:
    """Their example has boxes with an area, so that a traced network has finite outputs."""
    spec = resolve("widthwise/dimp18")
    crops, boxes, search, judged = spec.example()
    assert crops.shape == search.shape == (1, 1, 3, 288, 288)
    assert (boxes[..., 2:] > 0).all()
    assert (judged[..., 2:] > 0).all()
    network = spec.build(backbone="test_resnet").eval()
    with torch.no_grad():
        assert all(each.isfinite().all() for each in network(*example_inputs(side=64)))


def test_a_run_of_a_tracker_has_valid_examples(tmp_path: Path) -> None:
    """Loaded by its folder, it has the inputs it was traced with, boxes with an area among them."""
    options = {"backbone": "test_resnet"}
    network = resolve("widthwise/dimp18").build(**options)
    graph = ww.trace(network, example_inputs(side=64, batch=2))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    ww.save(ww.shrink(network, plan), plan, tmp_path)
    model = {"name": "widthwise/dimp18", "options": options}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    spec = resolve(str(tmp_path))
    example = spec.example()
    assert example[0].shape == (1, 1, 3, 64, 64)
    assert (example[1][..., 2:] > 0).all()
    with torch.no_grad():
        assert spec.build().eval()(*example).overlaps.isfinite().all()
