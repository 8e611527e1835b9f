"""The zoo: small networks, each named by what is hard about it.

Every check that should hold for any network runs on all of them (`every_case`). A case's note
says what it adds. Networks are plain PyTorch and know nothing about widths; none has more than a
few thousand parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo_attention
import zoo_basic
import zoo_constants
import zoo_joined
import zoo_odd
import zoo_values


@dataclass(frozen=True, kw_only=True)
class Case:
    """One small network with the input it runs on."""

    name: str
    factory: Callable[[], nn.Module]
    """Builds the network with torch's own initialisation, in train mode."""
    inputs: Callable[[], Any]
    """Builds one example input (batch of one): a tensor, a tuple or a dict."""
    note: str
    """What is hard about it."""
    mixes_channels: bool = False
    """Some operation computes a statistic over the channels that may be removed (a mean, a norm,
    a softmax), so that zeroing a channel is not the same as removing it."""
    free: bool = True
    """Whether at least one axis may be narrowed."""

    def build(self, seed: int = 0) -> nn.Module:
        """Build the network in eval mode with every parameter and statistic away from 0 and 1."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.factory().eval()
            scramble(model)
        return model

    @property
    def example_inputs(self) -> Any:
        """A fresh copy of the same random example input."""
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return self.inputs()


def scramble(model: nn.Module) -> None:
    """Replace the values that hide mistakes: zero biases, unit scales, fresh statistics."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.dtype.is_floating_point and tensor.dim() <= 1 and tensor.numel() > 1:
                low, high = (0.5, 1.5) if "var" in name or "weight" in name else (-0.5, 0.5)
                tensor.uniform_(low, high)


def image(*shape: int) -> Callable[[], Tensor]:
    """An input builder: one random tensor of this shape."""
    return lambda: torch.randn(*shape)


IMAGE = image(1, 3, 16, 16)


def _case(
    factory: Callable[[], nn.Module],
    inputs: Callable[[], Any] = IMAGE,
    *,
    name: str | None = None,
    **facts: bool,
) -> Case:
    """Name a case after its class, in snake case, with the class docstring as its note."""
    title = getattr(factory, "__name__", "")
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in title).strip("_")
    note = " ".join((factory.__doc__ or "").split())
    return Case(name=name or words, factory=factory, inputs=inputs, note=note, **facts)


