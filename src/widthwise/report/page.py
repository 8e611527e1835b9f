"""The report page: one HTML file that loads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

import yaml

from widthwise.report.records import TITLES, RunRecord

COLOURS = {
    "found": "--found",
    "full": "--full",
    "uniform": "--uniform",
    "scratch": "--scratch",
}
"""Stage -> the variable of style.css with its colour."""


def page(record: RunRecord, figures: Mapping[str, str]) -> str:
    """Compose the page.

    Args:
        record: A finished run.
        figures: Name -> ``<svg>`` element: ``widths``, ``error``, ``cost``, ``latents``.

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
<p class="note">All networks were trained for the same number of epochs; those of the search count.
Accuracy is that of the last epoch, never of the best.</p>
{_results(record)}
<h2>Width of every layer</h2>
<p class="note">One bar per axis: a set of channels that can only be removed together. The
name is that of the layer that produces them.</p>
<figure class="wide">{figures["widths"]}</figure>
<div class="pair">
<section><h2>Test error</h2><figure>{figures["error"]}
<figcaption>The found network starts where the search ended.</figcaption></figure></section>
<section><h2>Cost during the search</h2><figure>{figures["cost"]}
<figcaption>{escape(_search_sentence(record))}</figcaption></figure></section>
<section><h2>Latents</h2><figure>{figures["latents"]}
<figcaption>One line per epoch of the search. Units whose latents reach zero are cut.</figcaption>
</figure></section>
<section><h2>Environment</h2>{_environment(record)}</section>
</div>
<h2>Run it again</h2>
{_again(record)}
</main>
</body>
</html>
"""


def headline(record: RunRecord) -> str:
    """Say in one sentence what came out.

    Args:
        record: A finished run.

    Returns:
        Plain text.
    """
    found, full = record.found, record.full
    return (
        f"{found['accuracy']:.1%} accuracy with {found['macs'] / full['macs']:.1%} of the MACs "
        f"and {found['params'] / full['params']:.1%} of the parameters"
    )


def _header(record: RunRecord) -> str:
    found = record.found
    comparisons = [
        f"{_points(found['accuracy'] - row['accuracy'])} {words}"
        for stage, words in (
            ("full", "the full network"),
            ("uniform", "uniform widths at the same MACs"),
            ("scratch", "the same widths with fresh weights"),
        )
        if (row := record.results.get(stage)) is not None
    ]
    lead = f"The found network is {_listed(comparisons)}. " if comparisons else ""
    images = record.search["test_images"]
    error = _uncertainty(found["accuracy"], images)
    config = record.config
    method, model = config["method"]["name"].upper(), config["model"]["name"]
    what = f"{method} search, {model} on {config['data']['name']}"
    return f"""<p class="kicker">{escape(what)}</p>
<h1>{escape(headline(record))}</h1>
<p class="lead">{escape(lead)}</p>
<p class="note">One run, seed {config["seed"]}. On {images} test images one image is
{100 / images:.2f} points, and an accuracy is known to about &plusmn;{100 * error:.1f} points:
smaller differences mean nothing.</p>"""


def _tiles(record: RunRecord) -> str:
    found, full = record.found, record.full
    seconds = sum(row["seconds"] for row in record.results.values())
    tiles = [
        (f"{found['accuracy']:.1%}", "test accuracy"),
        (_count(found["macs"]), f"MACs, of {_count(full['macs'])}"),
        (_count(found["params"]), f"parameters, of {_count(full['params'])}"),
        (_duration(seconds), "for all training"),
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
    weights = (
        "weights inherited from the search"
        if row["weights"] == "inherited"
        else "trained from fresh weights"
    )
    epochs = str(row["epochs"])
    if stage == "found":
        searched = record.search["epochs"]
        epochs += f"<small>{searched} search + {row['epochs'] - searched}</small>"
    mark = ' class="found"' if stage == "found" else ""
    return (
        f'<tr{mark}><td><span class="dot" style="background:var({COLOURS[stage]})"></span>'
        f"{escape(TITLES[stage])}<small>{weights}</small></td>"
        f"<td>{row['accuracy']:.2%}</td>"
        f"<td>{row['macs']:,}<small>{row['macs'] / full['macs']:.1%}</small></td>"
        f"<td>{row['params']:,}<small>{row['params'] / full['params']:.1%}</small></td>"
        f"<td>{epochs}</td><td>{_duration(row['seconds'])}</td></tr>"
    )


def _search_sentence(record: RunRecord) -> str:
    epochs = record.search["epochs"]
    if record.search["reached"]:
        return f"Reached the budget in epoch {epochs}; the last units were cut by bisection."
    return (
        f"Ended after {epochs} epochs, before reaching the budget; the smallest latents were cut "
        "until it was met."
    )


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


def _uncertainty(accuracy: float, images: int) -> float:
    """Half the width of Wilson's 95 % interval, which holds near 100 % too."""
    z = 1.96
    spread = accuracy * (1 - accuracy) / images + (z / (2 * images)) ** 2
    return z * math.sqrt(spread) / (1 + z**2 / images)


def _points(difference: float) -> str:
    points = 100 * difference
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
