"""All arms are alike: the same limits, as many epochs, weights of the network's own constructor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import widthwise as ww
from widthwise.cli import main
from widthwise.errors import ConfigError
from widthwise.recipes.arms import ARMS, FOUND, Nothing, Weights, arms_of
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.setting import Setting
from widthwise.runs import read_config, read_json, read_metrics
from widthwise.runs.results import ArmResult, read_results

SMALL = [
    *("--model.name", "widthwise/resnet14"),
    *("--model.options.depth", "8"),
    *("--task.batch_size", "256"),
    *("--converge.epochs", "2"),
    *("--threads", "1"),
]
"""3 blocks of 16, 32 and 64 channels."""
LIMITS = [
    *("--limits.round_to", "8"),
    *("--limits.min_width", "8"),
    *("--limits.exclude", "[layer3*]"),
]
SEARCH = ["--method.sparsity", "0.3", "--method.check_every", "2", "--search.epochs", "2"]


def run(folder: Path, recipe: str, *options: str) -> dict[str, ArmResult]:
    """Run a small recipe; return its arms by name."""
    assert main(["search", recipe, "--out", str(folder), *SMALL, *options]) == 0
    results = read_results(folder)
    assert results is not None
    return {arm.arm: arm for arm in results.arms}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all arms that inherit or share widths, within limits, with carried momentum."""
    folder = tmp_path_factory.mktemp("runs") / "limited"
    arms = ["--arms", "[full, uniform, scratch, l1, compress]", "--carry_optimizer", "true"]
    run(folder, "digits", *SEARCH, *LIMITS, *arms, "--budget.macs", "0.8")
    return folder


@pytest.mark.parametrize("arm", ["found", "uniform", "scratch", "l1", "compress"])
def test_every_arm_has_the_limits_of_the_recipe(arm: str, limited: Path) -> None:
    """Widths are multiples of 8 and at least 8, and the excluded layers stay, whoever decides."""
    results = read_results(limited)
    assert results is not None
    row = next(each for each in results.arms if each.arm == arm)
    free = {name: width for name, width in row.widths.items() if name not in results.full.frozen}
    assert all(width % 8 == 0 and width >= 8 for width in free.values())
    outside = {name for name in free if not name.startswith("layer3")}
    assert all(row.widths[name] == results.full.widths[name] for name in set(free) - outside)
    assert any(row.widths[name] < results.full.widths[name] for name in outside)
    assert row.macs <= results.found.macs


def test_every_arm_trains_for_as_many_epochs(limited: Path) -> None:
    """Those before a cut count, and they are those of the search for whoever has any."""
    results, rows = read_results(limited), read_metrics(limited)
    assert results is not None
    assert {arm.epochs for arm in results.arms} == {results.found.epochs}
    for arm in results.arms:
        stages = [arm.arm, *([] if arm.before is None else [arm.before.stage])]
        assert sum(row["stage"] in stages for row in rows) == arm.epochs
    before = {arm.arm: arm.before.epochs for arm in results.arms if arm.before is not None}
    assert set(before) == {"found", "l1", "compress"}
    assert len(set(before.values())) == 1


def test_every_arm_that_is_cut_carries_its_momentum(limited: Path) -> None:
    """`carry_optimizer` holds for all that inherit weights."""
    for stage in ("search", "l1_train", "compress_train"):
        assert (limited / "stages" / stage / "optimizer.pt").exists()


def test_a_method_that_decides_in_the_end_tells_how_long_it_took(tmp_path: Path) -> None:
    """Training is over then, and the network that is trained on is the healed one."""
    method = ["--method.name", "compress", "--method.inputs", "64", "--method.steps", "3"]
    options = [*method, "--search.epochs", "2", "--arms", "[uniform]", "--budget.macs", "0.8"]
    rows = run(tmp_path / "run", "digits", *LIMITS, *options)
    before = rows["found"].before
    assert before is not None and before.reached is None
    assert before.deciding > 0.1
    assert rows["found"].weights == "inherited"
    assert rows["found"].epochs == rows["uniform"].epochs


