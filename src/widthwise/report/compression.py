"""The page of a compression: what was cut, what was lost where, and which answers changed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from widthwise.plans.text import timing
from widthwise.report.page import picture_row
from widthwise.report.records import Picture
from widthwise.report.theme import FOUND, PAPER, house_style, render, svg_text, variables
from widthwise.report.widths import Widths, widths_figure
from widthwise.report.words import count, duration
from widthwise.runs import write_file

Changed = Sequence[tuple[Tensor, str, str]]
"""An image, raw, shape ``[c, h, w]``; the answer of the full network; that of the narrow one."""


def write_page(folder: Path, results: Mapping[str, Any], changed: Changed) -> Path:
    """Write report.html and figures/widths.

    Args:
        folder: Exists.
        results: Contents of results.json.
        changed: Images whose answer changed.

    Returns:
        The page.

    Raises:
        RunError: If a file cannot be written.
    """
    widths = results["widths"]
    with house_style():
        figure = widths_figure(
            {name: full for name, (full, _) in widths.items()},
            Widths(
                title="Compressed",
                colour=FOUND,
                widths={name: narrow for name, (_, narrow) in widths.items()},
            ),
            None,
        )
        for kind in ("svg", "png"):
            content = render(figure, kind, facecolor=PAPER, dpi=160)
            write_file(folder / "figures" / f"widths.{kind}", content)
        drawn = svg_text(figure, name="widths")
    target = folder / "report.html"
    write_file(target, _page(results, drawn, changed))
    return target


def _page(results: Mapping[str, Any], widths: str, changed: Changed) -> str:
    style = (resources.files("widthwise.report") / "style.css").read_text(encoding="utf-8")
    title = f"Widthwise: {results['model']}, compressed"
    images = results["images"]
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
<p class="kicker"><code>{escape(results["model"])}</code> compressed without labels</p>
<h1>{escape(_headline(results))}</h1>
<p class="lead">{escape(_lead(results))}</p>
<p class="note">Widths were decided on {images["used"]:,} images without labels, plans compared on
{images["compared"]:,} of them, and the network healed on {images["healed"]:,}; what is said of it
was measured on {images["judged"]:,} others.</p>
{_latency(results)}{_tiles(results)}
<h2>Width of every layer</h2>
<figure class="wide">{widths}</figure>
<h2>Plans that were compared</h2>
<p class="note">Each was cut, healed and measured on inputs that it was not healed on. Damage is how
far its outputs are from those of the full network: nats of divergence for scores of classes.</p>
{_trials(results)}
{_healing(results)}
<h2>What was lost where</h2>
<p class="note">Error of what comes out of each layer, relative to its deviation in the full
network, on inputs that nothing was fitted to: before and after it was fitted itself, when all in
front of it had been.</p>
{_layers(results)}
{_answers(changed)}</main>
</body>
</html>
"""


def _headline(results: Mapping[str, Any]) -> str:
    macs, params = results["macs"], results["params"]
    return (
        f"{macs['narrow'] / macs['full']:.1%} of the MACs and "
        f"{params['narrow'] / params['full']:.1%} of the parameters"
    )


def _lead(results: Mapping[str, Any]) -> str:
    said = []
    if results["agreement"] is not None:
        alike = results["agreement"]["narrow"]
        said.append(f"It answers {alike:.1%} of the images as the full network does")
    if results["accuracy"] is not None:
        full, narrow = results["accuracy"]["full"], results["accuracy"]["narrow"]
        said.append(f"it is right on {narrow:.1%} of them, where the full network is on {full:.1%}")
    text = "; ".join(said) + "." if said else ""
    times = results["milliseconds"]
    slower = times["narrow"] > times["full"]
    return (
        f"{text} One image takes {times['narrow']:.2f} ms in the place of {times['full']:.2f} ms"
        f"{', so the cut has made it slower' if slower else ''}."
    ).strip()


def _latency(results: Mapping[str, Any]) -> str:
    if not results["latency"]:
        return ""
    return f'<p class="note">Latency: {escape(timing(results["latency"]))}.</p>\n'


def _tiles(results: Mapping[str, Any]) -> str:
    times = results["milliseconds"]
    tiles = [
        (count(results["macs"]["narrow"]), f"MACs, of {count(results['macs']['full'])}"),
        (count(results["params"]["narrow"]), f"parameters, of {count(results['params']['full'])}"),
        (f"{times['narrow']:.2f} ms", f"per image, of {times['full']:.2f} ms, PyTorch on the CPU"),
        (duration(sum(results["seconds"].values())), "for all of it"),
    ]
    if results["agreement"] is not None:
        alike = results["agreement"]["narrow"]
        tiles.insert(0, (f"{alike:.1%}", "of the answers are the same"))
    cells = "".join(
        f'<div class="tile"><b>{escape(number)}</b><span>{escape(what)}</span></div>'
        for number, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _trials(results: Mapping[str, Any]) -> str:
    full = results["macs"]["full"]
    rows = "\n".join(
        f"<tr{' class=found' if not place else ''}><td>{escape(trial['name'])}</td>"
        f"<td>{trial['damage']:.3g}</td><td>{_share(trial['agreement'])}</td>"
        f"<td>{trial['macs'] / full:.1%}</td></tr>"
        for place, trial in enumerate(results["trials"])
    )
    return _table(("Widths by", "Damage", "Agreement", "MACs"), rows)


def _healing(results: Mapping[str, Any]) -> str:
    alike, right, refined = (results[name] for name in ("agreement", "accuracy", "refined"))
    if alike is None:
        return ""
    steps = "" if refined is None else f" and refined by {refined['steps']} steps"
    rows = "\n".join(
        f"<tr{' class=found' if name == 'narrow' else ''}><td>{title}</td>"
        f"<td>{_share(1.0 if name == 'full' else alike[name])}</td>"
        f"<td>{_share(None if right is None else right[name])}</td></tr>"
        for name, title in (
            ("full", "Full network"),
            ("cut", "Cut, and nothing else"),
            ("narrow", f"Cut, healed{steps}"),
        )
    )
    return f"""<h2>What healing gave</h2>
<p class="note">On the images that nothing was decided on.</p>
{_table(("Network", "Agreement", "Accuracy"), rows)}"""


def _layers(results: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"<tr><td><code>{escape(layer['path'])}</code></td><td>{_share(layer['before'])}</td>"
        f"<td>{_share(layer['after'])}</td><td>{escape(layer['what'])}</td></tr>"
        for layer in results["layers"]
        if layer["before"] is not None
    )
    left: dict[str, int] = {}
    for layer in results["layers"]:
        if layer["before"] is None:
            left[layer["what"]] = left.get(layer["what"], 0) + 1
    others = "".join(
        f'<p class="note">{number} more: {escape(why)}.</p>' for why, number in left.items()
    )
    return _table(("Layer", "Before", "After", "Fitted"), rows) + others


def _table(titles: Sequence[str], rows: str) -> str:
    header = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f'<div class="scroll"><table>\n<tr>{header}</tr>\n{rows}\n</table></div>'


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _answers(changed: Changed) -> str:
    if not changed:
        return ""
    pictures = [
        Picture(title=after, caption=f"was {before}", png=_png(image))
        for image, before, after in changed
    ]
    return f"""<h2>Answers that changed</h2>
<p class="note">Images on which the compressed network answers something else.</p>
<div class="samples">{picture_row(pictures)}</div>
"""


def _png(image: Tensor) -> bytes:
    array = image.permute(1, 2, 0).numpy()
    array = array[..., 0] if array.shape[2] == 1 else array
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()
