"""Generated weights on real networks: attach, run, copy, detach."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from torch.utils.checkpoint import checkpoint

import widthwise as ww
from cases import BY_NAME, every_case
from widthwise.models.edsr import EDSR
from widthwise.search.handles.generation import generate
from widthwise.search.handles.hyper_conv import HyperConv

REFUSED = dict.fromkeys(
    ("weight_norm", "weight_norm_per_input", "weight_norm_per_tap"),
    "its weight is already parametrized; see the test of that error",
)


class Net(nn.Module):
    """One layer of every kind that is generated, and a classifier that is not."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.grouped = nn.Conv2d(8, 12, 1, groups=4)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.hidden = nn.Linear(6, 10)
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = self.up(self.grouped(self.depthwise(x))).relu()
        return self.fc(self.hidden(x.mean((2, 3))).relu())


GENERATED = ("stem", "depthwise", "grouped", "up", "hidden")


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def attached(model, images, **options):
    weights = HyperConv(ww.trace(model, images), model, **options)
    weights.attach()
    return weights


def fingerprint(model):
    """Everything about a module tree that attaching could disturb."""
    return [
        (
            name, type(module), module.training, list(module._modules), list(module.__dict__),
            [(key, id(p), p is None or p.requires_grad) for key, p in module._parameters.items()],
            list(module._buffers), list(module._forward_hooks), list(module._forward_pre_hooks),
            dict(module._forward_hooks_always_called),
        )
        for name, module in model.named_modules()
    ]  # fmt: skip


def test_every_conv_and_hidden_linear_is_generated_and_the_classifier_is_not(net, images):
    """Ordinary, depth-wise, grouped and transposed convolutions and hidden linear layers."""
    attached(net, images)
    found = {name for name, _ in net.named_children()
             if nn.utils.parametrize.is_parametrized(net.get_submodule(name))}  # fmt: skip
    assert found == set(GENERATED)


def test_stored_weights_take_no_part_in_training(net, images):
    """The stored weights require no gradient, so DDP waits for none and optimizers skip them."""
    attached(net, images)
    stored = [p for name, p in net.named_parameters() if name.endswith(".original")]
    assert len(stored) == len(GENERATED)
    assert not any(parameter.requires_grad for parameter in stored)


def test_weight_that_something_else_reads_stays_stored(images):
    """A convolution whose weight another module reads directly is left alone: they must agree."""

    class Reader(nn.Module):
        def __init__(self, kernel):
            super().__init__()
            self.kernel = kernel

        def forward(self, x):
            return nn.functional.conv2d(x, self.kernel)

    conv = nn.Conv2d(3, 3, 3)
    model = nn.Sequential(conv, Reader(conv.weight), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1))
    attached(model, images)
    assert model[0].weight is model[1].kernel
    assert nn.utils.parametrize.is_parametrized(model[2])


def test_linear_layer_whose_width_is_not_searched_stays_an_ordinary_one(net, images):
    """A large hidden linear layer can be left out, and with it its large hypernetwork."""
    graph = ww.trace(net, images)
    searched = graph.free.copy()
    searched[graph.axes["hidden"].units] = False
    HyperConv(graph, net, searched=searched).attach()
    assert not nn.utils.parametrize.is_parametrized(net.hidden)
    assert nn.utils.parametrize.is_parametrized(net.up)


def test_weight_that_is_not_trained_is_left_alone(net, images):
    """A frozen weight, such as a fixed shift of the mean, keeps its value during a search."""
    net.stem.weight.requires_grad_(False)
    value = net.stem.weight.clone()
    weights = attached(net, images)
    assert torch.equal(net.stem.weight, value)
    assert not nn.utils.parametrize.is_parametrized(net.stem)
    weights.detach()
    assert not net.stem.weight.requires_grad


@pytest.mark.parametrize("name", GENERATED)
def test_weight_is_the_published_formula_of_the_latents_of_its_units(net, images, name):
    """Entry (a, b) of a weight comes from the latents of the units of a and b alone."""
    graph = ww.trace(net, images)
    weights = attached(net, images, embedding_dim=3)
    hyper = weights._hypernetwork
    place = dict(zip(GENERATED, hyper._place, strict=True))
    key, position = place[name]
    group = hyper.groups[key]
    start = group.starts[position]
    generated = net.get_submodule(name).weight
    rows, columns = graph.slots[f"{name}.weight"][:2]
    pair = start
    for a in range(generated.shape[0]):
        for b in range(generated.shape[1]):
            here = slice(pair, pair + 1)
            taps = generate(
                hyper.latents[rows[a]] * hyper.latents[columns[b]] + group.b0[here],
                group.w1[:, here], group.b1[:, here], group.w2[..., here], group.b2[:, here],
            )  # fmt: skip
            torch.testing.assert_close(generated[a, b].flatten(), taps[:, 0])
            pair += 1


