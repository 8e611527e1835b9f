"""The inner optimiser takes the steps that autograd finds by the definition of its loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from widthwise.models.dimp.filter_optimizer import (
    DistanceProfile,
    FilterOptimizer,
    apply_filter,
    transpose_filter,
)

STRIDE = 16.0
BOXES = torch.tensor([[30.3, 41.0, 20.0, 26.0], [12.0, 50.5, 33.0, 18.0]], dtype=torch.float64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def curve(values: Tensor, distance: Tensor) -> Tensor:
    """A profile by linear interpolation between the two knots around each distance."""
    place = (distance / 0.1).clamp(max=len(values) - 1)
    below = place.floor().long().clamp(max=len(values) - 2)
    share = place - below
    return (1 - share) * values[below] + share * values[below + 1]


def residuals(optimizer: FilterOptimizer, target: Tensor, features: Tensor) -> Tensor:
    """The residuals of one sequence by the paper's formula, plain convolution and hinge."""
    scores = F.conv2d(features, target[None], padding=target.shape[-1] // 2)[:, 0]
    rows, columns = scores.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(columns, dtype=torch.float64),
        indexing="ij",
    )
    shift = (target.shape[-1] % 2) / 2
    centres = (BOXES[:, :2] + BOXES[:, 2:] / 2) / STRIDE - shift
    distance = torch.stack([((x - cx) ** 2 + (y - cy) ** 2).sqrt() for cx, cy in centres])
    mask = torch.sigmoid(curve(optimizer.mask.values, distance))
    hinged = mask * scores + (1 - mask) * scores.clamp(min=0)
    label = curve(optimizer.label.values, distance)
    weight = curve(optimizer.weight.values, distance) / len(features) ** 0.5
    decay = optimizer.regularisation * target
    return torch.cat([(weight * (hinged - label)).flatten(), decay.flatten()])


def reference(
    optimizer: FilterOptimizer, target: Tensor, features: Tensor, iterations: int
) -> Tensor:
    """Steepest descent with the Jacobian that autograd makes."""
    for _ in range(iterations):

        def at(point: Tensor) -> Tensor:
            return residuals(optimizer, point, features)

        value = at(target)
        jacobian = torch.autograd.functional.jacobian(at, target).reshape(len(value), -1)
        gradient = jacobian.T @ value
        length = gradient.dot(gradient) / (jacobian @ gradient).square().sum()
        step = optimizer.log_step.exp() * length * gradient
        target = (target - step.reshape(target.shape)).detach()
    return target


def perturbed() -> FilterOptimizer:
    """An optimiser none of whose curves has its first value, in double precision."""
    optimizer = FilterOptimizer(stride=STRIDE).double()
    with torch.no_grad():
        for index, profile in enumerate((optimizer.label, optimizer.mask, optimizer.weight)):
            profile.values.add_(0.1 * noise(100, seed=index))
    return optimizer


def check_equals_autograd(size: int) -> None:
    optimizer = perturbed()
    features, start = noise(2, 6, 6, 7, seed=7), 0.3 * noise(6, size, size, seed=8)
    # Sequences of a batch do not know each other.
    others = noise(2, 6, 6, 7, seed=9)
    batch = torch.stack([features, others])
    found = optimizer(torch.stack([start, -start]), batch, BOXES.expand(2, 2, 4), iterations=4)
    assert len(found) == 5
    with torch.no_grad():
        before = residuals(optimizer, start, features).square().sum()
        after = residuals(optimizer, found[-1][0], features).square().sum()
    assert after < 0.9 * before
    for row, (first, frames) in enumerate(((start, features), (-start, others))):
        expected = reference(optimizer, first, frames, 4)
        torch.testing.assert_close(found[-1][row], expected, rtol=1e-6, atol=1e-6)


def test_equals_autograd_even_filter() -> None:
    """Four steps with a 4x4 filter are those of the reference, for each sequence of a batch."""
    check_equals_autograd(4)


def test_equals_autograd_odd_filter() -> None:
    """So are they with a 3x3 filter, whose scores lie in the middle of cells."""
    check_equals_autograd(3)


def test_apply_filter_is_a_convolution_and_its_transpose_is_adjoint() -> None:
    """Scores equal those of `conv2d`, and <Xf, s> equals <f, X's>."""
    for size in (1, 3, 4):
        features, filters = noise(2, 3, 5, 6, 7), noise(2, 5, size, size, seed=1)
        scores = apply_filter(features, filters)
        for row in range(2):
            expected = F.conv2d(features[row], filters[row][None], padding=size // 2)[:, 0]
            torch.testing.assert_close(scores[row], expected)
        other = noise(*scores.shape, seed=2)
        back = transpose_filter(features, other, size)
        torch.testing.assert_close((scores * other).sum(), (filters * back).sum())


def test_profile_is_constant_beyond_its_last_knot() -> None:
    """A profile of 0, 1, 4 is linear between knots and 4 from distance 0.2 on."""
    profile = DistanceProfile(torch.tensor([0.0, 1.0, 4.0]))
    found = profile(torch.tensor([0.0, 0.05, 0.15, 0.2, 7.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 2.5, 4.0, 4.0]))


def test_gradients_flow_through_every_step() -> None:
    """Features, the first filter and all learned curves get gradients from the last filter."""
    optimizer = perturbed()
    features = noise(1, 2, 6, 6, 7).requires_grad_()
    start = noise(1, 6, 4, 4, seed=1).requires_grad_()
    optimizer(start, features, BOXES[None])[-1].square().sum().backward()
    for tensor in (features, start, *optimizer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_weights_of_frames() -> None:
    """A frame of weight zero does not count; as many steps are made as the module is set to."""
    optimizer = perturbed()
    features, start = noise(1, 2, 6, 6, 7), noise(1, 6, 4, 4, seed=1)
    optimizer.iterations = 2
    weights = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found = optimizer(start, features, BOXES[None], sample_weights=weights)
    alone = optimizer(start, features[:, :1], BOXES[None, :1])
    assert len(found) == 3
    torch.testing.assert_close(found[-1], alone[-1])


def test_mixed_precision_changes_nothing() -> None:
    """The steps are those in single precision, and so are they for features in bfloat16."""
    optimizer = FilterOptimizer(stride=STRIDE)
    features, start = noise(1, 2, 6, 6, 7).bfloat16(), noise(1, 6, 4, 4, seed=1).bfloat16()
    expected = optimizer(start.float(), features.float(), BOXES[None])[-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = optimizer(start, features, BOXES[None])[-1]
    assert torch.equal(found, expected)
