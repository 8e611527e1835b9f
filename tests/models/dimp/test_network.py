"""DiMP as a network: what it costs, what can be cut, and that the cut is proven."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models.dimp.network import Dimp, dimp18, dimp50, example_inputs


def trained_looking(network: Dimp) -> Dimp:
    """Give batch normalisation the statistics of some frames, so that no branch is silent."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1)
    with torch.no_grad():
        for _ in range(10):
            network.train()(*example_inputs(side=64, batch=3, boxes=2))
    return network.eval()


def check_cut(network: Dimp, residual: tuple[str, str]) -> None:
    """Halve a network and compare sequences of a batch, which it was not traced with."""
    graph = ww.trace(network, example_inputs(side=96))
    frozen = {name: axis.frozen for name, axis in graph.axes.items() if axis.frozen}
    assert frozen == {"box_head.overlap": "network output"}
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(network, plan)
    assert plan.macs() <= graph.macs() / 2
    for name in residual:
        layers = [dict(each.named_modules())[f"backbone.{name}"] for each in (network, small)]
        full, cut = (int(each.weight.shape[0]) for each in layers)
        assert cut < 0.9 * full
    inputs = example_inputs(side=96, batch=2, template_frames=3, boxes=4)
    inputs[3].add_(torch.arange(4)[:, None] * torch.tensor([2.0, -3.0, 4.0, 5.0]))
    with torch.no_grad():
        together = small(*inputs)
        alone = [small(*(each[row : row + 1] for each in inputs)) for row in range(2)]
    assert together.scores.shape == (2, 6, 1, 7, 7)
    assert together.overlaps.shape == (2, 1, 4)
    assert together.scores.std() > 1e-2
    assert (together.overlaps.std(-1) > 1e-5).all()
    for index in range(2):
        torch.testing.assert_close(
            together[index], torch.cat([each[index] for each in alone]), rtol=1e-4, atol=1e-6
        )


def test_resnet18_is_cut_and_proven() -> None:
    """With both levels of ResNet-18 all axes are free, also those of residual sums."""
    network = trained_looking(dimp18())
    check_cut(network, ("layer2.1.conv2", "layer3.1.conv2"))


def test_resnet50_is_cut_and_proven() -> None:
    """So they are with ResNet-50, as in DiMP-50."""
    network = trained_looking(dimp50())
    check_cut(network, ("layer2.3.conv3", "layer3.5.conv3"))


@pytest.mark.parametrize(("build", "giga"), [(dimp18, 4.4), (dimp50, 10.2)])
def test_macs_are_those_of_a_frame(build: Callable[[], Dimp], giga: float) -> None:
    """A frame costs one crop through backbone and heads; the first frame is not counted."""
    with torch.device("meta"):
        network = build().eval()
    graph = ww.trace(network, tuple(each.to("meta") for each in example_inputs()))
    assert round(graph.macs() / 1e9, 1) == giga


def test_last_stage_is_not_built() -> None:
    """A classifier's layers behind the maps that are read do not exist."""
    network = Dimp("resnet18", classifier_width=8, box_width=8)
    assert hasattr(network.backbone, "layer3")
    assert not hasattr(network.backbone, "layer4")


def test_widths_are_read_off_a_narrowed_backbone() -> None:
    """A backbone cut in one tracker fits new heads, whatever it says of its own widths."""
    full = Dimp("resnet18", classifier_width=16, box_width=8).eval()
    graph = ww.trace(full, example_inputs(side=64))
    small = ww.shrink(full, ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5)))
    network = Dimp(small.backbone, classifier_width=24, box_width=16).eval()
    fine, coarse = (each.shape[1] for each in network.maps(torch.zeros(1, 3, 64, 64)))
    assert network.box_head.test_fine[0][0].in_channels == fine < 128
    assert network.classifier.features[0].in_channels == coarse < 256
    output = network(*example_inputs(side=64))
    assert output.scores.isfinite().all()


def test_templates_are_those_of_their_sequence() -> None:
    """Scores depend on all template frames of their own sequence, overlaps on the first of them."""
    network = trained_looking(Dimp("test_resnet", classifier_width=16, box_width=16))
    templates, boxes, search, wanted = example_inputs(side=64, batch=2, template_frames=2)
    search, wanted = torch.cat([search, search.flip(-1)], dim=1), wanted.expand(2, 2, 1, 4)
    with torch.no_grad():
        before = network(templates, boxes, search, wanted)
        for frame in range(2):
            changed = templates.clone()
            changed[1, frame] = changed[1, frame].flip(-1)
            after = network(changed, boxes, search, wanted)
            for index in range(2):
                torch.testing.assert_close(after[index][0], before[index][0])
            assert ((after.scores[1] - before.scores[1]).abs().amax((-1, -2)) > 1e-5).all()
            judged_anew = (after.overlaps[1] - before.overlaps[1]).abs() > 1e-5
            assert judged_anew.all() == (frame == 0)


def test_places_survive_mixed_precision() -> None:
    """In bfloat16 the filter and its scores are in single precision, and near those without it."""
    network = trained_looking(Dimp("test_resnet", classifier_width=16, box_width=16))
    inputs = example_inputs(side=64, batch=2, template_frames=2)
    plain = network(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(*inputs)
    for made, expected in zip(mixed, plain, strict=True):
        assert made.dtype == torch.float32
        assert 0 < (made - expected).norm() < 0.1 * expected.norm()


def test_colours_are_those_of_imagenet() -> None:
    """The backbone sees the mean colour as zero, and one a deviation brighter as one."""
    network = Dimp("test_resnet", classifier_width=8, box_width=8).eval()
    mean, deviation = (
        torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
        for colour in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    for steps in (0, 1):
        seen = network.maps(mean + steps * deviation)
        for made, expected in zip(seen, network.backbone(steps + 0 * mean), strict=True):
            torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("name", ["resnet19", "vit_tiny_patch16_224"])
def test_names_that_do_not_serve_are_refused(name: str) -> None:
    """An unknown network, and one without maps of both strides, are an error that names it."""
    with pytest.raises(ConfigError, match=f"`{name}`"):
        Dimp(name)


class OneMap(nn.Module):
    """A backbone with a single map."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images[..., ::8, ::8]]


def test_other_maps_are_refused() -> None:
    """A backbone module must return maps of strides 8 and 16."""
    with pytest.raises(ConfigError, match="OneMap"):
        Dimp(OneMap())
