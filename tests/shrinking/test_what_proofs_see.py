"""What a proof sees, and does not cry wolf about: numbers, precision, gains, complex values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise import prove
from widthwise.errors import ProofError
from widthwise.network.inputs import Inputs
from widthwise.shrinking.side_by_side import run_narrow


def cut(model: nn.Module, image: Tensor) -> tuple[ww.Plan, nn.Module]:
    """Halve a network."""
    graph = ww.trace(model, image)
    plan = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.5))
    return plan, ww.shrink(model, plan, verify=False)


class ScaledByTensor(nn.Module):
    """Divides similarities by the root of a width that it has put into a tensor, as RAFT does."""

    def __init__(self, make: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.query, self.key, self.make = nn.Linear(6, 16), nn.Linear(6, 16), make

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.query(x), self.key(x)
        return query @ key.transpose(1, 2) / self.make(query.shape[-1]).sqrt()


@pytest.mark.parametrize(
    "make",
    [
        lambda width: torch.tensor(float(width)),
        lambda width: torch.tensor([width, width]).max().float(),
        lambda width: torch.full((1,), width).float(),
        lambda width: torch.ones(()).new_full((), width),
        lambda width: torch.zeros(1).fill_(width),
    ],
    ids=["tensor", "list", "full", "new_full", "fill_"],
)
def test_a_width_in_a_tensor_is_a_number(make: Callable[[int], Tensor]) -> None:
    """A scale says how many channels there are, whether it is a number or a tensor of one."""
    model, inputs = ScaledByTensor(make), torch.randn(2, 5, 6)
    plan, small = cut(model, inputs)
    assert plan.widths["query"] < 16
    assert prove(model, small, plan).error < 1e-5


class AsksForFloat32(nn.Module):
    """Asks for float32 in the ways that code does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).float()
        rows = torch.arange(x.shape[2]).float()[:, None]
        x = torch.matmul(x, torch.ones(x.shape[3], 5)) * rows
        turned = torch.view_as_real(torch.ones(1, dtype=torch.complex64) * x).sum(-1)
        return self.last(turned.to(torch.bfloat16)) + torch.zeros(1)


def test_a_proof_in_float64_is_in_float64_throughout() -> None:
    """What code asks for in float32 is computed in float64 where the proof is."""
    notes = run_narrow(
        AsksForFloat32().double(), Inputs((torch.randn(2, 3, 8, 8).double(),), {}), torch.float64
    )
    assert notes.failure is None
    assert {tensor.dtype for _, tensors in notes.outputs for tensor in tensors} == {torch.float64}
    assert torch.get_default_dtype() == torch.float32


class Halves(nn.Module):
    """Computes in half precision, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.half()))


def test_networks_in_half_precision_are_proven() -> None:
    """Weights are compared in float32; code that makes halves of the input makes float32 there."""
    model, inputs = Halves().half(), torch.randn(2, 3, 8, 8).half()
    plan, small = cut(model, inputs)
    proof = prove(model, small, plan)
    assert proof.compared == ("first", "last", "")
    assert proof.error < 1e-5


class Imaginary(nn.Module):
    """The imaginary part of its output reads channels by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.complex(self.last(x), torch.zeros(())) + 1j * x[:, 6:13]


def test_imaginary_parts_are_compared() -> None:
    """A cut that is right in the real part only is refused."""
    net, image = Imaginary(), torch.randn(1, 3, 8, 8)
    graph = ww.trace(net, image)
    kept = graph.everything.copy()
    kept[graph.axes["first"].units.start : graph.axes["first"].units.start + 3] = False
    with pytest.raises((ww.errors.PlanError, ww.errors.ProofError)):
        ww.shrink(net, ww.Plan.of(graph, kept))


class InPlace(nn.Module):
    """Normalises its input where it lies."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.first, self.last, self.reads = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1), reads

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        if self.reads and x.sum().item() > 1e9:
            raise ValueError
        return self.last(self.first(x).relu())


@pytest.mark.parametrize("reads", [False, True], ids=["meta", "real"])
def test_example_inputs_are_left_as_they_were(reads: bool) -> None:
    """Code that writes into its input writes into a copy, the same for both networks."""
    net, image = InPlace(reads), torch.randn(2, 3, 8, 8)
    before = image.clone()
    plan, small = cut(net, image)
    assert prove(net, small, plan).error < 1e-5
    assert torch.equal(image, before)


class Gained(nn.Module):
    """Adds channels by their number, behind a gain."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 7, 1)
        self.gain = nn.Parameter(torch.full((1,), gain))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x) + self.gain * x[:, 6:13]


