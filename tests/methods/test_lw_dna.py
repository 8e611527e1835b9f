"""LW-DNA: widths from one gradient of the widened network, end to end."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.methods import METHODS, LwDnaSettings, lw_dna
from widthwise.methods.lw_dna import feeding_output
from widthwise.models.resnet_cifar import ResNetCifar
from widthwise.search.limits import Limits

IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 1, 2])


class Mixed(nn.Module):
    """Concat, depth-wise, squeeze and excite, a residual; no argument for the width."""

    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(10)
        self.depthwise = nn.Conv2d(10, 10, 3, padding=1, groups=10)
        self.left = nn.Conv2d(10, 12, 1)
        self.right = nn.Conv2d(10, 6, 3, padding=1)
        self.squeeze = nn.Conv2d(18, 5, 1)
        self.excite = nn.Conv2d(5, 18, 1)
        self.back = nn.Conv2d(18, 10, 3, padding=1)
        self.head = nn.Conv2d(10, 20, 1)
        self.fc = nn.Linear(20, 4)
        if start is not None:
            nn.init.constant_(self.head.weight, start / self.head.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        y = self.depthwise(x)
        y = torch.cat([self.left(y), self.right(y)], 1).relu()
        y = y * self.excite(self.squeeze(y.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = (x + self.back(y)).relu()
        return self.fc(self.head(x).relu().mean((2, 3)))


def decide(model: nn.Module | None = None, **options) -> tuple[nn.Module, ww.Plan]:
    """LW-DNA of `Mixed` on six images."""
    settings = {
        "loss": functional.cross_entropy,
        "batch": (IMAGES, LABELS),
        "budget": ww.Macs(1.0),
        **options,
    }
    return lw_dna(Mixed() if model is None else model, IMAGES[:1], **settings)


def own_widths(model: nn.Module) -> dict[str, int]:
    return {name: axis.width for name, axis in ww.trace(model, IMAGES[:1]).axes.items()}


def test_lw_dna_has_the_published_defaults() -> None:
    """Twice as wide, floors of 0.4 and 0.45, an embedding of 8, keyword arguments only."""
    parameters = inspect.signature(lw_dna).parameters
    published = {"widen": 2.0, "rho": 0.4, "tau": 0.45, "embedding_dim": 8}
    assert {name: parameters[name].default for name in published} == published
    settings = LwDnaSettings()
    assert {name: getattr(settings, name) for name in published} == published
    assert METHODS["lw_dna"] is LwDnaSettings
    assert not settings.trains and not settings.inherits
    positional = [n for n, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == ["model", "example_inputs"]


def test_the_result_costs_no_more_and_is_the_same_class() -> None:
    """At or below the original's MACs, close to them, proven, with widths that differ from it."""
    model = Mixed()
    small, plan = decide(model)
    own = ww.trace(model, IMAGES[:1])
    assert type(small) is Mixed
    assert plan.full_macs == own.macs()
    assert 0.97 * own.macs() < plan.macs() <= own.macs()
    assert ww.trace(small, IMAGES[:1]).macs() == plan.macs()
    assert sum(p.numel() for p in small.parameters()) == plan.params()
    before = own_widths(model)
    assert any(width > before[name] for name, width in plan.widths.items())
    assert any(width < before[name] for name, width in plan.widths.items())
    assert small(IMAGES).shape == (6, 4)


def test_the_plan_makes_the_network_again(tmp_path) -> None:
    """The plan widens and narrows the user's own network to the same shapes, also from its file."""
    model = Mixed()
    small, plan = decide(model)
    assert [each.name for each in plan.before] == ["widen"]
    assert (plan.method, plan.seed, plan.budget) == ("lw_dna", 1, {"macs": 1.0})
    plan.save(tmp_path / "plan.json")
    for known in (plan, ww.Plan.load(tmp_path / "plan.json")):
        again = ww.shrink(model, known)
        assert [p.shape for p in again.parameters()] == [p.shape for p in small.parameters()]
    folder = tmp_path / "saved"
    ww.save(small, plan, folder)
    loaded = ww.load(folder, Mixed)
    torch.testing.assert_close(loaded.eval()(IMAGES), small.eval()(IMAGES))


