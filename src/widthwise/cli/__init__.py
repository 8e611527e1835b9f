"""The command line: one verb per file. A verb parses, calls the library and prints."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from widthwise._version import __version__
from widthwise.errors import WidthwiseError

VERBS = {
    "trace": "show which channels of a network are tied, and what it costs",
    "plan": "decide widths by a score, without training",
    "shrink": "cut a network by a plan file, with proof",
    "compress": "cut a trained network and heal it in minutes, without training",
    "search": "search widths while training, shrink, converge, compare, report",
    "sweep": "run a recipe with every combination of some values, then compare",
    "report": "rebuild the report page of a run",
    "eval": "measure a run's network on the test data",
    "restore": "let a run's network clean or enlarge your own images",
    "track": "let a run's network follow something through your own video",
    "crop": "cut large photographs into parts to train on",
    "render": "render clips with true boxes from photographs, to track in",
    "export": "write a run's network as ONNX or as a PyTorch program, checked",
    "bench": "measure time and memory of networks side by side",
    "compare": "put finished runs into one table, over seeds and recipes",
}
"""Verb -> what it does; each is the module of that name with ``run(arguments)``."""

EXAMPLES = """\
examples:
  widthwise search digits
  widthwise trace torchvision/resnet50
  widthwise plan torchvision/resnet50 --score l1 --budget macs=0.5 --out plan.json
  widthwise shrink torchvision/resnet50 plan.json --weights w.pt --out narrow
  widthwise compress torchvision/resnet50 --weights w.pt --data photos --budget macs=0.7
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: Command-line arguments; those of the process if not given.

    Returns:
        Exit code: 0, or 2 after an error of the user's making, or 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb, rest = (given[0], given[1:]) if given else ("", [])
    if verb in ("", "-h", "--help", "help"):
        print(_usage())
        return 0 if verb else 2
    if verb in ("-V", "--version"):
        print(f"widthwise {__version__}")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        print(f"widthwise: no verb `{verb}`.{hint}\n\n{_usage()}", file=sys.stderr)
        return 2
    if any(_is_factory(word) for word in rest):
        # A model given as package.module:factory is looked for here too, but last: no file of this
        # folder may stand in for a library.
        sys.path.append(str(Path.cwd()))
    module = importlib.import_module(f"widthwise.cli.{verb}")
    try:
        return module.run(rest)
    except WidthwiseError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (such as `head`) has seen enough; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _is_factory(word: str) -> bool:
    """Tell whether an argument, or its value, may be ``package.module:factory``."""
    module, colon, factory = word.rpartition("=")[2].partition(":")
    return bool(colon) and factory.isidentifier() and all(map(str.isidentifier, module.split(".")))


def _usage() -> str:
    verbs = "\n".join(f"  {verb:<8} {what}" for verb, what in VERBS.items())
    return (
        "usage: widthwise VERB ...   (widthwise VERB --help says more)\n\n"
        "Finds how wide every layer of a convolutional network should be.\n\n"
        f"verbs:\n{verbs}\n\n"
        "A MODEL is widthwise/NAME, torchvision/NAME, timm/NAME, package.module:factory,\n"
        f"or a run folder.\n\n{EXAMPLES}"
    )
