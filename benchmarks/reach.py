"""How far Widthwise reaches beside its peers: every network people have, under the same limits.

Run `python benchmarks/reach.py widthwise` (most of an hour on a core; it goes on where it was
stopped), `python benchmarks/reach.py trace` for seconds and memory of the trace when the machine
has nothing else to do, then the same with `torch_pruning` and `fastnas` where they are installed,
then `python benchmarks/reach_page.py` for the page in docs. `--only GLOB` takes some networks;
`--elsewhere`, `--restoration` and `--hugging_face` take those of other libraries, into files of
their own.

The list: of every model file of timm the smallest and a middle variant of up to 100 M parameters
(`reach_models.json`; `--list` makes it anew), all of torchvision, and `handwritten.py`. Each
network runs in a process of its own, at most 60 seconds of one core (construction of the network
included) and 10 GiB for every cut.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import signal
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

import elsewhere
import hugging_face
import restoration
from handwritten import NETWORKS
from harness import RESULTS, environment
from reach_one import MODULES, TOOLS, report

HERE = Path(__file__).parent
MODELS = HERE / "reach_models.json"
SECONDS = 60
"""Of one core, up to the first cut, proven or run; then up to the next."""
MOST_PARAMETERS = 100e6
PACKAGES = {"torch_pruning": ("torch-pruning",), "fastnas": ("nvidia-modelopt",)}
"""Name of a tool -> what is installed for it."""


def timm_models() -> dict[str, list[str]]:
    """Choose the smallest and a middle variant of every model file of timm."""
    import timm

    chosen = {}
    for module in timm.list_modules():
        sizes = []
        for name in timm.list_models(module=module):
            try:
                with torch.device("meta"):
                    model = timm.create_model(name)
            except (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError):
                continue
            sizes.append((sum(p.numel() for p in model.parameters()), name))
        names = [name for size, name in sorted(sizes) if size <= MOST_PARAMETERS]
        if names:
            chosen[module] = list(dict.fromkeys([names[0], names[len(names) // 2]]))
    return chosen


def all_names() -> list[str]:
    """Return every network of the list."""
    import torchvision

    chosen = json.loads(MODELS.read_text())
    ours = [f"timm/{name}" for names in chosen.values() for name in names]
    theirs = [f"torchvision/{name}" for name in torchvision.models.list_models()]
    return [*(f"handwritten/{name}" for name in NETWORKS), *theirs, *ours]


def measure(tool: str, name: str, seconds: int = SECONDS) -> dict[str, Any]:
    """Take one network through one tool, in a process of its own.

    Args:
        tool: A key of `TOOLS`.
        name: A network of the list.
        seconds: How many of one core each cut may take.

    Returns:
        What it found, or why it found nothing.
    """
    context = multiprocessing.get_context("forkserver")
    # Imports, several seconds, are made once; where a tool is missing, the process will say so.
    context.set_forkserver_preload(["timm", "torchvision", "widthwise", MODULES[tool]])
    receiver, sender = context.Pipe(duplex=False)
    start = time.perf_counter()
    process = context.Process(target=report, args=(tool, name, seconds, sender))
    process.start()
    sender.close()
    ready = wait([receiver, process.sentinel], timeout=10 * seconds)
    try:
        row = receiver.recv() if receiver in ready or receiver.poll() else None
    except EOFError:
        row = None
    if not ready:
        process.kill()
    process.join()
    if row is None:
        killed = process.exitcode == -signal.SIGXCPU
        row = {"failure": f"more than {seconds} s" if killed else f"died ({process.exitcode})"}
    return {"name": name, **row, "process_s": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Measure what has not been measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--only", metavar="GLOB", default="*")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once, one core each")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one core, for every cut")
    others = parser.add_mutually_exclusive_group()
    for module in (elsewhere, restoration, hugging_face):
        others.add_argument(
            f"--{module.__name__}",
            dest="others",
            action="store_const",
            const=module,
            help=f"networks of `{module.__name__}.py`",
        )
    parser.add_argument("--list", action="store_true", help="choose timm's models anew first")
    given = parser.parse_args()
    if given.list:
        MODELS.write_text(json.dumps(timm_models(), indent=1) + "\n")
    names = list(given.others.NETWORKS) if given.others else all_names()
    packages = PACKAGES.get(given.tool, ()) + (given.others.PACKAGES if given.others else ())
    try:
        environment(*packages)
    except PackageNotFoundError as error:
        parser.error(f"install `{error.name}` first")
    suffix = f"_{given.others.__name__}" if given.others else ""
    path = RESULTS / f"reach_{given.tool}{suffix}.json"
    done = json.loads(path.read_text())["rows"] if path.exists() else []
    seen = {row["name"] for row in done}
    left = [n for n in names if n not in seen and fnmatch.fnmatch(n, given.only)]
    with ThreadPoolExecutor(given.jobs) as pool:
        futures = [pool.submit(measure, given.tool, name, given.seconds) for name in left]
        for future in as_completed(futures):
            done.append(future.result())
            print(json.dumps(done[-1]), flush=True)
            # After every network, so that stopping loses nothing.
            content = {"environment": environment(*packages), "rows": done}
            path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