def everything(model: nn.Module) -> list[object]:
    """All there is to a network."""
    return [
        (path, type(m), m.training, list(m._forward_hooks), list(m._forward_pre_hooks),
         [(n, id(t), t.requires_grad, t.detach().numpy().tobytes(), t.grad is None)
          for n, t in (*m._parameters.items(), *m._buffers.items()) if t is not None])
        for path, m in model.named_modules()
    ]  # fmt: skip


def test_nothing_of_the_given_model_changes() -> None:
    """Weights, statistics, gradients, modes and the random state stay; no gradient is left."""
    model = Mixed()
    model.norm.eval()
    before, state = everything(model), torch.get_rng_state()
    small, _ = decide(model)
    assert everything(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in small.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_result_has_the_mode_of_the_model(training: bool) -> None:
    """Widths do not depend on the mode, and the mode is restored."""
    torch.manual_seed(0)
    small, plan = decide(Mixed().train(training))
    assert all(module.training == training for module in small.modules())
    assert plan.widths == decide(Mixed().train())[1].widths


def test_weights_of_the_given_model_decide_nothing() -> None:
    """The criterion is that of initialisation: a trained network gets the plan of a new one."""
    trained = Mixed()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(5)
    assert decide(trained)[1].axes == decide(Mixed())[1].axes


def test_seeds_decide_widths_and_weights() -> None:
    """The same seed gives the same network bit for bit, another seed another one."""
    first, plan = decide(seed=2)
    again, same = decide(seed=2)
    other, _ = decide(seed=3)
    assert plan == same
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.fc.weight, other.fc.weight)


def test_gradients_decide() -> None:
    """Units of an axis that stay have larger gradients than those that go."""
    torch.manual_seed(0)
    model = Mixed()
    seen: dict[str, np.ndarray] = {}
    original = ww.scores.LatentGradient.__call__

    def listen(self: ww.scores.LatentGradient, graph: ww.ChannelGraph) -> np.ndarray:
        scores = original(self, graph)
        seen.update({name: scores[axis.units] for name, axis in graph.axes.items()})
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ww.scores.LatentGradient, "__call__", listen)
        _, plan = decide(model)
    for name, kept in plan.kept.items():
        gone = np.setdiff1d(np.arange(len(seen[name])), kept)
        assert not len(gone) or seen[name][kept].min() >= seen[name][gone].max()
    assert sum(len(kept) < plan.axes[name].width for name, kept in plan.kept.items()) > 3


def test_floors_are_shares_of_the_wide_axes() -> None:
    """Every axis keeps `rho` of twice its width, and what the classifier reads `tau` of it."""
    model = Mixed()
    tight = {"rho": 0.4, "tau": 0.6}
    graph = ww.trace(ww.widen(model, IMAGES[:1], 2.0), IMAGES[:1])
    assert feeding_output(graph) == {"head"}
    # Far below: every axis is down to its floor.
    with pytest.raises(BudgetError) as caught:
        decide(model, budget=ww.Macs(0.5), **tight)
    text = str(caught.value)
    assert "`rho`=0.4, and `head` at least `tau`=0.6" in text
    smallest = int(text.split("smallest reachable value is ")[1].split()[0].replace(",", ""))
    _, plan = decide(model, budget=ww.Macs(float(smallest)), **tight)
    own = own_widths(model)
    floors = {name: int(np.ceil(0.4 * 2 * width)) for name, width in own.items()}
    assert plan.widths == floors | {"head": 24, "fc": 4}


def test_axes_that_may_not_change_keep_the_width_of_the_model() -> None:
    """What `exclude` and `include` leave out is not widened."""
    model = Mixed()
    own = own_widths(model)
    _, plan = decide(model, exclude="left")
    assert plan.widths["left"] == plan.axes["left"].width == own["left"]
    assert plan.axes["right"].width == 2 * own["right"]
    _, plan = decide(model, include=["left", "ste*"])
    assert {name for name, axis in plan.axes.items() if axis.width != own[name]} == {"left", "stem"}
    with pytest.raises(ConfigError, match="`exclude` names no axis"):
        decide(exclude=["lefd"])


