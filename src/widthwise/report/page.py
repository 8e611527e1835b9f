"""The report page: one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

import yaml

from widthwise.report.records import BEFORE_THE_CUT, TITLES, RunRecord
from widthwise.report.widths import NAMED
from widthwise.report.words import (
    count,
    difference_uncertainty,
    duration,
    headline,
    lead,
    name_of,
    uncertainty,
)

COLOURS = {
    "found": "--found",
    "full": "--full",
    "uniform": "--uniform",
    "scratch": "--scratch",
    "l1": "--l1",
}
"""Stage -> the variable of style.css with its colour."""

_WEIGHTS = {
    "found": "weights inherited from the search",
    "l1": "weights inherited from the full network",
}
"""Stage that starts from a cut -> where its weights come from."""


def page(record: RunRecord, figures: Mapping[str, str]) -> str:
    """Compose the page.

    Args:
        record: A finished run.
        figures: Name -> ``<svg>`` element: ``widths``, ``error``, ``cost``, and ``latents`` if
            the method has some.

    Returns:
        A complete HTML document.
    """
    style = (resources.files("widthwise.report") / "style.css").read_text()
    title = f"Widthwise: {record.name}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{_header(record)}
{_tiles(record)}
<h2>Results</h2>
<p class="note">All networks were trained for the same number of epochs; those before a cut count.
Accuracy is that of the last epoch, never of the best.</p>
{_results(record)}
<h2>Width of every layer</h2>
<p class="note">{_widths_sentence(record)}</p>
<figure class="wide">{figures["widths"]}</figure>
<div class="pair">
<section><h2>Test error</h2><figure>{figures["error"]}
<figcaption>Dotted: before the cut, while the network had its full widths.</figcaption>
</figure></section>
<section><h2>Cost during the search</h2><figure>{figures["cost"]}
<figcaption>{escape(_search_sentence(record))}</figcaption></figure></section>
{_latents(figures)}
<section><h2>Environment</h2>{_environment(record)}</section>
</div>
<h2>Run it again</h2>
{_again(record)}
</main>
</body>
</html>
"""


def _header(record: RunRecord) -> str:
    images = record.search["test_images"]
    error, between = uncertainty(record.found["accuracy"], images), difference_uncertainty(record)
    config = record.config
    method, model = config["method"]["name"].upper(), config["model"]["name"]
    what = f"{method} search, {model} on {config['data']['name']}"
    return f"""<p class="kicker"><code>{escape(name_of(record))}</code> {escape(what)}</p>
<h1>{escape(headline(record))}</h1>
<p class="lead">{escape(lead(record))}</p>
<p class="note">One run, seed {config["seed"]}. On {images:,} test images one image is
{100 / images:.2f} points. An accuracy is known to about &plusmn;{100 * error:.1f} points, a
difference of two to about &plusmn;{100 * between:.1f}: smaller ones mean nothing.</p>"""


def _tiles(record: RunRecord) -> str:
    found, full = record.found, record.full
    seconds = sum(row["seconds"] for row in record.results.values())
    tiles = [
        (f"{found['accuracy']:.1%}", "test accuracy"),
        (count(found["macs"]), f"MACs, of {count(full['macs'])}"),
        (count(found["params"]), f"parameters, of {count(full['params'])}"),
        (duration(seconds), "for all training"),
    ]
    cells = "".join(
        f'<div class="tile"><b>{escape(number)}</b><span>{escape(what)}</span></div>'
        for number, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _results(record: RunRecord) -> str:
    rows = "\n".join(_result_row(record, stage, row) for stage, row in record.results.items())
    columns = ("Network", "Test accuracy", "MACs", "Parameters", "Epochs", "Training")
    header = "".join(f"<th>{column}</th>" for column in columns)
    return f"""<div class="scroll"><table>
<tr>{header}</tr>
{rows}
</table></div>"""


def _result_row(record: RunRecord, stage: str, row: Mapping[str, Any]) -> str:
    full = record.full
    epochs = str(row["epochs"])
    if stage in BEFORE_THE_CUT:
        before = len(record.lines(BEFORE_THE_CUT[stage]))
        words = "search" if stage == "found" else "before"
        epochs += f"<small>{before} {words} + {row['epochs'] - before}</small>"
    mark = ' class="found"' if stage == "found" else ""
    return (
        f'<tr{mark}><td><span class="dot" style="background:var({COLOURS[stage]})"></span>'
        f"{escape(TITLES[stage])}"
        f"<small>{_WEIGHTS.get(stage, 'trained from fresh weights')}</small></td>"
        f"<td>{row['accuracy']:.2%}</td>"
        f"<td>{row['macs']:,}<small>{row['macs'] / full['macs']:.1%}</small></td>"
        f"<td>{row['params']:,}<small>{row['params'] / full['params']:.1%}</small></td>"
        f"<td>{epochs}</td><td>{duration(row['seconds'])}</td></tr>"
    )


def _widths_sentence(record: RunRecord) -> str:
    free = len(record.full["widths"]) - len(record.full["frozen"])
    what = "One bar per axis: a set of channels that can only be removed together."
    if free > NAMED:
        return f"{what} Below, the share of its width that each one keeps."
    return f"{what} The name is that of the layer that produces them."


def _search_sentence(record: RunRecord) -> str:
    epochs = record.search["epochs"]
    where = "Lines: a cut at the threshold. Dots: the network that was found."
    if record.search["reached"]:
        return f"{where} The budget was reached in epoch {epochs}, and met by bisection."
    return (
        f"{where} The search ended after {epochs} epochs, before it had reached the budget; the "
        "smallest latents were cut until it was met."
    )


def _latents(figures: Mapping[str, str]) -> str:
    if "latents" not in figures:
        return ""
    return f"""<section><h2>Latents</h2><figure>{figures["latents"]}
<figcaption>Over the epochs of the search, from faint to strong. Units whose latents reach zero are
cut.</figcaption></figure></section>"""


def _environment(record: RunRecord) -> str:
    known = record.environment
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    commit = f" ({known['commit']})" if known["commit"] else ""
    rows = {
        "Widthwise": f"{known['widthwise']}{commit}",
        "Python": known["python"],
        "Packages": packages,
        "Processor": f"{known['processor']}, threads: {known['threads']}",
        "Accelerator": known["accelerator"] or "none",
        "System": known["system"],
        "Started": known["started"],
    }
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items())
    return f"<dl>{entries}</dl>"


def _again(record: RunRecord) -> str:
    config = yaml.safe_dump(record.config, sort_keys=False)
    exact = "widthwise search config.yaml --out FOLDER"
    return f"""<p class="note">The command that started this run, and the one that repeats
it from the complete configuration in the run folder.</p>
<pre>{escape(record.environment["command"])}
{escape(exact)}</pre>
<details><summary>config.yaml</summary><pre>{escape(config)}</pre></details>"""
