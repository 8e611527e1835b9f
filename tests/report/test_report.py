"""The report is one page that loads nothing, made from the files of a run folder alone."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from run_folders import FULL, deep_widths, make_run
from widthwise.errors import RunError
from widthwise.recipes.config import Baseline
from widthwise.report import build_report
from widthwise.report.figures import cost_figure, error_figure, latents_figure
from widthwise.report.page import COLOURS
from widthwise.report.records import TITLES, read_run
from widthwise.report.theme import house_style
from widthwise.report.widths import NAMED, stages, widths_figure

ALL = tuple(baseline.value for baseline in Baseline)


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
    assert "level with the full network (−1.0 points) and 3.0 points above uniform widths" in text
    assert "seed 3" in text


def test_the_table_has_every_network(built: Path) -> None:
    """Accuracy, exact MACs and parameters, epochs and time of each network are there."""
    text = words(built)
    for expected in ("97.50%", "98.50%", "94.50%", "1,266,000", "2,532,992", "4 search + 6"):
        assert expected in text


def test_a_run_without_baselines_has_a_page(tmp_path: Path) -> None:
    """Comparisons are left out, not invented."""
    build_report(make_run(tmp_path, compare=()))
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


def test_a_difference_within_the_uncertainty_is_none(tmp_path: Path) -> None:
    """The lead says above or below only where the difference exceeds what it says is known."""
    run = make_run(tmp_path, compare=ALL, images=450)
    build_report(run)
    text = words(run)
    assert "known to about ±1.5 points, a difference of two to about ±2.1" in " ".join(text.split())
    assert "level with the full network (−1.0 points)" in text
    assert "level with the same widths with fresh weights (+0.2 points)" in text
    assert "level with a one-shot cut by L1 magnitude (+1.6 points)" in text
    assert "3.0 points above uniform widths" in text


def test_more_images_make_a_difference(tmp_path: Path) -> None:
    """The same accuracies are told apart on 50,000 images."""
    build_report(make_run(tmp_path, images=50_000))
    assert "1.0 points below the full network" in words(tmp_path)


def test_every_baseline_has_a_name_and_a_colour_of_its_own(tmp_path: Path) -> None:
    """Whatever a recipe can compare with is in the table and among the curves."""
    record = read_run(make_run(tmp_path, compare=ALL))
    build_report(tmp_path)
    text = words(tmp_path)
    style = (tmp_path / "report.html").read_text()
    labelled = {line.get_label(): line.get_color() for line in error_figure(record).axes[0].lines}
    for stage in ("found", *ALL):
        assert TITLES[stage] in text
        assert f"{COLOURS[stage]}: #" in style
        assert TITLES[stage] in labelled
    named = [colour for label, colour in labelled.items() if not label.startswith("_")]
    assert len(set(named)) == len(named) == 1 + len(ALL)
    assert "4 before + 6" in text


def test_training_before_a_cut_is_dotted_and_comes_first(tmp_path: Path) -> None:
    """Search and found widths, L1 before and after the cut, follow each other without a gap."""
    figure = error_figure(read_run(make_run(tmp_path, compare=ALL)))
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    dotted = [line for line in dotted if len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in dotted] == [[1, 2, 3, 4]] * 2
    for line in dotted:
        rest = [x for x in figure.axes[0].lines if x.get_color() == line.get_color()]
        assert list(rest[1].get_xdata()) == [5, 6, 7, 8, 9, 10]


def test_macs_and_parameters_are_drawn_over_the_search(tmp_path: Path) -> None:
    """Both begin at all of the full network and end in the dot of the network that was found."""
    lines = cost_figure(read_run(make_run(tmp_path))).axes[0].lines
    macs, found_macs, params, found_params, _budget = lines
    assert macs.get_label() == "MACs" and params.get_label() == "parameters"
    assert list(macs.get_xdata()) == [0, 21, 42, 63, 84]
    assert list(macs.get_ydata()) == pytest.approx([1, 0.8875, 0.775, 0.6625, 0.55])
    assert list(params.get_ydata())[-1] == pytest.approx(0.4)
    assert found_macs.get_ydata()[0] == pytest.approx(1_266_000 / 2_532_992)
    assert found_params.get_ydata()[0] == pytest.approx(126_600 / 272_186)


def test_a_run_of_the_first_version_has_a_page(tmp_path: Path) -> None:
    """Without the share of parameters in metrics.csv, that of the MACs is drawn alone."""
    run = make_run(tmp_path, old=True)
    build_report(run)
    labels = [line.get_label() for line in cost_figure(read_run(run)).axes[0].lines]
    assert "MACs" in labels
    assert "parameters" not in labels


def test_a_search_without_epochs_and_latents_has_a_page(tmp_path: Path) -> None:
    """A method that decides at once has no curves; the checks of its cost are drawn instead."""
    run = make_run(tmp_path, latents=0)
    lines = (run / "metrics.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("search,")]
    (run / "metrics.csv").write_text("\n".join(kept) + "\n")
    build_report(run)
    assert "Latents" not in words(run)
    steps, _budget = cost_figure(read_run(run)).axes[0].lines
    assert len(steps.get_xdata()) == 13


def test_a_deep_network_stays_readable(tmp_path: Path) -> None:
    """The 112 axes of a ResNet-164 are columns under the names of their stages, side by side."""
    full, found, uniform = (
        {name: width for name, width in widths.items() if name != "fc"} for widths in deep_widths()
    )
    assert len(full) == 112 > NAMED
    with house_style():
        figure = widths_figure(full, found, uniform)
        figure.canvas.draw()
    widths, kept = figure.axes
    names = [label.get_text() for label in kept.get_xticklabels()]
    assert set(names) == {"conv1", "layer1", "layer2", "layer3"}
    boxes = sorted(
        (box.x0, box.x1) for box in (x.get_window_extent() for x in kept.get_xticklabels())
    )
    assert all(end < start for (_, end), (start, _) in pairwise(boxes))
    assert len(widths.patches) == len(kept.patches) == 2 * 112
    assert [bar.get_height() for bar in widths.patches[112:]] == list(found.values())


@pytest.mark.parametrize(
    "prefix", ["features.denseblock{}.denselayer{}.conv1", "features.{}.conv.{}"]
)
def test_names_of_stages_never_overlap(prefix: str) -> None:
    """Names below one common module are told apart by what follows it; some may be left out."""
    full = {prefix.format(n, m): 12 for n in range(1, 18) for m in range(1, 6)}
    groups = stages(list(full))
    assert len(groups) == 17
    assert all(count == 5 for _, count in groups)
    with house_style():
        figure = widths_figure(full, dict.fromkeys(full, 6), None)
        figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
    edges = sorted((box.x0, box.x1) for box in boxes)
    assert edges
    assert all(end < start for (_, end), (start, _) in pairwise(edges))


@pytest.mark.parametrize("epochs", [1, 2, 7, 12, 13, 29, 200])
def test_latents_of_any_number_of_epochs_are_drawn(epochs: int, tmp_path: Path) -> None:
    """Up to twelve lines, the last one opaque; the first and the last epoch are among them."""
    record = read_run(make_run(tmp_path, searched=epochs))
    lines = latents_figure(record).axes[0].lines
    assert len(lines) == min(epochs, 12)
    assert lines[-1].get_alpha() == pytest.approx(1)
    assert lines[0].get_ydata()[0] == record.latents[0][0]
    assert lines[-1].get_ydata()[0] == record.latents[-1][0]


def test_a_page_of_a_large_run_stays_small(tmp_path: Path) -> None:
    """Hundreds of epochs of thousands of latents make a page that can be sent."""
    run = make_run(tmp_path, compare=ALL, searched=300, widths=deep_widths())
    build_report(run)
    assert (run / "report.html").stat().st_size < 1_000_000


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