def test_the_facts_of_the_task_are_kept(limited: Path) -> None:
    """What an exported file has to carry lies in the run folder."""
    facts = read_json(limited / "facts.json")
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert len(facts["mean"]) == 1


def test_importance_is_written_short(limited: Path) -> None:
    """A curve of 200 points per epoch, in descending order, of all units that a plan may remove."""
    curve = read_json(limited / "stages" / "search" / "importance" / "0000.json")
    assert curve["values"] == sorted(curve["values"], reverse=True)
    assert curve["units"] == 2 * (16 + 32 + 64)
    assert len(curve["values"]) == 200


class Scaled(nn.Module):
    """A network that draws its own weights, by no rule that PyTorch knows."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.fc = nn.Linear(width, 10)
        for layer in (self.conv, self.fc):
            nn.init.constant_(layer.weight, 1 / layer.weight.shape[0])
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean(dim=(2, 3)))


class Table(Scaled):
    """A parameter that no layer makes and no constructor knows at another width."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width)
        self.table = nn.Parameter(torch.arange(float(width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc((self.conv(x).relu().mean(dim=(2, 3))) * self.table)


def setting(model: str, *overrides: str) -> Setting:
    """The setting of the digits recipe with a network of this file."""
    recipe = load_recipe("digits", ["--model.name", model, "--model.options", "{}", *overrides])
    return Setting(recipe.model, recipe.task.open(), seed=recipe.seed)


def test_fresh_weights_are_those_of_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow network starts as its own class would have built it at these widths."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    here = setting(f"{Path(__file__).stem}:Scaled")
    plan = ww.plan(here.graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    width = plan.widths["conv"]
    assert width < 16
    network = here.drawn(plan)
    assert network.conv.weight.unique().tolist() == pytest.approx([1 / width])
    # The same every time, and the full network when nothing is cut.
    again = here.drawn(plan)
    assert torch.equal(again.fc.weight, network.fc.weight)
    everything = ww.Plan.of(here.graph, here.graph.everything)
    for one, other in zip(
        here.drawn(everything).parameters(), here.start().parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_an_arm_whose_fresh_weights_cannot_be_had_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is said at the start, and without such arms the run goes on."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    model = ["--model.name", f"{Path(__file__).stem}:Table", "--model.options", "{}"]
    command = ["search", "digits", "--out", str(tmp_path / "run"), *model, *SEARCH]
    command += ["--converge.epochs", "1"]
    assert main([*command, "--arms", "[uniform]"]) == 2
    captured = capsys.readouterr()
    assert "Fresh values of `table`" in captured.err
    assert "leave out the arms with fresh weights" in captured.err
    assert "epoch" not in captured.out
    assert main([*command, "--arms", "[full]"]) == 0


def test_the_names_of_arms_are_their_keys() -> None:
    """A recipe that names all of them gets all of them, the found network first."""
    names = [name for name in ARMS if name != "wide"]
    arms = arms_of(load_recipe("digits", ["--arms", f"[{', '.join(names)}]"]))
    assert [arm.name for arm in arms] == [FOUND.name, *names]
    assert [name == arm.name for name, arm in ARMS.items()] == [True] * len(ARMS)
    assert len({arm.title for arm in arms}) == len({arm.words for arm in arms}) == len(arms)
    assert all(arm.decide.stage for arm in arms if arm.weights is Weights.inherited)
    assert not any(isinstance(arm.decide, Nothing) for arm in arms if arm.decide.stage)


def test_a_method_that_does_not_train_needs_no_search(tmp_path: Path) -> None:
    """LW-DNA decides at once: all arms converge for as long, from fresh weights, no dearer."""
    arms = run(tmp_path / "run", "digits_lw_dna")
    assert list(arms) == ["found", "full", "wide"]
    assert {arm.epochs for arm in arms.values()} == {2}
    assert {arm.weights for arm in arms.values()} == {"fresh"}
    assert all(arm.before is None for arm in arms.values())
    assert arms["found"].macs <= arms["full"].macs < arms["wide"].macs
    assert arms["found"].widths != arms["full"].widths
    assert not (tmp_path / "run" / "figures" / "cost.svg").exists()
    assert main(["eval", str(tmp_path / "run")]) == 0


def test_the_teacher_is_trained_first_and_teaches_all_others(tmp_path: Path) -> None:
    """Whoever is distilled says from whom, and the page too."""
    arms = run(tmp_path / "run", "digits_lw_dna")
    stages = list(dict.fromkeys(row["stage"] for row in read_metrics(tmp_path / "run")))
    assert stages == ["wide", "found", "full"]
    assert {name: arm.teacher for name, arm in arms.items()} == {
        "found": "wide",
        "full": "wide",
        "wide": None,
    }
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "learned from the widened network too" in " ".join(page.split())


def test_the_wide_arm_is_the_network_that_the_method_narrows(tmp_path: Path) -> None:
    """It is widened as much as the method says; a method that widens nothing has no such arm."""
    arms = run(tmp_path / "run", "digits_lw_dna", "--method.widen", "1.5")
    assert arms["wide"].widths["layer1.0.conv1"] == 24
    assert arms["full"].widths["layer1.0.conv1"] == 16
    with pytest.raises(ConfigError, match=r"`wide`.*`dhp` widens nothing"):
        load_recipe("digits", ["--arms", "[full, wide]"])


def test_distillation_changes_what_is_learned(tmp_path: Path) -> None:
    """The same recipe with and without its teacher ends in other weights."""
    from safetensors.torch import load_file

    run(tmp_path / "taught", "digits_lw_dna", "--arms", "[full]", "--teacher", "full")
    alone = ["--arms", "[full]", "--teacher", "null", "--converge.distil", "0"]
    run(tmp_path / "alone", "digits_lw_dna", *alone)
    weights: dict[str, Any] = {
        name: load_file(tmp_path / name / "model.safetensors") for name in ("taught", "alone")
    }
    assert read_config(tmp_path / "alone")["teacher"] is None
    plans = [(tmp_path / name / "plan.json").read_bytes() for name in weights]
    assert plans[0] == plans[1]
    assert any(
        not torch.equal(tensor, weights["alone"][name])
        for name, tensor in weights["taught"].items()
    )


def test_an_unknown_arm_is_refused() -> None:
    """With the nearest name and all there are."""
    with pytest.raises(ConfigError, match="`unifrom`: the nearest is `uniform`"):
        load_recipe("digits", ["--arms", "[unifrom]"])


def test_every_arm_has_the_steps_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a latency budget says on what, and whatever decides the widths."""
    monkeypatch.setenv("WIDTHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ww.Latency, "multiples", lambda self, graph: dict.fromkeys(graph.axes, 8))
    arms = run(
        tmp_path / "run",
        "digits",
        *SEARCH,
        *("--limits.round_to", "measured", "--limits.min_width", "8"),
        *("--budget.latency", "1.0,threads=1"),
        *("--arms", "[uniform,l1]"),
    )
    assert set(arms) == {"found", "uniform", "l1"}
    for arm in arms.values():
        assert arm.widths["layer3.0.conv1"] < 64
        assert all(width % 8 == 0 for name, width in arm.widths.items() if name != "fc")


def test_a_trained_network_is_where_arms_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the one that is about fresh weights; and what it was worth is told."""
    run(tmp_path / "first", "digits", *SEARCH, *LIMITS, "--arms", "[full]")
    weights = tmp_path / "first" / "stages" / "full" / "model.safetensors"
    still = ["--search.lr", "1e-12", "--converge.lr", "1e-12"]
    arms = run(
        tmp_path / "second",
        "digits_fade",
        *("--model.weights", str(weights)),
        *("--search.epochs", "1", "--limits.round_to", "8"),
        *still,
        *("--arms", "[full,uniform,scratch,l1]"),
    )
    assert {name: arm.weights for name, arm in arms.items()} == {
        "found": "inherited",
        "full": "given",
        "uniform": "given",
        "scratch": "fresh",
        "l1": "inherited",
    }
    given = load_file(weights)
    # Statistics of normalisations move whatever the learning rate is.
    trained = {name for name in given if name.endswith("weight") or name.endswith("bias")}

    def of(arm: str) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / "second" / "stages" / arm / "model.safetensors")

    assert all(torch.allclose(of("full")[name], given[name], atol=1e-6) for name in trained)
    kept = ww.Plan.load(tmp_path / "second" / "stages" / "uniform" / "plan.json").axes["conv1"].kept
    assert len(kept) == arms["uniform"].widths["conv1"] < 16
    assert torch.allclose(of("uniform")["conv1.weight"], given["conv1.weight"][list(kept)])
    # What L1 keeps of them, and what fade does, are filters that were given.
    plan = ww.Plan.load(tmp_path / "second" / "stages" / "l1" / "plan.json")
    kept = plan.axes["layer3.0.conv1"].kept
    narrow = of("l1")["layer3.0.conv1.weight"]
    whole = given["layer3.0.conv1.weight"][list(kept)]
    assert torch.allclose(narrow, whole[:, list(plan.axes["layer2.0.conv2"].kept)], atol=1e-6)
    plan = ww.Plan.load(tmp_path / "second" / "plan.json")
    whole = given["fc.weight"][:, list(plan.axes["layer3.0.conv2"].kept)]
    assert torch.allclose(of("found")["fc.weight"], whole, atol=1e-6)
    narrow = of("scratch")["conv1.weight"]
    assert not any(torch.allclose(row, other) for row in narrow for other in given["conv1.weight"])
    results = read_results(tmp_path / "second")
    assert results is not None and results.full.measures is not None
    first = read_results(tmp_path / "first")
    assert first is not None
    full = next(arm for arm in first.arms if arm.arm == "full")
    assert results.full.measures["accuracy"] == pytest.approx(full.measures["accuracy"], abs=1e-6)
    page = (tmp_path / "second" / "report.html").read_text(encoding="utf-8")
    assert "Your network" in page and "as given" in page
    # A run that goes on must not go on from other weights.
    save_file({name: tensor + 1 for name, tensor in given.items()}, weights)
    command = ["search", str(tmp_path / "second" / "config.yaml"), "--resume"]
    assert main([*command, "--out", str(tmp_path / "second")]) == 2
    assert "others than this run was started with" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["digits", "digits_lw_dna"])
def test_methods_that_make_weights_of_their_own_take_none(recipe: str) -> None:
    """Rather than ignore what was given."""
    with pytest.raises(ConfigError, match=r"`model\.weights` has no effect.*`fade` goes on"):
        load_recipe(recipe, ["--model.weights", "mine.safetensors"])


def test_a_network_that_comes_with_its_weights_has_no_fresh_ones(tmp_path: Path) -> None:
    """It is a trained one too; only the arm that needs others is refused, before any training."""
    run(tmp_path / "first", "digits", *SEARCH, *LIMITS, "--arms", "[full]")
    options = [
        *("--model.name", str(tmp_path / "first" / "stages" / "full"), "--model.options", "{}"),
        *("--task.batch_size", "256", "--search.epochs", "1", "--converge.epochs", "1"),
        *("--threads", "1"),
    ]
    command = ["search", "digits_fade", *options]
    assert main([*command, "--out", str(tmp_path / "second"), "--arms", "[scratch]"]) == 2
    assert not (tmp_path / "second").exists()
    assert main([*command, "--out", str(tmp_path / "third"), "--arms", "[uniform]"]) == 0
