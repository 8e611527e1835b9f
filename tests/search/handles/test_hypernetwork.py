"""The hypernetwork: values and gradients of the authors' code, and batching by kernel size."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.search.handles.generation import generate
from widthwise.search.handles.hypernetwork import GeneratedLayer, Hypernetwork

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "dhp_hyperconv.npz")
CASES = ["conv3x3", "conv1x1", "depthwise3x3", "conv5x5_m2"]
NAMES = ["z_in", "z_out", "B0", "W1", "B1", "W2", "B2"]


def golden(case, name):
    return torch.from_numpy(GOLDEN[f"{case}/{name}"])


def layer(name, shape, *, first, second, fan_in=1):
    """A layer whose dims read the latents from `first` and `second` on."""
    return GeneratedLayer(
        name=name,
        shape=shape,
        rows=first + np.arange(shape[0]),
        columns=second + np.arange(shape[1]),
        fan_in=fan_in,
    )


def build(layers, unit_count, **options):
    settings = {
        "private_count": 0,
        "embedding_dim": 8,
        "seed": 0,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }
    return Hypernetwork(layers, unit_count=unit_count, **(settings | options))


@pytest.mark.parametrize("case", CASES)
def test_kernel_and_gradients_are_those_of_the_authors_code(case):
    """A layer generates the released code's kernel and gradients from the same values."""
    values = {name: golden(case, name).requires_grad_() for name in NAMES}
    in_channels, out_channels = values["B0"].shape
    pairs = in_channels * out_channels
    kernel = generate(
        torch.outer(values["z_in"], values["z_out"]).reshape(pairs) + values["B0"].reshape(pairs),
        values["W1"].reshape(pairs, -1).T,
        values["B1"].reshape(pairs, -1).T,
        values["W2"].flatten(0, 1).permute(2, 1, 0),
        values["B2"].flatten(0, 1).T,
    ).T
    expected = golden(case, "kernel")
    kernel = kernel.reshape(in_channels, *expected.shape[:1], *expected.shape[2:]).transpose(0, 1)
    torch.testing.assert_close(kernel, expected, rtol=1e-5, atol=1e-5)

    (kernel * golden(case, "probe")).sum().backward()
    for name in NAMES:
        torch.testing.assert_close(
            values[name].grad, golden(case, f"grad_{name}"), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("case", CASES)
def test_stored_layout_generates_the_authors_kernel(case):
    """Pairs stored in weight order give the kernel in weight order, without a permutation."""
    expected = golden(case, "kernel")
    rows, columns = expected.shape[:2]
    net = build(
        [layer("w", tuple(expected.shape), first=0, second=rows)],
        rows + columns,
        embedding_dim=golden(case, "W1").shape[-1],
    )
    (group,) = net.groups.values()
    stored = {
        group.b0: golden(case, "B0").T,
        group.w1: golden(case, "W1").permute(2, 1, 0),
        group.b1: golden(case, "B1").permute(2, 1, 0),
        group.w2: golden(case, "W2").permute(3, 2, 1, 0),
        group.b2: golden(case, "B2").permute(2, 1, 0),
    }
    with torch.no_grad():
        net.latents.copy_(torch.cat([golden(case, "z_out"), golden(case, "z_in")]))
        for parameter, value in stored.items():
            parameter.copy_(value.reshape(parameter.shape))
    for weight in (net.weight(0), generated_together(net)[0]):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-5)

    (generated_together(net)[0] * golden(case, "probe")).sum().backward()
    grads = torch.cat([golden(case, "grad_z_out"), golden(case, "grad_z_in")])
    torch.testing.assert_close(net.latents.grad, grads, rtol=1e-5, atol=1e-5)


def generated_together(net):
    net.hold(net, ())
    weights = [net.weight(index) for index in range(len(net._place))]
    net.release(net, (), None)
    return weights


def layers_of_many_kinds():
    return [
        layer("a", (4, 3, 3, 3), first=3, second=0),
        layer("b", (5, 4, 1, 1), first=7, second=3),
        layer("c", (4, 5, 3, 3), first=3, second=7),
        layer("d", (2, 5), first=12, second=7),
        layer("e", (2, 4, 1, 9), first=12, second=3),
    ]


