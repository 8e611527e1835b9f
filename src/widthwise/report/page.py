"""The report page: one HTML file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib import resources

import yaml

from widthwise.methods import method_title
from widthwise.report.figures import measure_title
from widthwise.report.records import Picture, RunRecord
from widthwise.report.theme import arm_variable, variables
from widthwise.report.widths import NAMED
from widthwise.report.words import (
    certainty,
    count,
    duration,
    headline,
    lead,
    milliseconds,
    name_of,
    teaching,
)
from widthwise.runs.results import ArmResult
from widthwise.runs.tags import data_of

_WORTH_TELLING = 1.0
"""Seconds of deciding that are mentioned."""


def page(record: RunRecord, figures: Mapping[str, str]) -> str:
    """Compose the page.

    Args:
        record: A finished run.
        figures: Name -> ``<svg>`` element: ``widths``, ``test_<measure>`` for every measure, and
            ``cost`` and ``importance`` if the widths were searched for in training.

    Returns:
        A complete HTML document.
    """
    style = (resources.files("widthwise.report") / "style.css").read_text(encoding="utf-8")
    title = f"Widthwise: {record.name}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{variables()}{style}</style>
</head>
<body>
<main>
{_header(record)}
{_tiles(record)}
<h2>Results</h2>
<p class="note">All networks were trained for the same number of epochs; those before a cut count.
Every measure is that of the last epoch, never of the best. {escape(teaching(record))}</p>
{_results(record)}
<h2>Width of every layer</h2>
<p class="note">{_widths_sentence(record)}</p>
<figure class="wide">{figures["widths"]}</figure>
{_samples(record)}{_speed(record)}<div class="pair">
{_over_items(record, figures)}{_curves(record, figures)}{_search(record, figures)}
<section><h2>Environment</h2>{_environment(record)}</section>
</div>
<h2>Run it again</h2>
{_again(record)}
</main>
</body>
</html>
"""


def _header(record: RunRecord) -> str:
    config = record.config
    method, model = method_title(config["method"]["name"]), config["model"]["name"]
    what = f"{method}, {model} on {data_of(config)}"
    return f"""<p class="kicker"><code>{escape(name_of(record))}</code> {escape(what)}</p>
<h1>{escape(headline(record.results))}</h1>
<p class="lead">{escape(lead(record.results))}</p>
<p class="note">One run, seed {config["seed"]}. {escape(certainty(record.results))}</p>"""


