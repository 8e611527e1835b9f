"""What a trace says about particular structures, and what it refuses."""

from __future__ import annotations

import weakref
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import widthwise as ww
from cases import BY_NAME
from zoo_attention import Block
from zoo_basic import Head


def traced(name: str) -> ww.ChannelGraph:
    """Trace a network of the zoo; the graph holds it weakly, so costs and axes are all there is."""
    case = BY_NAME[name]
    model = case.build()
    graph = ww.trace(model, case.example_inputs)
    graph.keep_alive = model  # type: ignore[attr-defined]
    return graph


def test_axes_are_named_after_the_first_layer_that_makes_them() -> None:
    """A residual stage has the name of its first producer, other axes that of their layer."""
    graph = ww.trace(torchvision.models.resnet18(), torch.zeros(1, 3, 64, 64))
    assert list(graph.axes)[:4] == ["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"]
    assert ("layer1.1.conv2.weight", 0) in graph.axes["conv1"].members
    assert ("layer2.0.downsample.0.weight", 1) in graph.axes["conv1"].members


def test_only_the_output_of_a_plain_network_is_frozen() -> None:
    """Everything but the classes may be narrowed."""
    graph = ww.trace(torchvision.models.resnet18(), torch.zeros(1, 3, 64, 64))
    frozen = {name: axis.frozen for name, axis in graph.axes.items() if axis.frozen}
    assert frozen == {"fc": "network output"}


def test_pixel_shuffle_takes_whole_squares() -> None:
    """Channels that become one pixel's neighbourhood are one unit."""
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 3, 1))
    axis = ww.trace(net, torch.zeros(1, 3, 4, 4)).axes["0"]
    assert (axis.width, axis.unit_size, axis.frozen) == (4, 4, None)


def test_unknown_operator_freezes_with_its_name_and_place() -> None:
    """An operator without a rule freezes what it touches, and the reason names both."""
    graph = traced("custom_op")
    reasons = [axis.frozen for axis in graph.axes.values() if axis.frozen]
    assert any("widthwise_tests.alternate" in str(r) and "has no rule" in str(r) for r in reasons)


def test_head_size_in_an_attribute_follows() -> None:
    """Attention whose code keeps a head size in an attribute is narrowed, the attribute with it."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.head_size = 2, 6
            self.embed, self.qkv = nn.Linear(5, 12), nn.Linear(12, 36)
            self.proj, self.head = nn.Linear(12, 12), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x)
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return self.head(x + self.proj(y))

    net = Attention()
    graph = ww.trace(net, torch.randn(2, 7, 5))
    plan = ww.plan(graph, score=ww.scores.L2(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    size = plan.attributes["head_size"][0]
    assert size < 6
    assert small.head_size == size
    assert small.qkv.out_features == 3 * 2 * size
    assert net.head_size == 6


def test_equal_counts_are_found_when_code_splits_one_width_by_another() -> None:
    """`view(..., heads, c // heads)` with `c` the input's width ties the two widths."""
    graph = traced("attention_fused_qkv")
    tied = [name for axis in graph.axes.values() for name, _ in axis.members if not axis.frozen]
    assert {"embed.weight", "qkv.weight", "proj.weight"} <= set(tied)


def test_multi_head_attention_of_torch_is_narrowed() -> None:
    """`nn.MultiheadAttention` checks its own width; the check follows."""
    graph = traced("mha")
    assert all(a.frozen in (None, "network output") for a in graph.axes.values())


def test_auxiliary_head_is_tied_to_the_trunk() -> None:
    """A head that only training uses is narrowed with the features it reads."""
    net = BY_NAME["aux_head_in_train_mode"].build()
    graph = ww.trace(net, BY_NAME["aux_head_in_train_mode"].example_inputs)
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan).train()
    out = small(torch.randn(4, 3, 16, 16))
    assert len(out) == len(net.train()(torch.randn(4, 3, 16, 16)))


def test_forward_that_reads_values_is_traced_on_real_tensors_and_says_so() -> None:
    """The report tells that the meta device did not serve, and where."""
    graph = traced("reads_values")
    assert any("real tensors" in note for note in graph.notes)
    assert "real tensors" in str(graph)


def test_forward_that_reads_values_needs_weights() -> None:
    """Without weights such a network is refused with the way out."""
    net = BY_NAME["reads_values"].build().to("meta")
    with pytest.raises(ww.errors.TraceError, match=r"build the model on the CPU"):
        ww.trace(net, BY_NAME["reads_values"].example_inputs)