def test_forward_generates_once_and_forgets(net, images):
    """All weights are generated once per forward pass of the network, also if it raises."""
    weights = attached(net, images)
    hyper = weights._hypernetwork
    calls = []
    for group in hyper.groups.values():
        group.register_forward_hook(lambda *_: calls.append(1))
    net(images)
    assert len(calls) == len(hyper.groups)
    assert hyper._held == {}
    with pytest.raises(RuntimeError):
        net(images[:, :2])
    assert hyper._held == {}


def test_weight_read_outside_a_forward_pass_is_generated_on_the_fly(net, images):
    """Parts of the network can be called alone, with gradients for the latents."""
    weights = attached(net, images)
    before = net.stem.weight.detach().clone()
    net.stem(images).sum().backward()
    assert weights.latents.grad.abs().sum() > 0
    with torch.no_grad():
        weights.latents.mul_(2)
    assert not torch.equal(net.stem.weight, before)


def test_gradients_reach_every_parameter_that_is_added(net, images):
    """Every hypernetwork parameter and every latent of a generated layer gets a gradient."""
    weights = attached(net, images)
    net(images).square().sum().backward()
    for parameter in weights.parameters():
        assert parameter.grad is not None
    assert (weights.latents.grad[weights.driven] != 0).float().mean() > 0.5
    assert not weights.latents.grad[~weights.driven].any()


@every_case(without=REFUSED)
def test_any_traced_network_runs_attached_and_comes_back_bit_for_bit(case):
    """Attach, train a step, detach: same classes, hooks, parameter objects, order and flags."""
    model = case.build()
    list(model.parameters())[-1].requires_grad_(False)
    graph = ww.trace(model, case.example_inputs)
    before, state = fingerprint(model), copy.deepcopy(model.state_dict())
    try:
        weights = HyperConv(graph, model)
    except ww.errors.SearchError as error:
        assert "no weight that could be generated" in str(error)
        pytest.skip("no convolution and no hidden linear layer")
    weights.attach()
    assert fingerprint(model) != before
    run(model, case.example_inputs)
    weights.detach()
    assert fingerprint(model) == before
    after = model.state_dict()
    assert list(after) == list(state)
    for name, value in state.items():
        assert torch.equal(after[name], value)


def run(model, inputs):
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@every_case(without=REFUSED)
def test_written_weights_compute_what_the_generated_ones_did(case):
    """After `write` and `detach` the plain network computes what the attached one did."""
    model = case.build()
    graph = ww.trace(model, case.example_inputs)
    try:
        weights = HyperConv(graph, model)
    except ww.errors.SearchError:
        pytest.skip("no convolution and no hidden linear layer")
    before = flat(run(model, case.example_inputs))
    weights.attach()
    attached_output = flat(run(model, case.example_inputs))
    weights.write()
    weights.detach()
    written = flat(run(model, case.example_inputs))
    torch.testing.assert_close(written, attached_output, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(written, before)


def flat(output):
    from torch.utils._pytree import tree_flatten

    return torch.cat([leaf.detach().flatten().float() for leaf in tree_flatten(output)[0]])


def test_copy_of_an_attached_network_has_its_own_hypernetwork(net, images):
    """`copy.deepcopy` gives an independent network that generates its own weights."""
    weights = attached(net, images)
    net.eval()
    twin = copy.deepcopy(net)
    expected = net(images)
    assert torch.equal(twin(images), expected)
    with torch.no_grad():
        weights.latents.mul_(3)
    assert torch.equal(twin(images), expected)
    assert not torch.equal(net(images), expected)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert ours.data_ptr() != theirs.data_ptr()


def test_state_dict_of_an_attached_network_restores_the_generated_weights(net, images):
    """Saving and loading an attached network carries latents and hypernetwork along."""
    attached(net, images, seed=1)
    other = Net()
    attached(other, images, seed=2)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.eval()(images), net.eval()(images))


