"""The command line: verbs, exit codes, and errors without tracebacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from widthwise import __version__
from widthwise.cli import VERBS, main


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`widthwise --help` has one line per verb, and examples."""
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text and what in text for verb, what in VERBS.items())
    assert "widthwise search digits" in text


def test_no_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments, help is shown and the exit code is 2."""
    assert main([]) == 2
    assert "usage: widthwise" in capsys.readouterr().out


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo is answered with the verb that was meant."""
    assert main(["serch"]) == 2
    assert "Did you mean `search`?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and number."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"widthwise {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`widthwise VERB --help` shows its usage and exits with 0."""
    try:
        code = main([verb, "--help"])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 0
    assert f"usage: widthwise {verb}" in capsys.readouterr().out


def test_trace_prints_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """`widthwise trace` shows axes and exact costs."""
    assert main(["trace", "widthwise/resnet20"]) == 0
    text = capsys.readouterr().out
    assert "40,813,184 MACs" in text
    assert "layer3.2.conv1" in text


def test_trace_of_a_pattern_lists_names(capsys: pytest.CaptureFixture[str]) -> None:
    """A glob in place of MODEL lists what matches; nothing that matches is an error."""
    assert main(["trace", "widthwise/resnet2?"]) == 0
    assert capsys.readouterr().out == "widthwise/resnet20\n"
    assert main(["trace", "widthwise/alexnet*"]) == 2


@pytest.mark.parametrize("score", ["l1", "l2", "random", "uniform"])
def test_plan_saves_what_it_prints(
    score: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every score gives a plan within the budget, twice the same, and it loads."""
    import widthwise as ww

    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        command = ["plan", "widthwise/resnet20", "--score", score, "--budget", "macs=50%"]
        assert main([*command, "--out", str(file)]) == 0
    plan = ww.Plan.load(files[0])
    assert plan.macs() <= 0.5 * plan.full_macs
    assert files[0].read_bytes() == files[1].read_bytes()
    assert str(plan) in capsys.readouterr().out


def test_plan_options_reach_the_plan(tmp_path: Path) -> None:
    """Rounding, floors, several budgets and exclusion hold in the saved plan."""
    import widthwise as ww

    command = ["plan", "widthwise/resnet20", "--budget", "macs=0.6", "--budget", "params=0.4"]
    command += ["--round-to", "8", "--min-width", "9", "--exclude", "layer1.*"]
    assert main([*command, "--out", str(tmp_path / "plan.json")]) == 0
    plan = ww.Plan.load(tmp_path / "plan.json")
    free = {name: width for name, width in plan.widths.items() if name != "fc"}
    assert all(width % 8 == 0 and width >= 9 for width in free.values())
    assert {plan.widths[f"layer1.{block}.conv1"] for block in range(3)} == {16}
    assert plan.macs() <= 0.6 * plan.full_macs
    assert plan.params() <= 0.4 * plan.full_params


def test_weights_are_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan by L1 keeps the channel whose weights were made large."""
    import torch

    import widthwise as ww
    from widthwise.models import resolve

    state = resolve("widthwise/resnet14").build().state_dict()
    state["layer1.0.conv1.weight"][5] = 100.0
    torch.save(state, tmp_path / "weights.pt")
    command = ["plan", "widthwise/resnet14", "--budget", "macs=0.02", "--round-to", "1"]
    command += ["--weights", str(tmp_path / "weights.pt"), "--out", str(tmp_path / "plan.json")]
    assert main(command) == 0
    assert 5 in ww.Plan.load(tmp_path / "plan.json").kept["layer1.0.conv1"]
    assert "random weights" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["trace", "resnet21"], "ConfigError: No model `resnet21`"),
        (["trace", "widthwise/resnet20", "--input", "1,5,32,32"], "TraceError: "),
        (["plan", "widthwise/resnet20", "--budget", "macs=0.00001"], "smallest reachable value"),
        (["plan", "widthwise/resnet20", "--budget", "macs=lots"], "BudgetError: "),
        (["trace", "widthwise/resnet20", "--weights", "missing.pt"], "Cannot load `missing.pt`"),
        (["search", "digit"], "nearest name is `digits`"),
        (["search", "digits", "--serch.lr", "3"], "--serch.lr"),
        (["report", "nowhere"], "there is no run in it"),
        (["eval", "nowhere"], "no finished run"),
        (["export", "nowhere"], "no trained network"),
        (["compare", "nowhere"], "there is no run in it"),
    ],
)
def test_user_errors_are_messages(
    command: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the user's making is a message on stderr, and the exit code is 2."""
    assert main(command) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("budget", ["mac=0.5", "macs", "macs="])
def test_a_malformed_budget_shows_the_form(budget: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A budget that is not KIND=LIMIT is a usage error with an example."""
    with pytest.raises(SystemExit) as caught:
        main(["plan", "widthwise/resnet20", "--budget", budget])
    assert caught.value.code == 2
    assert "macs=0.5" in capsys.readouterr().err


def test_trace_and_plan_do_not_import_lightning() -> None:
    """Verbs that do not train start without the training libraries."""
    code = (
        "import sys\nfrom widthwise.cli import main\n"
        "main(['plan', 'widthwise/resnet14', '--budget', 'macs=0.5'])\n"
        "heavy = {'lightning', 'torchmetrics', 'sklearn', 'matplotlib', 'torchvision', 'timm'}\n"
        "heavy |= {'onnx', 'onnxruntime', 'rich'}\n"
        "print('imported', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported []"


def test_a_model_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`package.module:factory` may live where the command is run."""
    (tmp_path / "my_tiny_net.py").write_text(
        "from torch import nn\n\ndef tiny():\n    return nn.Conv2d(3, 4, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["trace", "my_tiny_net:tiny"]) == 0
    assert "Conv2d" in capsys.readouterr().out


def test_no_file_of_the_current_folder_stands_in_for_a_library(tmp_path: Path) -> None:
    """A timm.py where the command is run is not run, whichever form the model has."""
    for name in ("timm", "torchvision", "yaml"):
        (tmp_path / f"{name}.py").write_text("print('run')\n", encoding="utf-8")
    (tmp_path / "my_tiny_net.py").write_text(
        "import timm\nfrom torch import nn\n\ndef tiny():\n    return nn.Conv2d(3, 4, 1)\n",
        encoding="utf-8",
    )
    for model in ("timm/resnet18*", "my_tiny_net:tiny"):
        done = subprocess.run(
            [sys.executable, "-P", "-c", _MAIN, "trace", model],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "run" not in done.stdout.split()


_MAIN = "import sys\nfrom widthwise.cli import main\nsys.exit(main(sys.argv[1:]))"


def test_the_current_folder_is_searched_for_factories_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put behind all others, and only where a model is named by module and factory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    assert main(["trace", "widthwise/resnet14"]) == 0
    assert sys.path == before
    assert main(["trace", "collections:missing"]) == 2
    assert sys.path == [*before, str(tmp_path)]