def test_wrong_input_names_the_module_that_fails() -> None:
    """An example input of the wrong shape is an error with the path, the shapes and a hint."""
    net = torchvision.models.resnet18()
    with pytest.raises(ww.errors.TraceError) as caught:
        ww.trace(net, torch.zeros(1, 1, 64, 64))
    text = str(caught.value)
    assert "`conv1`" in text and "[1, 1, 64, 64]" in text and "Hint" in text


def test_forward_that_is_not_a_function_of_its_inputs_is_refused() -> None:
    """A network that runs differently each time cannot be compared with itself."""
    calls: list[int] = []

    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(1)
            for _ in calls:
                x = self.a(x)
            return self.b(x)

    with pytest.raises(ww.errors.TraceError, match="runs differently each time"):
        ww.trace(Fickle(), torch.zeros(1, 4))


def test_report_lists_axes_costs_and_reasons() -> None:
    """The pre-flight report has a row per axis, the totals and the smallest reachable cost."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    text = str(ww.trace(net, torch.zeros(1, 3, 8, 8)))
    assert "network output" in text
    assert "12,384 MACs and 516 parameters" in text
    assert "1 of 2 axes are free" in text
    assert "1,548 MACs (12.5%)" in text


def test_graph_does_not_keep_the_network_alive() -> None:
    """A graph holds its network weakly, and says so when it is gone."""
    graph = ww.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(ww.errors.TraceError, match="no longer exists"):
        ww.scores.L1()(graph)


def test_weight_norm_of_either_kind_is_narrowed() -> None:
    """The old `weight_norm`, whose weight is a result of autograd, and its parametrization."""
    for norm in (nn.utils.weight_norm, nn.utils.parametrizations.weight_norm):
        with pytest.warns(FutureWarning) if norm is nn.utils.weight_norm else nullcontext():
            net = nn.Sequential(norm(nn.Conv2d(3, 8, 1)), nn.ReLU(), norm(nn.Conv2d(8, 2, 1)))
        graph = ww.trace(net, torch.randn(1, 3, 4, 4))
        assert graph.axes["0"].frozen is None or graph.axes["0"].frozen == "network output", graph
        plan = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.5))
        small = ww.shrink(net, plan)
        assert sum(p.numel() for p in small.parameters()) == plan.params()


class Refuses(nn.Module):
    """Takes 16 channels and nothing else, and passes them to a block as others use it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 16:
            raise ValueError("16 channels, please")
        return self.block(x)


def test_what_serves_elsewhere_is_not_frozen_with_it() -> None:
    """A class of blocks is not frozen everywhere for what surrounds one of them."""
    net = nn.Sequential(Block(3, 8), Block(8, 16), Refuses(), Block(12, 10), Head(10))
    graph = ww.trace(net, torch.zeros(1, 3, 8, 8))
    frozen = {name: axis.frozen for name, axis in graph.axes.items() if axis.frozen}
    assert set(frozen) == {"1.conv", "4.fc"}
    assert "16 channels, please" in frozen["1.conv"]


@pytest.mark.parametrize("text", ["MetaFormer takes 16 channels", "no metadata given"])
def test_a_word_with_meta_in_it_is_no_missing_value(text: str) -> None:
    """Only PyTorch's complaints of meta tensors lead to other ways of tracing."""

    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(text)

    with pytest.raises(ww.errors.TraceError, match="failed on the example inputs"):
        ww.trace(Strict().to("meta"), torch.zeros(1, 3, 4, 4))


def test_two_devices_are_a_missing_value() -> None:
    """A tensor that the code keeps on the CPU cannot meet one without values; real ones serve."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            if float(x.cpu().numpy().max()) > 9:
                x = x / 2
            return self.last(self.first(x))

    graph = ww.trace(Keeps(), torch.zeros(1, 3, 4, 4))
    assert any("real tensors" in note for note in graph.notes)
    assert graph.axes["first"].frozen is None


def test_a_trace_on_real_tensors_lets_go_of_activations() -> None:
    """What a forward itself no longer holds is not held by the trace either."""
    alive: list[int] = []
    refs: list[weakref.ref[Tensor]] = []

    class Layer(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            refs.append(weakref.ref(y))
            alive.append(sum(ref() is not None for ref in refs))
            return y

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(Layer(3, 3, 1) for _ in range(12)), nn.Conv2d(3, 2, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x) if x.sum().item() < 1 else x

    graph = ww.trace(Deep(), torch.zeros(1, 3, 4, 4))
    assert any("real tensors" in note for note in graph.notes)
    passes = len(alive) // 12
    # On the meta device nothing takes memory, and everything is held.
    assert passes >= 3 and max(alive[-12 * (passes - 1) :]) <= 3
