"""The report is one page that loads nothing, made from the files of a run folder alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from run_folders import ACCURACY, ALL, FOUND, FULL, PSNR, TITLES, UNIFORM, deep_widths, make_run
from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.report import build_report
from widthwise.report.figures import cost_figure, importance_figure, measure_figure
from widthwise.report.records import RunRecord, read_run
from widthwise.report.theme import house_style
from widthwise.report.widths import NAMED, Widths, stages, widths_figure
from widthwise.report.words import lead
from widthwise.runs import write_file, write_json


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
    parser.feed(page.read_text(encoding="utf-8"))
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
    assert all(str(target).startswith(("#", "data:")) for target in loads)


def test_references_inside_figures_have_targets(built: Path) -> None:
    """Ids are distinct over all figures, so that no figure borrows another's clip path."""
    text = (built / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= set(ids)


def test_the_result_is_said_in_words(built: Path) -> None:
    """Cost, accuracy, and the difference to both baselines are in the header."""
    text = words(built)
    assert "97.5 % test accuracy with 50.0% of the MACs and 46.5% of the parameters" in text
    assert "level with the full network (−1.0 ± 1.9 points)" in text
    assert "3.0 ± 2.6 points above uniform widths" in text
    assert "seed 3" in text


def test_the_table_has_every_network(built: Path) -> None:
    """Accuracy, exact MACs and parameters, epochs and time of each network are there."""
    text = words(built)
    for expected in ("97.50 %", "98.50 %", "94.50 %", "1,266,000", "2,532,992", "4 search + 6"):
        assert expected in text


def test_a_run_without_baselines_has_a_page(tmp_path: Path) -> None:
    """Comparisons are left out, not invented."""
    build_report(make_run(tmp_path, arms=()))
    text = words(tmp_path)
    assert "97.5 % test accuracy" in text
    assert "Uniform widths" not in text


def test_every_free_axis_and_no_frozen_one_is_in_the_figure(built: Path) -> None:
    """Names and widths are readable text in the figure."""
    svg = (built / "figures" / "widths.svg").read_text(encoding="utf-8")
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
    assert "--seed 3 &lt;&amp;&gt;" in (built / "report.html").read_text(encoding="utf-8")


def test_a_difference_within_the_uncertainty_is_none(tmp_path: Path) -> None:
    """The lead says above or below only where the difference exceeds what it may be off."""
    run = make_run(tmp_path, arms=ALL, items=450)
    build_report(run)
    text = words(run)
    assert "The test accuracy is known to about ±1.5 points" in " ".join(text.split())
    assert "level with the full network (−1.0 ± 1.9 points)" in text
    assert "level with the same widths with fresh weights (+0.2 ± 2.1 points)" in text
    assert "level with a one-shot cut by L1 magnitude (+1.6 ± 2.4 points)" in text
    assert "3.0 ± 2.6 points above uniform widths" in text


def test_the_lead_says_what_a_trained_network_was_worth(tmp_path: Path) -> None:
    """Before anything was done to it; that is what its owner compares with."""
    results = read_run(make_run(tmp_path, arms=["full"], items=450)).results
    given = replace(results, full=replace(results.full, measures={"accuracy": 0.9917}))
    assert lead(given) == f"As given, your network has 99.2 %. {lead(results)}"


@pytest.mark.parametrize("items", [12, 450, 10_000])
@pytest.mark.parametrize("found", [1.0, 0.998, 0.93, 0.5])
@pytest.mark.parametrize("difference", [-0.03, -0.007, -0.004, 0.0, 0.0009, 0.004, 0.007])
def test_the_lead_never_contradicts_its_uncertainty(
    found: float, difference: float, items: int, tmp_path: Path
) -> None:
    """Above and below stand before numbers larger than their ±, and level before smaller ones."""
    other = min(found - difference, 1.0)
    run = make_run(tmp_path, arms=["full"], items=items, values={"found": found, "full": other})
    results = read_run(run).results
    sentence = lead(results)
    size, about = map(float, re.findall(r"([\d.]+) ± ([\d.]+) points", sentence)[0])
    assert ("level" in sentence) == (size <= about)
    assert sum(word in sentence for word in ("level", "above", "below")) == 1
    # Each of the two is uncertain by itself: with all items right, the other one still is.
    error = results.uncertainty(results.headline, results.arms[1])
    assert error is not None
    assert about >= round(100 * error, 1)


def test_more_items_make_a_difference(tmp_path: Path) -> None:
    """The same values are told apart on 50,000 items."""
    build_report(make_run(tmp_path, items=50_000))
    text = words(tmp_path)
    assert "1.0 ± 0.2 points below the full network" in text
    assert "one of them is 0.002 points" in text


def test_without_a_known_uncertainty_the_page_says_so(tmp_path: Path) -> None:
    """A measure that is no share is compared by its numbers alone, in its own unit."""
    values = {"found": 27.51, "full": 27.63, "uniform": 27.51}
    run = make_run(tmp_path, items=12, measures=[PSNR], values=values)
    build_report(run)
    text = " ".join(words(run).split())
    assert "27.51 dB PSNR with 50.0% of the MACs" in text
    assert "is 0.12 dB below the full network and level with uniform widths" in text
    assert "How far a PSNR on these may be from that on others is not known" in text
    assert "±" not in text
    (axes,) = measure_figure(read_run(run), PSNR).axes
    assert (axes.get_yscale(), axes.get_ylabel()) == ("linear", "PSNR (dB)")
    assert axes.lines[1].get_ydata()[-1] == pytest.approx(27.51, abs=0.8)


def test_less_may_be_better(tmp_path: Path) -> None:
    """Of a measure that should be small, the lead says that below is better."""
    distance = Measure(
        name="distance", title="distance", unit="px", digits=2, higher_is_better=False
    )
    values = {"found": 3.1, "full": 3.5, "uniform": 2.9}
    build_report(make_run(tmp_path, measures=[distance], values=values))
    text = " ".join(words(tmp_path).split())
    assert "0.40 px below the full network (better)" in text
    assert "0.20 px above uniform widths at the same MACs (worse)" in text


def test_every_measure_has_a_tile_a_column_and_a_curve(tmp_path: Path) -> None:
    """The first is spoken of, and the others are shown."""
    ssim = Measure(name="ssim", title="SSIM", digits=4)
    run = make_run(tmp_path, measures=[ACCURACY, ssim])
    build_report(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<b>0.9750</b><span>SSIM</span>" in page
    assert "<th>SSIM</th>" in page and "<th>Test accuracy</th>" in page
    assert "<h2>Test error</h2>" in page and "<h2>SSIM</h2>" in page
    assert (run / "figures" / "test_ssim.svg").exists()


def test_every_arm_has_a_name_and_a_colour_of_its_own(tmp_path: Path) -> None:
    """Whatever a recipe can compare with is in the table and among the curves, in one colour."""
    record = read_run(make_run(tmp_path, arms=ALL))
    build_report(tmp_path)
    text = words(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    labelled = curves(record)
    for place, arm in enumerate(("found", *ALL)):
        title = TITLES[arm][0]
        assert title in text
        assert page.count(f"--arm{place}: #") == 2  # on light and on dark paper
        assert f"--arm{place}: {labelled[title]};" in page
        assert f"background:var(--arm{place})" in page
    assert len(set(labelled.values())) == len(labelled) == 1 + len(ALL)
    assert "4 before + 6" in text


def curves(record: RunRecord) -> dict[str, str]:
    """Label -> colour of the curves of the headline measure."""
    lines = measure_figure(record, record.results.headline).axes[0].lines
    return {
        line.get_label(): line.get_color() for line in lines if not line.get_label().startswith("_")
    }


def test_a_teacher_is_named(tmp_path: Path) -> None:
    """The page says which networks were distilled, from which, how strongly."""
    build_report(make_run(tmp_path, teacher="full"))
    text = " ".join(words(tmp_path).split())
    assert "Found widths and Uniform widths learned from the full network too" in text
    assert "weight 0.4 at temperature 4" in text


def test_training_before_a_cut_is_dotted_and_comes_first(tmp_path: Path) -> None:
    """Search and found widths, L1 before and after the cut, follow each other without a gap."""
    record = read_run(make_run(tmp_path, arms=ALL))
    figure = measure_figure(record, record.results.headline)
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


def test_a_method_that_decides_at_once_has_a_page(tmp_path: Path) -> None:
    """Without a search in training there are no curves of its cost and of importance."""
    run = make_run(tmp_path, searched=0)
    build_report(run)
    text = words(run)
    assert "Cost during the search" not in text
    assert "Importance" not in text
    assert "Dotted" not in text
    assert not (run / "figures" / "cost.svg").exists()


def test_a_method_that_decides_in_the_end_has_a_page(tmp_path: Path) -> None:
    """Nothing was searched in its training, so there is no cost to draw; deciding took its time."""
    run = make_run(tmp_path, curves=0, reached=None, deciding=63.0)
    build_report(run)
    text = words(run)
    assert "Cost during the search" not in text
    assert "+ 63 s to decide" in text
    assert "Dotted" in text
    assert not (run / "figures" / "cost.svg").exists()


def test_a_search_stopped_before_its_first_epoch_has_a_page(tmp_path: Path) -> None:
    """Where no epoch was written down, the checks of the cost are drawn instead."""
    run = make_run(tmp_path, curves=0)
    lines = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("search,")]
    write_file(run / "metrics.csv", "\n".join(kept) + "\n")
    build_report(run)
    assert "Importance" not in words(run)
    steps, _budget = cost_figure(read_run(run)).axes[0].lines
    assert len(steps.get_xdata()) == 13


def test_widths_above_those_of_the_full_network_are_seen(tmp_path: Path) -> None:
    """A method that starts from a wider network may find more than there was."""
    wide = {**FOUND, "layer3.0.conv1": 90}
    build_report(make_run(tmp_path, widths=(FULL, wide, UNIFORM)))
    svg = (tmp_path / "figures" / "widths.svg").read_text(encoding="utf-8")
    assert "90, was 64" in svg
    assert "19 of 32" in svg


def test_samples_are_on_the_page(tmp_path: Path) -> None:
    """Rows of pictures with titles and captions, inside of the page; a lost one drops its row."""
    run = make_run(tmp_path)
    png = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
        b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
    )
    row = [
        {"title": "noisy", "caption": "20.1 dB", "file": "0_0.png"},
        {"title": "Found <widths>", "caption": "27.5 dB", "file": "0_1.png"},
        {"title": "Full network", "caption": "27.9 dB", "file": "0_2.png"},
    ]
    lost = [{"title": "lost row", "caption": "", "file": "1_0.png"}]
    for sample in row:
        write_file(run / "samples" / sample["file"], png)
    write_json(run / "samples" / "samples.json", [row, lost])
    build_report(run)
    page = read(run / "report.html")
    text = " ".join(page.text)
    assert "Samples" in text and "27.5 dB" in text and "Found <widths>" in text
    assert "lost row" not in text
    assert "27.9 dB, 100% of the MACs" in text, "networks of the run are shown with their cost"
    assert sum(target.startswith("data:image/png;base64,") for target in page.loads) == 3


def test_time_and_memory_are_on_the_page_where_they_are_known(tmp_path: Path) -> None:
    """A row per network of the run, empty where an engine could not say; none without the file."""
    run = make_run(tmp_path)
    build_report(run)
    assert "Time and memory" not in words(run)
    known = {"milliseconds": {"median": 12.34}, "peak_bytes": 3 * 2**20}
    networks = {"Found widths": known, "Full network": {"milliseconds": None, "peak_bytes": None}}
    speed = {"item": [1, 3, 321, 481], "threads": 2, "device": "cpu", "networks": networks}
    write_json(run / "speed.json", speed)
    build_report(run)
    text = words(run)
    assert "481 x 321 pixels on the CPU, threads: 2" in text
    assert "12.3 ms" in text and "3 MiB" in text


def test_a_missing_environment_is_said(tmp_path: Path) -> None:
    """Everything else is on the page; how to run it again too."""
    run = make_run(tmp_path)
    (run / "environment.json").unlink()
    build_report(run)
    text = words(run)
    assert "the run folder has no environment.json" in text
    assert "widthwise search config.yaml" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "model: ["),
        ("config.yaml", "model: {name: a}\n"),
        ("results.json", '{"arms": [{"na'),
        ("results.json", '{"task": "a", "arms": []}'),
        ("results.json", '[{"stage": "found", "accuracy": 0.5}]'),
        ("metrics.csv", "stage,epoch,step\nfound,0,1\n"),
        ("stages/search/importance/0000.json", "[1.0, 0.5]"),
        ("environment.json", '{"command": '),
        ("speed.json", '{"item": [1, 3, 8, 8]}'),
    ],
)
def test_a_damaged_file_is_named(name: str, content: str, tmp_path: Path) -> None:
    """Whatever file of the run folder cannot be used, the error says which."""
    run = make_run(tmp_path)
    write_file(run / name, content)
    with pytest.raises(RunError, match=re.escape(name.rpartition("/")[2])):
        build_report(run)