def test_batching_changes_no_weight_and_no_gradient():
    """Layers generated together equal layers generated one at a time, gradients included."""
    net = build(layers_of_many_kinds(), unit_count=14)
    assert sorted(net.groups) == ["taps1", "taps9"]

    def run(weights):
        net.zero_grad()
        sum((weight * torch.linspace(-1, 1, weight.numel()).view_as(weight)).sum()
            for weight in weights).backward()  # fmt: skip
        return [parameter.grad.clone() for parameter in net.parameters()]

    alone = [net.weight(index) for index in range(5)]
    together = generated_together(net)
    for one, many, spec in zip(alone, together, layers_of_many_kinds(), strict=True):
        assert many.shape == spec.shape
        torch.testing.assert_close(one, many)
    for one, many in zip(run(alone), run(together), strict=True):
        torch.testing.assert_close(one, many)


def test_initial_weights_have_variance_one_over_fan_in():
    """With unit-variance latents a generated weight starts with variance 1 / (fan-in * taps)."""
    fan_in = 64
    net = build([layer("w", (64, fan_in, 3, 3), first=64, second=0, fan_in=fan_in)], 128)
    with torch.no_grad():
        net.latents.copy_(net.latents.sign())
        assert net.weight(0).var().item() == pytest.approx(1 / (9 * fan_in), rel=0.05)


def test_hypernetwork_starts_as_published():
    """W1 and W2 are uniform within their bounds, biases zero, latents standard normal."""
    net = build([layer("w", (30, 20, 3, 3), first=20, second=0, fan_in=20)], 5000, embedding_dim=4)
    (group,) = net.groups.values()
    for bias in (group.b0, group.b1, group.b2):
        assert not bias.any()
    assert group.w1.abs().max().item() == pytest.approx(math.sqrt(3), rel=1e-2)
    assert group.w2.abs().max().item() == pytest.approx(math.sqrt(3 / (4 * 20 * 9)), rel=1e-2)
    assert net.latents.mean().item() == pytest.approx(0, abs=0.05)
    assert net.latents.std().item() == pytest.approx(1, abs=0.05)


def test_a_weight_can_start_with_another_deviation():
    """Exactly it, with the latents drawn; and with steps of length one, not of m."""
    wanted = 0.02
    spec = dataclasses.replace(layer("w", (40, 3, 3, 3), first=3, second=0, fan_in=3), std=wanted)
    net = build([spec, layer("v", (20, 20, 3, 3), first=0, second=20, fan_in=20)], 43)
    (group,) = net.groups.values()
    with torch.no_grad():
        assert net.weight(0).std().item() == pytest.approx(wanted, rel=1e-5)
        before = build(
            [
                layer("w", (40, 3, 3, 3), first=3, second=0, fan_in=3),
                layer("v", (20, 20, 3, 3), first=0, second=20, fan_in=20),
            ],
            43,
        )
        assert torch.equal(net.weight(1), before.weight(1)), "the other one starts as published"
    assert group.w1[:, :120].square().sum(0).mean().item() == pytest.approx(1, rel=0.1)
    assert group.w1[:, 120:].square().sum(0).mean().item() == pytest.approx(8, rel=0.1)


def test_same_seed_same_hypernetwork_and_global_random_state_is_untouched():
    """The seed alone decides the initial values; torch's own random state does not move."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, other = (build(layers_of_many_kinds(), 14, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.latents, build(layers_of_many_kinds(), 14, seed=4).latents)


def test_private_latents_follow_the_units():
    """Indices beyond the units read private latents, which are trained like the others."""
    net = build([layer("w", (4, 1, 3, 3), first=0, second=4)], 4, private_count=1)
    before = net.weight(0)
    before.sum().backward()
    assert net.private.grad.abs().item() > 0
    with torch.no_grad():
        net.private.mul_(2)
    assert not torch.equal(net.weight(0), before)


def test_generation_stays_in_full_precision_under_autocast():
    """Autocast does not round the generated weights; the layer that uses them does."""
    net = build(layers_of_many_kinds(), 14)
    plain = generated_together(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = generated_together(net)
    for one, other in zip(plain, cast, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("when", ["before", "after"])
def test_latents_keep_32_bits_in_a_network_of_half_precision(when):
    """They move by less than 16 bits can tell; the weights have the precision of the network."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    x = torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16)
    if when == "before":
        net.bfloat16()
    search = ww.methods.dhp(net, x.to(net[0].weight.dtype), budget=ww.Macs(0.5), sparsity=1e-4)
    net.bfloat16()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = search.handle.latents.detach().clone()
    search.step(optimizer)
    assert before.dtype == torch.float32
    assert not torch.equal(search.handle.latents, before)
    assert net[0].weight.dtype == net(x).dtype == torch.bfloat16
    small, _ = search.finish()
    assert small[0].weight.dtype == torch.bfloat16
