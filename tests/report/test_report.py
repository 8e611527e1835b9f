"""The report is one page that loads nothing, made from the files of a run folder alone."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from widthwise.errors import RunError
from widthwise.report import build_report
from widthwise.report.figures import latents_figure
from widthwise.report.records import read_run
from widthwise.runs import write_file, write_json

FULL = {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer3.0.conv1": 64, "fc": 10}
FOUND = {"conv1": 12, "layer1.0.conv1": 4, "layer2.0.conv1": 19, "layer3.0.conv1": 50, "fc": 10}
UNIFORM = {"conv1": 11, "layer1.0.conv1": 11, "layer2.0.conv1": 22, "layer3.0.conv1": 45, "fc": 10}
ENVIRONMENT = {
    "command": "widthwise search digits --seed 3 <&>",
    "started": "2030-01-02T03:04:05+00:00",
    "widthwise": "0.1.0",
    "commit": None,
    "python": "3.11.2",
    "packages": {"torch": "2.11"},
    "system": "Linux",
    "processor": "A processor",
    "threads": 2,
    "accelerator": None,
}


def result(stage: str, accuracy: float, macs: int, widths: dict[str, int]) -> dict[str, Any]:
    return {
        "stage": stage,
        "weights": "inherited" if stage in ("search", "found") else "fresh",
        "accuracy": accuracy,
        "macs": macs,
        "params": macs // 10,
        "epochs": 4 if stage == "search" else 10,
        "seconds": 21.5,
        "widths": widths,
    }


def make_run(folder: Path, *, baselines: bool = True, searched: int = 4) -> Path:
    """Write the files of a finished run whose search took some epochs."""
    found = result("found", 0.975, 1_266_000, FOUND)
    results = [found]
    if baselines:
        results.append(result("full", 0.985, 2_532_992, FULL))
        results.append(result("uniform", 0.965, 1_200_000, UNIFORM))
    config = {
        "model": {"name": "widthwise/resnet20", "options": {}},
        "data": {"name": "digits"},
        "method": {"name": "dhp"},
        "seed": 3,
    }
    write_file(folder / "config.yaml", yaml.safe_dump(config))
    write_json(folder / "environment.json", ENVIRONMENT)
    write_json(folder / "results.json", results)
    search = folder / "stages" / "search"
    full = {"macs": 2_532_992, "params": 272_186, "widths": FULL, "frozen": {"fc": "output"}}
    write_json(
        search / "result.json",
        {**result("search", 0.9, 1_266_000, FOUND), "reached": True, "test_images": 450}
        | {"full": full},
    )
    write_json(
        search / "history.json",
        [
            {"step": 7 * n, "cost_fraction": 1 - n * n / 300, "excess": 0.5 - n * n / 300}
            for n in range(1, 13)
        ],
    )
    for epoch in range(searched):
        sizes = [max(0.0, 2.5 * math.exp(-n / 60) - 0.3 * epoch) for n in range(128)]
        write_json(search / "latents" / f"{epoch:04d}.json", sizes)
    lines = ["stage,epoch,step,lr,train_loss,test_loss,test_accuracy,macs_fraction,seconds"]
    for row, epochs in [({"stage": "search"}, 4)] + [
        (r, 6 if r["stage"] == "found" else 10) for r in results
    ]:
        lines += [
            f"{row['stage']},{n},{21 * n},0.1,0.5,0.6,{0.98 - 0.8 / (n + 1) ** 2:.4f},,1.1"
            for n in range(epochs)
        ]
    write_file(folder / "metrics.csv", "\n".join(lines) + "\n")
    return folder


class Loads(HTMLParser):
    """Collects everything a browser would load, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset", "poster", "action"):
                self.loads.append(value or "")
            if name == "style":
                self.loads += re.findall(r"url\((.*?)\)", value or "")
        if tag in ("script", "link", "iframe"):
            self.loads.append(tag)
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.loads += re.findall(r"url\((.*?)\)|@import\s+(\S+)", data)
        self.text.append(data)


def read(page: Path) -> Loads:
    parser = Loads()
    parser.feed(page.read_text())
    return parser


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report."""
    folder = make_run(tmp_path_factory.mktemp("report"))
    build_report(folder)
    return folder


def words(folder: Path) -> str:
    """All text of a page."""
    return " ".join(read(folder / "report.html").text)


def test_the_page_loads_nothing(built: Path) -> None:
    """Every reference in the page points into the page itself."""
    loads = read(built / "report.html").loads
    assert loads
    assert all(str(target).startswith("#") for target in loads)


def test_references_inside_figures_have_targets(built: Path) -> None:
    """Ids are distinct over all figures, so that no figure borrows another's clip path."""
    text = (built / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= set(ids)


def test_the_result_is_said_in_words(built: Path) -> None:
    """Cost, accuracy, and the difference to both baselines are in the header."""
    text = words(built)
    assert "97.5% accuracy with 50.0% of the MACs and 46.5% of the parameters" in text
    assert "1.0 points below the full network and 1.0 points above uniform widths" in text
    assert "seed 3" in text


def test_the_table_has_every_network(built: Path) -> None:
    """Accuracy, exact MACs and parameters, epochs and time of each network are there."""
    text = words(built)
    for expected in ("97.50%", "98.50%", "96.50%", "1,266,000", "2,532,992", "4 search + 6"):
        assert expected in text


def test_a_run_without_baselines_has_a_page(tmp_path: Path) -> None:
    """Comparisons are left out, not invented."""
    build_report(make_run(tmp_path, baselines=False))
    text = words(tmp_path)
    assert "97.5% accuracy" in text
    assert "Uniform widths" not in text


def test_every_free_axis_and_no_frozen_one_is_in_the_figure(built: Path) -> None:
    """Names and widths are readable text in the figure."""
    svg = (built / "figures" / "widths.svg").read_text()
    assert all(f">{name}<" in svg for name in FULL if name != "fc")
    assert ">fc<" not in svg
    assert "19 of 32" in svg
    assert (built / "figures" / "widths.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_the_same_every_time(built: Path) -> None:
    """Rebuilding changes no byte of the page or the figures."""
    made = [built / "report.html", *sorted((built / "figures").iterdir())]
    before = [file.read_bytes() for file in made]
    build_report(built)
    assert [file.read_bytes() for file in made] == before


def test_what_users_wrote_is_escaped(built: Path) -> None:
    """A command with special characters is shown, not interpreted."""
    assert "--seed 3 &lt;&amp;&gt;" in (built / "report.html").read_text()


@pytest.mark.parametrize("epochs", range(1, 30))
def test_latents_of_any_number_of_epochs_are_drawn(epochs: int, tmp_path: Path) -> None:
    """There is one line per epoch, the last one opaque."""
    figure = latents_figure(read_run(make_run(tmp_path, searched=epochs)))
    lines = figure.axes[0].lines
    assert len(lines) == epochs
    assert lines[-1].get_alpha() == pytest.approx(1)


@pytest.mark.parametrize(
    ("files", "says"),
    [([], "there is no run in it"), (["config.yaml"], "has not finished(?s:.*)--resume")],
)
def test_nothing_to_report_says_why(tmp_path: Path, files: list[str], says: str) -> None:
    """An empty folder and an unfinished run are told apart."""
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(RunError, match=says):
        build_report(tmp_path)