def test_axes_that_nothing_generates_keep_the_width_of_the_model() -> None:
    """Where no latent says anything, the width stays what it is."""
    model = Mixed()
    for layer in (model.squeeze, model.excite):
        layer.weight.requires_grad_(False)
    _, plan = decide(model)
    assert plan.widths["squeeze"] == plan.axes["squeeze"].width == 5


def test_limits_of_a_job_speak_of_the_users_own_axes() -> None:
    """Floors count as in the given network; alignment holds where it is narrowed."""
    model = Mixed()
    limits = Limits(min_keep={"right": 1.0, "stem": 0.9}, min_width=7, round_to=1)
    _, plan = LwDnaSettings(rho=0.1, tau=0.1).narrow(
        model,
        IMAGES[:1],
        loss=functional.cross_entropy,
        batch=(IMAGES, LABELS),
        budget=ww.Macs(509_342),
        limits=limits,
    )
    # A floor of more than an axis has is all that it has.
    assert plan.widths == {"stem": 9, "left": 7, "right": 6, "squeeze": 5, "head": 7, "fc": 4}
    _, plan = decide(model, round_to=4)
    narrowed = [w for n, w in plan.widths.items() if w < plan.axes[n].width]
    assert narrowed and all(width % 4 == 0 for width in narrowed)


def test_several_budgets_refer_to_the_given_model() -> None:
    """A list of budgets is met as a whole, each a fraction of the user's own network."""
    model = Mixed()
    own = ww.trace(model, IMAGES[:1])
    _, plan = decide(model, budget=[ww.Macs(1.0), ww.Params(0.85)])
    assert plan.macs() <= own.macs()
    assert plan.params() <= 0.85 * own.params() == 0.85 * plan.full_params


def test_fresh_weights_are_those_of_the_constructor() -> None:
    """With a factory, what its constructor draws at the narrow widths is what the network has."""
    small, plan = decide(Mixed(start=2.0), factory=lambda: Mixed(start=2.0))
    assert plan.widths["stem"] not in (10, 20)
    assert torch.allclose(small.head.weight, torch.tensor(2.0 / plan.widths["stem"]))
    small, _ = decide(Mixed(start=2.0))
    assert small.head.weight.unique().numel() > 1


def test_parameters_that_nobody_can_draw_are_an_error_with_the_way_out() -> None:
    """A bare parameter has no initialisation but the constructor's: the message asks for it."""

    class Scaled(Mixed):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, 3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.scale)

    with pytest.raises(ConfigError, match="factory="):
        decide(Scaled())
    small, _ = decide(Scaled(), factory=Scaled)
    assert (small.scale == 1).all()


def test_the_dtype_of_the_model_is_kept() -> None:
    """A network in float64 is decided and built in float64."""
    model = Mixed().double()
    small, plan = lw_dna(
        model, IMAGES[:1].double(), loss=functional.cross_entropy,
        batch=(IMAGES.double(), LABELS), budget=ww.Macs(1.0),
    )  # fmt: skip
    assert {p.dtype for p in small.parameters()} == {torch.float64}
    assert plan.macs() <= plan.full_macs


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"widen": 0.5}, ConfigError, "`widen` must be"),
        ({"rho": 1.2}, ConfigError, "`rho` must be within"),
        ({"tau": -0.1}, ConfigError, "`tau` must be within"),
        ({"embedding_dim": 0}, ConfigError, "`embedding_dim` must be"),
        ({"batch": (IMAGES, LABELS[:2])}, ConfigError, "in the loss function"),
        ({"loss": lambda y, t: y}, ConfigError, "expected one floating-point number"),
        ({"batch": (IMAGES * torch.inf, LABELS)}, SearchError, "The loss of this batch is nan"),
        ({"budget": ww.Macs(0.1)}, BudgetError, "lower these, or `widen`"),
    ],
)
def test_wrong_arguments_are_errors_that_leave_the_model(
    options: dict, error: type[Exception], message: str
) -> None:
    """Whatever is wrong is named, and the model is as it was."""
    model = Mixed()
    before = everything(model)
    with pytest.raises(error, match=message):
        decide(model, **options)
    assert everything(model) == before


