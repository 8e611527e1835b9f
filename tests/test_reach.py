"""The networks people have: traced, cut and proven, with no more left frozen than must be.

One small network for each kind of structure runs every time; `make test-slow` runs the whole list
of `benchmarks/reach.py`.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map

import reach
import reach_one
import widthwise as ww

BUDGET = 0.5
TOLERANCE = 1e-5

STRUCTURES = {
    "torchvision/alexnet": "maps flattened into linear layers",
    "timm/test_resnet": "residual stages",
    "timm/resnetblur18": "blur pooling",
    "timm/resnetv2_50x1_bit": "pre-activation, group norm, standardised weights (BiT)",
    "timm/test_nfnet": "scaled standardised weights and learned gains (NFNet)",
    "torchvision/densenet121": "dense concatenation",
    "torchvision/squeezenet1_1": "fire modules",
    "torchvision/googlenet": "parallel branches and auxiliary heads",
    "timm/ese_vovnet19b_slim_dw": "one-shot aggregation, effective squeeze-excite",
    "timm/cspnext_tiny": "cross-stage split and concatenation",
    "handwritten/c2f_detector": "split with every part reused, three heads",
    "timm/res2net50_48w_2s": "Res2Net",
    "timm/skresnet18": "selective kernels",
    "timm/resnest14d": "split attention with a radix",
    "timm/dpn48b": "dual paths",
    "timm/mixnet_s": "mixed kernel sizes",
    "timm/rexnet_100": "shortcuts over the first channels only",
    "timm/fasternet_t0": "partial convolutions",
    "timm/inception_next_atto": "depthwise branches of unequal parts",
    "timm/dla46x_c": "grouped convolutions (ResNeXt), aggregation trees",
    "torchvision/regnet_y_400mf": "groups of fixed size with squeeze-excite",
    "torchvision/shufflenet_v2_x1_5": "channel shuffle",
    "torchvision/mobilenet_v3_small": "inverted residuals with squeeze-excite",
    "timm/ghostnet_050": "features made from features",
    "timm/hrnet_w18_small": "several resolutions fused",
    "timm/test_convnext": "LayerScale",
    "timm/gmlp_ti16_224": "gates over tokens (gMLP)",
    "timm/mixer_s32_224": "linear layers over tokens",
    "timm/test_mambaout": "gated convolutions",
    "timm/test_vit": "fused queries, keys and values",
    "timm/test_vit_relpos": "relative positions by a small network",
    "torchvision/swin_t": "shifted windows, a table of relative positions",
    "timm/gcvit_xxtiny": "global queries",
    "timm/test_coatnet": "convolution, then attention",
    "timm/pvt_v2_b0": "separate queries, with keys and values at a lower resolution",
    "timm/mobilevit_xxs": "attention over unfolded patches",
    "timm/levit_128s": "attention with batch norms and a wider value",
    "timm/visformer_tiny": "attention made of convolutions",
    "handwritten/crnn": "a recurrent network over columns",
    "handwritten/siamese_tracker": "one backbone called twice, two inputs",
    "handwritten/two_tower": "a dict of inputs, two towers that meet",
    "timm/eca_resnext26ts": "a convolution along the channels (ECA)",
    "handwritten/gan_generator": "transposed convolutions",
    "handwritten/unet_pixel_shuffle": "pixel shuffle and skips",
    "torchvision/lraspp_mobilenet_v3_large": "segmentation, a dict of outputs",
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn": "a detector with a feature pyramid",
}
"""What runs every time, and which structure each network stands for."""

PLAIN, WITH_ATTENTION = 0.40, 0.50
"""Share of the parameters that half of every axis may leave: 0.25 and what is frozen."""

_HEAD = "a large part of it is its head of 1000 classes"
_ROTATED = "its trunk is its output, and one table of rotations serves the heads of all blocks"
MORE = {
    "timm/test_efficientnet": (0.44, _HEAD),
    "timm/test_mambaout": (0.41, _HEAD),
    "timm/mobilenetv3_small_050": (0.42, _HEAD),
    "torchvision/mnasnet0_5": (0.41, _HEAD),
    "torchvision/shufflenet_v2_x0_5": (0.46, _HEAD),
    "torchvision/shufflenet_v2_x1_0": (0.42, _HEAD),
    "torchvision/quantized_shufflenet_v2_x0_5": (0.46, _HEAD),
    "torchvision/quantized_shufflenet_v2_x1_0": (0.42, _HEAD),
    "timm/gmlp_ti16_224": (0.42, "its gates are square over the tokens, whose number stays"),
    "timm/qwen3_vit_88m": (0.52, "its trunk is its output"),
    "timm/vit_tiny_patch16_dinov3_qkvb": (0.68, _ROTATED),
    "timm/vit_small_plus_patch16_dinov3_qkvb": (0.64, _ROTATED),
}
"""Networks that may keep more, and why."""


def check_row(name: str, row: dict[str, Any]) -> None:
    """Hold one network's measurements against what is asked of every network."""
    assert "failure" not in row, row["failure"]
    assert BUDGET - 0.01 < row["kept_macs"] <= BUDGET
    assert row["proof_error"] < TOLERANCE
    assert row["half_proof_error"] < TOLERANCE
    usual = WITH_ATTENTION if row["attention"] else PLAIN
    assert row["half_params"] <= MORE.get(name, (usual,))[0], row["frozen"]


# What a network warns of while it is built or run is not ours.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STRUCTURES)
def test_each_structure_is_cut_and_proven(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the MACs, and half of every axis, can go with proof; little is frozen."""
    # A test worker has no peak of its own, and only Linux tells any.
    monkeypatch.setattr(reach_one, "_peak", lambda **_: 0)
    parts = reach_one.with_widthwise(*reach_one.build(name))
    check_row(name, {key: value for part in parts for key, value in part.items()})
    gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STRUCTURES)
def test_each_structure_heals(name: str) -> None:
    """Cut to four fifths of the MACs, fitted and refined; no layer is worse on held-out inputs."""
    model, inputs = reach_one.build(name)
    graph = ww.trace(model, inputs)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.8), round_to=1)
    small = ww.shrink(model, plan, verify=False)

    def moved(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return tree_map(
            lambda t: (
                t + 0.1 * torch.randn(t.shape, generator=generator)
                if isinstance(t, torch.Tensor) and t.is_floating_point()
                else t
            ),
            inputs,
        )

    report = ww.heal(small, model, plan, [moved(seed) for seed in range(4)], steps=1)
    assert not any(layer.after > layer.before for layer in report.layers), str(report)
    assert any(not layer.what.startswith("nothing") for layer in report.layers), str(report)
    assert all(bool(p.isfinite().all()) for p in small.parameters())
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in reach.all_names() if name not in STRUCTURES])
def test_the_whole_list_is_cut_and_proven(name: str) -> None:
    """The same holds for every network of the reach benchmark, each in a process of its own."""
    check_row(name, reach.measure("widthwise", name, seconds=300))


def test_every_exception_is_a_network_that_runs() -> None:
    """An exception names a network of the list, and allows more than is usual."""
    assert set(MORE) <= {*reach.all_names(), *STRUCTURES}
    assert all(share > PLAIN for share, _ in MORE.values())