def _tiles(record: RunRecord) -> str:
    found, full = record.found, record.results.full
    seconds = sum(arm.seconds for arm in record.results.arms)
    tiles = [
        *((m.write(found.measures[m.name]), m.title) for m in record.results.measures),
        (count(found.macs), f"MACs, of {count(full.macs)}"),
        (count(found.params), f"parameters, of {count(full.params)}"),
        (duration(seconds), "for all training"),
    ]
    cells = "".join(
        f'<div class="tile"><b>{escape(number)}</b><span>{escape(what)}</span></div>'
        for number, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _results(record: RunRecord) -> str:
    rows = "\n".join(
        [
            *_given_row(record),
            *(_result_row(record, place, arm) for place, arm in enumerate(record.results.arms)),
        ]
    )
    titles = [m.title[:1].upper() + m.title[1:] for m in record.results.measures]
    columns = ("Network", *titles, "MACs", "Parameters", "Epochs", "Training")
    header = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f"""<div class="scroll"><table>
<tr>{header}</tr>
{rows}
</table></div>"""


def _given_row(record: RunRecord) -> list[str]:
    """Return the row of a trained network before anything was done to it, if there was one."""
    full = record.results.full
    if full.measures is None:
        return []
    measured = "".join(
        f"<td>{escape(m.finer().write(full.measures[m.name]))}</td>"
        for m in record.results.measures
    )
    return [
        f"<tr><td>Your network<small>as given</small></td>{measured}"
        f"<td>{full.macs:,}<small>100.0%</small></td>"
        f"<td>{full.params:,}<small>100.0%</small></td><td>0</td><td></td></tr>"
    ]


def _result_row(record: RunRecord, place: int, arm: ArmResult) -> str:
    full = record.results.full
    epochs = str(arm.epochs)
    if arm.before is not None:
        after = arm.epochs - arm.before.epochs
        epochs += f"<small>{arm.before.epochs} {escape(arm.before.title)} + {after}</small>"
    trained = duration(arm.seconds)
    if arm.before is not None and arm.before.deciding >= _WORTH_TELLING:
        trained += f"<small>+ {duration(arm.before.deciding)} to decide</small>"
    mark = ' class="found"' if place == 0 else ""
    measured = "".join(
        f"<td>{escape(m.finer().write(arm.measures[m.name]))}</td>" for m in record.results.measures
    )
    return (
        f'<tr{mark}><td><span class="dot" style="background:{arm_variable(place)}"></span>'
        f"{escape(arm.title)}<small>{arm.weights} weights</small></td>{measured}"
        f"<td>{arm.macs:,}<small>{arm.macs / full.macs:.1%}</small></td>"
        f"<td>{arm.params:,}<small>{arm.params / full.params:.1%}</small></td>"
        f"<td>{epochs}</td><td>{trained}</td></tr>"
    )


def _samples(record: RunRecord) -> str:
    if not record.samples:
        return ""
    full = record.results.full.macs
    costs = {arm.title: f"{arm.macs / full:.0%} of the MACs" for arm in record.results.arms}

    def with_cost(picture: Picture) -> Picture:
        words = [picture.caption, costs.get(picture.title, "")]
        return replace(picture, caption=", ".join(filter(None, words)))

    rows = "\n".join(
        f'<div class="samples">{picture_row([with_cost(picture) for picture in row])}</div>'
        for row in record.samples
    )
    return f"""<h2>Samples</h2>
<p class="note">What the networks do with test items.</p>
{rows}
"""


def _speed(record: RunRecord) -> str:
    speed = record.speed
    if speed is None:
        return ""
    height, width = speed.item[-2:]
    where = "a GPU" if speed.device == "cuda" else f"the CPU, threads: {speed.threads}"
    rows = []
    for place, arm in enumerate(record.results.arms):
        known = speed.networks.get(arm.title)
        if known is None:
            continue
        times, peak = known["milliseconds"], known["peak_bytes"]
        rows.append(
            f'<tr><td><span class="dot" style="background:{arm_variable(place)}"></span>'
            f"{escape(arm.title)}</td>"
            f"<td>{'' if times is None else milliseconds(times['median'])}</td>"
            f"<td>{'' if peak is None else f'{peak / 2**20:.0f} MiB'}</td></tr>"
        )
    return f"""<h2>Time and memory</h2>
<p class="note">For one photograph of {width} x {height} pixels on {where}, in PyTorch: median of
runs in turns, and the most memory that weights and activations took at once.</p>
<div class="scroll"><table>
<tr><th>Network</th><th>Time</th><th>Peak memory</th></tr>
{"".join(rows)}
</table></div>
"""


def picture_row(row: Sequence[Picture]) -> str:
    """Compose pictures side by side."""
    return "".join(
        f'<div><img alt="{escape(picture.title)}" src="data:image/png;base64,'
        f'{base64.b64encode(picture.png).decode()}"><b>{escape(picture.title)}</b>'
        f"<small>{escape(picture.caption)}</small></div>"
        for picture in row
    )


def _over_items(record: RunRecord, figures: Mapping[str, str]) -> str:
    return "".join(
        f"<section><h2>{escape(curves.title)}</h2>"
        f"<figure>{figures[f'curves_{number}']}\n"
        "<figcaption>Of the trained networks, over all test items.</figcaption></figure>"
        "</section>\n"
        for number, curves in enumerate(record.curves)
    )


def _curves(record: RunRecord, figures: Mapping[str, str]) -> str:
    caption = ""
    if any(arm.before is not None for arm in record.results.arms):
        caption = (
            "<figcaption>Dotted: before the cut, while the network had its full widths."
            "</figcaption>"
        )
    return "".join(
        f"<section><h2>{escape(measure_title(measure))}</h2>"
        f"<figure>{figures[f'test_{measure.name}']}\n{caption}</figure></section>\n"
        for measure in record.results.measures
    )


def _search(record: RunRecord, figures: Mapping[str, str]) -> str:
    parts = ""
    if "cost" in figures:
        parts += f"""<section><h2>Cost during the search</h2><figure>{figures["cost"]}
<figcaption>{escape(_search_sentence(record))}</figcaption></figure></section>
"""
    if "importance" in figures:
        parts += f"""<section><h2>Importance of the units</h2><figure>{figures["importance"]}
<figcaption>Over the epochs of the search, from faint to strong. The least important units are cut.
</figcaption></figure></section>
"""
    return parts


def _widths_sentence(record: RunRecord) -> str:
    full = record.results.full
    free = len(full.widths) - len(full.frozen)
    what = "One bar per axis: a set of channels that can only be removed together."
    if free > NAMED:
        return f"{what} Below, the share of its full width that each one has."
    return f"{what} The name is that of the layer that produces them."


def _search_sentence(record: RunRecord) -> str:
    before = record.found.before
    assert before is not None
    where = "Lines: a cut at that moment. Dots: the network that was found."
    if before.reached:
        return f"{where} The budget was reached in epoch {before.epochs}, and the cut meets it."
    return (
        f"{where} The search ended after {before.epochs} epochs, before it had reached the budget; "
        "the least important units were cut until it was met."
    )


def _environment(record: RunRecord) -> str:
    known = record.environment
    if not known:
        return '<p class="note">Not known: the run folder has no environment.json.</p>'
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    commit = f" ({known['commit']})" if known["commit"] else ""
    rows = {
        "Widthwise": f"{known['widthwise']}{commit}",
        "Python": known["python"],
        "Packages": packages,
        "Processor": f"{known['processor']}, threads: {known['threads']}",
        "Accelerator": known["accelerator"] or "none",
        "Precision": known.get("precision", "not recorded"),
        "System": known["system"],
        "Started": known["started"],
    }
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items())
    return f"<dl>{entries}</dl>"


def _again(record: RunRecord) -> str:
    config = yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True)
    exact = "widthwise search config.yaml --out FOLDER"
    command = record.environment.get("command")
    commands = exact if command is None else f"{command}\n{exact}"
    what = "The command that repeats this run from the complete configuration in the run folder."
    if command is not None:
        what = (
            "The command that started this run, and the one that repeats it from the complete "
            "configuration in the run folder."
        )
    return f"""<p class="note">{what}</p>
<pre>{escape(commands)}</pre>
<details><summary>config.yaml</summary><pre>{escape(config)}</pre></details>"""