def test_a_network_on_the_meta_device_has_no_gradient() -> None:
    """The error names a tensor and asks for real weights."""
    with pytest.raises(SearchError, match=r"`stem\.weight` is on the meta device"):
        decide(Mixed().to("meta"))


def test_a_recipe_decides_with_what_the_bench_lends() -> None:
    """The settings build, decide and draw from the bench alone, with the limits of the job."""

    class Desk:
        example = IMAGES[:1]
        loss = staticmethod(functional.cross_entropy)

        def network(self) -> nn.Module:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return self.build()

        def build(self) -> nn.Module:
            return Mixed(start=0.5)

        def batch(self, number: int = 0) -> tuple[Tensor, Tensor]:
            return IMAGES, LABELS

        def train(self, network, attach):
            raise AssertionError("nothing is trained")

    found = LwDnaSettings(embedding_dim=2).decide(
        Desk(), budget=[ww.Macs(1.0)], limits=Limits(exclude=["right"]), seed=5
    )
    assert found.optimizer is None
    assert found.plan.seed == 5
    assert found.plan.widths["right"] == 6
    assert torch.allclose(found.network.head.weight, 0.5 / torch.tensor(found.plan.widths["stem"]))
    assert found.network(IMAGES).shape == (6, 4)


def test_features_of_the_classifier_are_found_from_the_graph() -> None:
    """Whatever stands between, the axes that the layer of the output reads are found."""

    class Concat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)
            self.inner = nn.Conv2d(9, 6, 3, padding=1)
            self.classes = nn.Linear((9 + 6) * 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([self.a(x), self.b(x)], 1)
            x = torch.cat([x, self.inner(x)], 1)
            return functional.adaptive_avg_pool2d(x, 2).flatten(1) @ self.classes.weight.T

    graph = ww.trace(Concat(), IMAGES[:1])
    assert feeding_output(graph) == {"a", "b", "inner"}
    convolutional = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 3, 3))
    assert feeding_output(ww.trace(convolutional, IMAGES[:1])) == {"1"}


def check_decision(build, size: int, classes: int, **options) -> None:
    """Decide, and check what holds for every network."""
    torch.manual_seed(0)
    model = build()
    images = torch.randn(4, 3, size, size)
    batch = images, torch.randint(0, classes, (4,))
    small, plan = lw_dna(
        model, images[:1], loss=functional.cross_entropy, batch=batch,
        budget=ww.Macs(1.0), embedding_dim=2, factory=build, **options,
    )  # fmt: skip
    own = ww.trace(model, images[:1])
    assert type(small) is type(model)
    assert 0.99 * own.macs() < plan.macs() <= own.macs() == plan.full_macs
    assert ww.trace(small, images[:1]).macs() == plan.macs()
    assert len(set(plan.widths.items()) - {(n, a.width) for n, a in own.axes.items()}) > 5
    assert [p.shape for p in ww.shrink(model, plan, verify=False).parameters()] == [
        p.shape for p in small.parameters()
    ]


def test_lw_dna_of_the_cifar_resnet56() -> None:
    """The CIFAR ResNet-56 of the paper is decided at no more than its MACs, proven."""
    check_decision(lambda: ResNetCifar(depth=56), 32, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "efficientnet_b0", "regnet_x_400mf", "densenet121", "resnet50"]
)
def test_lw_dna_of_networks_without_a_width_multiplier(name: str) -> None:
    """Classes of torchvision are widened, decided and proven as they are."""
    torchvision = pytest.importorskip("torchvision")
    check_decision(lambda: torchvision.models.get_model(name, weights=None), 64, 1000)