def test_adding_to_a_sequential_network_adds_no_layer(images):
    """A network that is a plain `nn.Sequential` still has the same layers in the same order."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3))
    attached(model, images)
    assert len(model) == 3
    assert model(images).shape == (2, 4, 4, 4)


def test_module_called_twice_is_generated_once_and_trained_by_both_calls(images):
    """A shared module uses the same generated weight in both calls."""
    case = BY_NAME["shared_module"]
    model = case.build()
    weights = attached(model, case.example_inputs)
    run(model, case.example_inputs).square().sum().backward()
    assert weights.latents.grad.abs().sum() > 0


def test_one_parameter_in_two_modules_stays_one_weight(images):
    """Two convolutions that share a parameter share the generated weight, and get it back."""
    model = nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 3, 3, bias=False))
    model[2].weight = model[0].weight
    shared = model[0].weight
    model.append(nn.Conv2d(3, 2, 1))
    weights = attached(model, images)
    model(images)
    assert torch.equal(model[0].weight, model[2].weight)
    weights.write()
    weights.detach()
    assert model[0].weight is shared
    assert model[2].weight is shared


@pytest.mark.parametrize("reparametrize", [parametrizations.weight_norm, weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_weight_that_is_already_computed_is_an_error_that_names_the_module(
    net, images, reparametrize
):
    """The search does not replace someone else's parametrization; it says where it is."""
    graph = ww.trace(net, images)
    reparametrize(net.grouped)
    before = fingerprint(net)
    with pytest.raises(ww.errors.SearchError, match="`grouped`"):
        HyperConv(graph, net)
    assert fingerprint(net) == before


def test_network_without_weights_cannot_be_searched(images):
    """On the meta device nothing can be trained, and the error says what to do."""
    model = Net().to("meta")
    with pytest.raises(ww.errors.SearchError, match="cannot be trained"):
        attached(model, images)


def test_activation_checkpointing_gives_the_same_gradients(net, images):
    """Recomputing part of the forward pass during the backward pass changes no gradient."""
    weights = attached(net, images)
    net(images).square().sum().backward()
    expected = weights.latents.grad.clone()
    weights.latents.grad = None
    grouped = net.grouped.forward
    net.grouped.forward = lambda x: checkpoint(grouped, x, use_reentrant=False)
    net(images).square().sum().backward()
    torch.testing.assert_close(weights.latents.grad, expected)


def test_network_may_be_moved_and_cast_while_attached(net, images):
    """`model.double()` takes latents, hypernetwork and generated weights along."""
    weights = attached(net, images)
    single = net.eval()(images)
    double = net.double()(images.double())
    assert double.dtype == torch.float64
    assert next(iter(weights.parameters())).dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)


def test_weights_of_a_pass_that_was_broken_off_are_not_used_once_they_are_old(net, images):
    """Ctrl-C runs no forward hook; what another checkpoint generates is what counts."""
    attached(net, images)
    state = {name: value * 2 for name, value in net.state_dict().items()}

    def interrupt(*_):
        raise KeyboardInterrupt

    handle = net.norm.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        net(images)
    handle.remove()
    net.load_state_dict(state)
    found = net.stem.weight.clone()
    net(images)
    assert torch.equal(net.stem.weight, found)


def test_a_pass_in_another_thread_disturbs_none(net, images):
    """An evaluation that begins and ends inside of a training pass leaves its gradients alone."""
    attached(net, images)
    net.eval()
    net(images).sum().backward()
    read = [parameter for parameter in net.parameters() if parameter.grad is not None]
    alone = [parameter.grad.clone() for parameter in read]
    net.zero_grad()

    def evaluate():
        with torch.no_grad():
            net(images)

    def aside(*_):
        handle.remove()
        thread = threading.Thread(target=evaluate)
        thread.start()
        thread.join()

    handle = net.norm.register_forward_hook(aside)
    net(images).sum().backward()
    for parameter, grad in zip(read, alone, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of its own doings.
def test_a_search_compiles_as_one_piece_and_the_output_hook(net, images):
    """What guards against threads and broken passes does not break compiled code."""
    attached(net, images)
    explained = torch._dynamo.explain(net)(images)
    assert explained.graph_break_count <= 1, explained.break_reasons


def test_what_no_normalisation_sees_starts_like_the_network_itself(net, images):
    """Behind the stem there is one; the others have the deviation of their own weights."""
    own = {name: getattr(net, name).weight.std().item() for name in GENERATED}
    attached(net, images)
    found = {name: getattr(net, name).weight.std().item() for name in GENERATED}
    for name in ("up", "hidden"):
        assert found[name] == pytest.approx(own[name], rel=1e-4)
    for name in ("stem", "depthwise", "grouped"):
        assert found[name] != pytest.approx(own[name], rel=0.05), "on the axis of the norm"


def test_a_weight_of_zeros_starts_as_published(net, images):
    """It would stay at zero otherwise."""
    nn.init.zeros_(net.hidden.weight)
    attached(net, images)
    assert net.hidden.weight.std().item() > 0.1


def test_a_network_without_normalisation_is_searched_by_sgd():
    """An EDSR learns at a rate at which the authors' start is NaN after two steps."""
    torch.manual_seed(0)
    network = EDSR(features=16, blocks=3, scale=2)
    images, target = torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24)
    attached(network, images)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = nn.functional.l1_loss(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 1
    assert losses[-1] < 0.8 * losses[0]