def test_a_deep_network_stays_readable(tmp_path: Path) -> None:
    """The 112 axes of a ResNet-164 are columns under the names of their stages, side by side."""
    full, found, uniform = (
        {name: width for name, width in widths.items() if name != "fc"} for widths in deep_widths()
    )
    assert len(full) == 112 > NAMED
    with house_style():
        figure = widths_figure(
            full,
            Widths(title="found", colour="#000000", widths=found),
            Widths(title="uniform", colour="#ff0000", widths=uniform),
        )
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
        figure = widths_figure(
            full, Widths(title="found", colour="#000000", widths=dict.fromkeys(full, 6)), None
        )
        figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
    edges = sorted((box.x0, box.x1) for box in boxes)
    assert edges
    assert all(end < start for (_, end), (start, _) in pairwise(edges))


@pytest.mark.parametrize("epochs", [1, 2, 7, 12, 13, 29, 200])
def test_importance_of_any_number_of_epochs_is_drawn(epochs: int, tmp_path: Path) -> None:
    """Up to twelve lines, the last one opaque; the first and the last epoch are among them."""
    record = read_run(make_run(tmp_path, searched=epochs))
    lines = importance_figure(record).axes[0].lines
    assert len(lines) == min(epochs, 12)
    assert lines[-1].get_alpha() == pytest.approx(1)
    assert lines[0].get_ydata()[0] == record.importance[0].values[0]
    assert lines[-1].get_ydata()[0] == record.importance[-1].values[0]


def test_a_page_of_a_large_run_stays_small(tmp_path: Path) -> None:
    """Hundreds of epochs of thousands of units make a page that can be sent."""
    run = make_run(tmp_path, arms=ALL, searched=300, widths=deep_widths())
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