CASES: list[Case] = [
    _case(zoo_basic.Chain),
    _case(zoo_basic.NoBias),
    _case(zoo_basic.ResidualAdd),
    _case(zoo_basic.ResidualProjection),
    _case(zoo_basic.PreActivation),
    _case(zoo_basic.DenseConcat),
    _case(zoo_basic.Depthwise),
    _case(zoo_basic.GroupedConv),
    _case(zoo_basic.FlattenLinear),
    _case(zoo_basic.TransposedConv),
    _case(zoo_basic.TransposedDepthwise),
    _case(zoo_basic.PixelShuffle),
    _case(zoo_basic.PixelUnshuffle),
    _case(zoo_basic.SqueezeExcite),
    _case(zoo_basic.UnetSkip),
    _case(zoo_basic.Interpolate),
    _case(zoo_basic.BlurPool),
    _case(zoo_basic.AdaptivePool),
    _case(zoo_basic.Prelu),
    _case(zoo_basic.InstanceNorm),
    _case(zoo_basic.GroupNorm),
    _case(zoo_basic.Conv1d, image(1, 4, 32), name="conv1d"),
    _case(zoo_basic.Conv3d, image(1, 2, 6, 8, 8), name="conv3d"),
    _case(zoo_basic.StochasticDepth),
    _case(zoo_basic.GlobalResidual),
    _case(zoo_basic.InplaceOps),
    _case(zoo_joined.CascadedConcats),
    _case(zoo_joined.SplitElsewhere),
    _case(zoo_joined.BareParameters),
    _case(zoo_joined.OneChannelOutput),
    _case(zoo_odd.ChannelShuffle),
    _case(zoo_odd.RadixSoftmax),
    _case(zoo_odd.ChunkGlu),
    _case(zoo_odd.UnequalSplit),
    _case(zoo_odd.TypeAShortcut),
    _case(zoo_odd.CatWithItself),
    _case(zoo_odd.BranchReused),
    _case(zoo_odd.StackSum),
    _case(zoo_odd.SharedModule),
    _case(zoo_odd.TiedWeights),
    _case(zoo_odd.UnusedModule),
    _case(zoo_odd.TwoHeads),
    _case(zoo_odd.NestedOutput),
    _case(zoo_odd.AuxHeadInTrainMode),
    _case(zoo_odd.TwoInputs, lambda: (torch.randn(1, 3, 8, 8), torch.randn(1, 5))),
    _case(
        zoo_odd.DictInput,
        lambda: {"image": torch.randn(1, 3, 8, 8), "guide": torch.randn(1, 1, 8, 8)},
    ),
    _case(zoo_odd.SiameseXcorr, lambda: (torch.randn(1, 3, 12, 12), torch.randn(1, 3, 24, 24))),
    _case(zoo_odd.WeightStandardised, mixes_channels=True),
    _case(zoo_odd.WeightNorm, mixes_channels=True),
    _case(zoo_odd.WeightNormPerInput, mixes_channels=True),
    _case(zoo_odd.WeightNormPerTap, image(1, 3, 20), mixes_channels=True),
    _case(zoo_odd.SpatialAttention, mixes_channels=True),
    _case(zoo_odd.UnknownOp),
    _case(zoo_odd.SortedChannels),
    _case(zoo_odd.CustomOp),
    _case(zoo_odd.SliceAssign),
    _case(zoo_odd.RepeatedChannels),
    _case(zoo_odd.ReadsValues),
    _case(zoo_odd.FixedWidthInForward),
    _case(zoo_constants.SplitSizesInAttribute),
    _case(zoo_constants.SplitWidthInAttribute),
    _case(zoo_constants.PartialAdd),
    _case(zoo_constants.StandardisedByBatchNorm, mixes_channels=True),
    _case(zoo_constants.HeadSizeInAttribute, image(1, 5, 6), mixes_channels=True),
    _case(zoo_constants.SlidingWindows),
    _case(zoo_constants.ShapeInAttribute),
    _case(zoo_constants.ShapeBesideBatch),
    _case(zoo_constants.TwoPartsOneAttribute),
    _case(zoo_constants.UnfoldFold),
    _case(zoo_constants.MultipleOfAttribute, image(1, 6)),
    _case(zoo_constants.SumOfAttributes, mixes_channels=True),
    _case(zoo_constants.Lstm, image(1, 3, 4, 6), mixes_channels=True),
    _case(zoo_constants.Gru, image(1, 5, 4), mixes_channels=True),
    _case(zoo_attention.LayerScale, mixes_channels=True),
    _case(zoo_attention.LayernormMlp, mixes_channels=True),
    _case(zoo_values.ChosenByScore),
    _case(zoo_values.WrittenByIndex),
    _case(zoo_values.CachedInFirstRun),
    _case(zoo_values.ShuffledHalves),
    _case(zoo_values.GatesOneByOne),
    _case(zoo_values.TableOfAFraction, image(1, 5, 6)),
    _case(zoo_values.SizeInChild),
    _case(zoo_values.MixedTokens, image(1, 4, 6)),
    _case(zoo_values.LearnedQueries),
    _case(zoo_values.ChannelConvolution, mixes_channels=True),
    _case(zoo_values.LookedUpKernels, mixes_channels=True),
    _case(zoo_attention.RmsNorm, mixes_channels=True),
    _case(zoo_attention.L2Normalise, mixes_channels=True),
    _case(zoo_attention.AttentionFusedQkv, mixes_channels=True),
    _case(zoo_attention.AttentionInBlocks, image(1, 3, 6, 6), mixes_channels=True),
    _case(zoo_attention.AttentionSdpa, mixes_channels=True),
    _case(zoo_attention.Mha, image(1, 6, 16), mixes_channels=True),
    _case(zoo_attention.TokenMixer, mixes_channels=True),
    _case(zoo_attention.NonLocal),
    _case(zoo_attention.EinsumLinear, image(1, 6, 12)),
    _case(zoo_attention.Embedding, lambda: torch.arange(6).reshape(1, 6) % 4),
    _case(zoo_attention.ClassToken, mixes_channels=True),
]

BY_NAME: dict[str, Case] = {case.name: case for case in CASES}


def every_case(
    *, without: dict[str, str] | None = None, where: Callable[[Case], bool] | None = None
) -> pytest.MarkDecorator:
    """Parametrize a test's `case` argument with the whole zoo.

    Args:
        without: Names to leave out, each with the reason.
        where: Keeps only the cases it returns True for.
    """
    without = without or {}
    unknown = set(without) - set(BY_NAME)
    if unknown:
        raise KeyError(f"no such case: {sorted(unknown)}")
    chosen = [c for c in CASES if c.name not in without and (where is None or where(c))]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.name)