@pytest.mark.parametrize("gain", [0.0, 1e-6, 1.0])
def test_the_proof_sees_through_gains_next_to_zero(gain: float) -> None:
    """What is wrong behind a gain that has not grown yet is found, whatever the gain."""
    net, image = Gained(gain), torch.randn(1, 3, 8, 8)
    graph = ww.trace(net, image)
    kept = graph.everything.copy()
    kept[graph.axes["first"].units.start : graph.axes["first"].units.start + 3] = False
    with pytest.raises(ww.errors.ProofError, match="network's output"):
        ww.shrink(net, ww.Plan.of(graph, kept))


def test_values_next_to_zero_are_compared_all_the_same() -> None:
    """A gain that is no slice of the full network's keeps its value, and fails the proof."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    nn.init.zeros_(net.get_parameter("1.weight"))
    plan, small = cut(net, torch.randn(1, 3, 8, 8))
    proof = prove(net, small, plan)
    assert set(proof.woken) == {"1.weight", "1.bias"} and "2 parameters next to zero" in str(proof)
    assert not small.get_parameter("1.weight").any()
    with torch.no_grad():
        small.get_parameter("1.weight")[0] = 1e-4
    with pytest.raises(ww.errors.ProofError, match="`1`"):
        prove(net, small, plan)


def test_numbers_in_place_are_those_of_the_narrow_network() -> None:
    """What is scaled in place is scaled once, by the narrow network's number."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(3, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            q = self.enter(x)
            q.mul_(q.shape[-1] ** -0.5)
            return self.leave(q.relu_().add_(q.shape[-1] / 8))

    torch.manual_seed(0)
    net = Net()
    plan, small = cut(net, torch.randn(2, 3))
    assert plan.widths["enter"] == 8
    prove(net, small, plan)


@pytest.mark.parametrize("training", [True, False])
def test_weights_that_learn_when_they_are_asked_are_left_alone(training: bool) -> None:
    """Spectral normalisation takes a step at each look in training mode; shrinking takes none."""
    torch.manual_seed(0)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 16, 3))
    model = nn.Sequential(spectral, nn.Conv2d(16, 4, 3)).train(training)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    plan, small = cut(model, torch.rand(1, 3, 16, 16))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert prove(model, small, plan).error < 1e-5
    assert all(module.training == training for module in (*model.modules(), *small.modules()))


class SumOfKernels(nn.Module):
    """Convolves with the sum of two kernels and a product of low rank, as merged networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 12, 1), nn.Conv2d(8, 3, 1)
        self.large, self.small = nn.Conv2d(12, 8, 3), nn.Conv2d(12, 8, 1)
        self.down, self.up = nn.Parameter(torch.randn(4, 12)), nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        small = self.small.weight + (self.up @ self.down)[..., None, None]
        kernel = self.large.weight + nn.functional.pad(small, (1, 1, 1, 1))
        return self.last(nn.functional.conv2d(self.first(x), kernel))


def test_all_summands_of_a_weight_are_masked() -> None:
    """A removed channel is zeroed in each kernel of a sum, not in the first alone."""
    torch.manual_seed(0)
    model, image = SumOfKernels(), torch.randn(1, 3, 8, 8)
    plan, small = cut(model, image)
    assert plan.widths["down"] < 12
    assert prove(model, small, plan).error < 1e-5


class OneByOne(nn.Module):
    """Takes the images of a batch one by one, as code for per-example gradients does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.vmap(lambda one: self.last(self.first(one[None]).relu())[0])(x)


def test_layers_under_vmap_are_compared() -> None:
    """A right cut is proven, and a wrong one is found in the layer where it is."""
    net, x = OneByOne().eval(), torch.randn(2, 3, 6, 6)
    plan = ww.plan(ww.trace(net, x), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    with torch.no_grad():
        small.first.weight[1] *= 2
    with pytest.raises(ProofError, match="first in `first`"):
        ww.prove(net, small, plan)


class KernelPerImage(nn.Module):
    """Computes a kernel for each image and runs all at once, in groups (StyleGAN2, CondConv)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.style, self.last = (
            nn.Conv2d(3, 12, 1),
            nn.Linear(3, 12),
            nn.Conv2d(8, 3, 1),
        )
        self.weight = nn.Parameter(torch.randn(8, 12, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        styles = self.style(x.mean((2, 3)))[:, None, :, None, None]
        x = self.first(x)
        n, c, h, w = x.shape
        kernels = (self.weight * styles).view(-1, c, 3, 3)
        x = nn.functional.conv2d(x.reshape(1, -1, h, w), kernels, padding=1, groups=n)
        return self.last(x.view(n, -1, h, w))


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_kernel_per_image_is_proven(images: int) -> None:
    """On one image as on several; a wrong cut is found."""
    torch.manual_seed(0)
    net, x = KernelPerImage().eval(), torch.randn(images, 3, 6, 6)
    plan = ww.plan(ww.trace(net, x), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    with torch.no_grad():
        small.weight[0] *= 2
    with pytest.raises(ProofError):
        ww.prove(net, small, plan)
