"""Every error Widthwise raises on purpose, in one family.

Each message says what broke, where, what was expected, why the rule exists and what to do next.
Each class also derives from a built-in, so that ``except ValueError`` keeps working.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


class WidthwiseError(Exception):
    """Base of every error that Widthwise raises on purpose."""


class TraceError(WidthwiseError, RuntimeError):
    """The network could not be traced."""


class BudgetError(WidthwiseError, ValueError):
    """A budget is malformed or cannot be reached."""


class PlanError(WidthwiseError, ValueError):
    """A plan is damaged or does not fit the network."""


class ProofError(WidthwiseError, RuntimeError):
    """The shrunk network does not compute what the masked network computes."""


class SearchError(WidthwiseError, RuntimeError):
    """A search cannot go on."""


class ConfigError(WidthwiseError, ValueError):
    """A recipe or an option is wrong."""


class RunError(WidthwiseError, RuntimeError):
    """A run folder cannot be used."""


class DataError(WidthwiseError, RuntimeError):
    """A data set is missing or damaged."""


def forward_failed(kind: str, where: str, shapes: str, error: BaseException) -> TraceError:
    """The model's own forward raised on the example inputs."""
    return TraceError(
        f"The forward pass of `{kind}` failed on the example inputs, in `{where or kind}`:\n"
        f"    {type(error).__name__}: {_first_lines(error)}\n"
        f"Example inputs: {shapes}\n"
        "Why: tracing runs the model's own forward once, so the inputs must be ones it accepts.\n"
        "Hint: pass inputs of the shape and dtype that the model is called with; "
        "several inputs go in a tuple, keyword inputs in a dict."
    )


def nothing_returned(kind: str) -> TraceError:
    """No tensor was found in what the forward returned."""
    return TraceError(
        f"No tensor was found in what the forward pass of `{kind}` returned.\n"
        "Why: a cut is proven on the outputs, and the widths of outputs must stay.\n"
        "Hint: return tensors, in tuples, lists, dicts or objects that hold them as attributes."
    )


def meta_unsupported(kind: str, where: str, error: BaseException) -> TraceError:
    """The forward reads values, and the model has no weights to run it with."""
    return TraceError(
        f"`{kind}` reads tensor values in its forward, in `{where or kind}`:\n"
        f"    {type(error).__name__}: {_first_lines(error)}\n"
        "Why: a model on the meta device has shapes but no values.\n"
        "Hint: build the model on the CPU, so that it can be traced with real tensors."
    )


def unstable_forward(model: object, where: str) -> TraceError:
    """Two runs of the same network made different calls."""
    return TraceError(
        f"`{type(model).__name__}` runs differently each time it is called, first at {where}.\n"
        "Why: a trace compares a run of the full network with a run of a narrower one, call by "
        "call.\n"
        "Hint: make the forward a function of its inputs; a random choice of layers has to be "
        "switched off in evaluation mode."
    )


def not_copyable(kind: str, error: BaseException) -> TraceError:
    """The module refuses `copy.deepcopy`."""
    return TraceError(
        f"`{kind}` cannot be copied: {type(error).__name__}: {_first_lines(error)}\n"
        "Why: Widthwise works on a copy, so that the model you pass is left exactly as it was.\n"
        "Hint: make `copy.deepcopy(model)` work; tensors kept as plain attributes should be "
        "registered as buffers."
    )


def unreachable_budget(
    metric: str, limit: float, full: float, smallest: float, holders: Sequence[tuple[str, float]]
) -> BudgetError:
    """No plan is as cheap as the budget asks."""
    lines = "\n".join(f"    {what:<58} {share:6.1%}" for what, share in holders)
    # Nobody asks for so few; a share of more than the whole, or percent, is what was meant.
    meant = (
        f"Note: {limit:g} is above 1, so it is a number of {metric}, not a share.\n"
        if 1 < limit <= 100 and float(full).is_integer()
        else ""
    )
    least, most, whole = map(_number, (smallest, limit, full))
    return BudgetError(
        f"Cannot reach {metric} <= {most} ({limit / full:.1%} of {whole}): "
        f"the smallest reachable value is {least} ({smallest / full:.1%}).\n"
        f"What holds it there, as a share of the full cost:\n{lines}\n"
        f"{meant}Hint: lower `min_width`, `min_keep` or `round_to`, include more axes, "
        f"or ask for at least {math.ceil(smallest / full * 1e4) / 1e4}."
    )


def wrong_network(problems: Iterable[str]) -> PlanError:
    """A plan made for one network was given another."""
    lines = "\n".join(f"    {problem}" for problem in list(problems)[:12])
    return PlanError(
        f"This plan was made for another network:\n{lines}\n"
        "Why: a plan names axes and their full widths; every one of them must be found again.\n"
        "Hint: build the model exactly as it was when the plan was made (same class, same "
        "arguments, same number of classes). Where a network was cut twice, `first.then(second)` "
        "is the plan of both cuts."
    )


def damaged_plan(path: object, why: str) -> PlanError:
    """A plan file cannot be read."""
    return PlanError(
        f"Cannot read the plan `{path}`: {why}\n"
        "Why: a plan is a JSON file that `Plan.save` writes whole or not at all.\n"
        "Hint: the file was cut short or edited; make the plan again, or take it from a backup."
    )


def edited_plan(path: object) -> PlanError:
    """A plan file is not what was saved."""
    return PlanError(
        f"The plan `{path}` was changed since it was saved: its checksum is another one.\n"
        "Why: costs and widths in it may not be those of the network it belongs to.\n"
        "Hint: make the plan again. If the change is yours, delete the line `checksum`: axes "
        "that contradict the network are found in any case."
    )


def malformed_inputs(error: BaseException) -> PlanError:
    """The example inputs in a plan cannot be made."""
    return PlanError(
        f"The example inputs in this plan cannot be made: {type(error).__name__}: "
        f"{_first_lines(error)}\n"
        "Hint: the file was edited; make the plan again, or pass `example_inputs`."
    )


def not_widened(kind: str, factor: float, error: BaseException) -> TraceError:
    """The network's code does not run at larger widths."""
    return TraceError(
        f"`{kind}` does not run when its free axes are {factor:g} times as wide:\n"
        f"    {type(error).__name__}: {_first_lines(error)}\n"
        "Why: a trace tries narrower widths only; this code also has a largest one.\n"
        "Hint: leave out the axes around the place (`exclude=[...]`), or freeze the modules."
    )


def unknown_rewrite(name: object, known: Iterable[str]) -> PlanError:
    """A plan starts with a rewrite that nobody has registered."""
    return PlanError(
        f"No rewrite is called {name!r}. Known: {', '.join(sorted(known))}.\n"
        "Why: the network is rewritten as the plan says before it is cut.\n"
        "Hint: import the module that defines it; `widthwise.rewrites.register` makes it known."
    )


def unknown_input(kind: str, hint: str = "") -> PlanError:
    """The example inputs hold something that a plan file cannot."""
    return PlanError(
        f"The example inputs of this plan hold a `{kind}`, which a plan file cannot hold.\n"
        "Why: a loaded plan traces the network again, on inputs like those it was made with.\n"
        "Hint: "
        + (
            hint
            or "call the network with tensors, numbers, text, enums, and lists, tuples or dicts "
            "of these; a wrapper around the network can build the rest."
        )
    )


def nothing_to_prove(where: str) -> ProofError:
    """The full network computes NaN or infinity."""
    return ProofError(
        f"The full network itself puts out NaN or infinite values, first in `{where}`.\n"
        "Why: the proof compares it with the narrow network, and NaN equals nothing.\n"
        "Hint: check the weights, a run that diverged leaves such a checkpoint; or pass inputs "
        "that the network is made for (`shrink(model, plan, example_inputs=...)`), for a plan from "
        "a file is proven on noise. `verify=False` slices without the proof."
    )


def proof_failed(
    where: str, error: float, tolerance: float, failure: BaseException | None = None
) -> ProofError:
    """Masked and shrunk network disagree, or the shrunk one does not even run."""
    raised = f"The shrunk network raises {type(failure).__name__}: {failure}\n" if failure else ""
    return ProofError(
        f"The shrunk network differs from the masked network, first in `{where}`: "
        f"relative error {error:.2e}, allowed {tolerance:.0e}.\n{raised}"
        "Why: every cut is proven on the example inputs, so that no wrong cut goes unnoticed.\n"
        f"Hint: exclude the axes around `{where}` (`exclude=[...]`) and report the model, or look "
        "at the result with `shrink(model, plan, verify=False)`."
    )


def provable_without(error: ProofError, names: Sequence[str]) -> ProofError:
    """A cut cannot be proven, but it can with some axes left as they are."""
    listed = ", ".join(f'"{name}"' for name in names)
    return ProofError(
        f"{error}\nTried: with `exclude=[{listed}]` the rest of this cut is proven; plan again so."
    )


def rewrite_failed(rewrite: str, where: str, error: float, tolerance: float) -> ProofError:
    """A rewritten network and its reference disagree."""
    return ProofError(
        f"The network rewritten by `{rewrite}` differs from its reference, first in `{where}`: "
        f"relative error {error:.2e}, allowed {tolerance:.0e}.\n"
        "Why: a rewrite says which network it equals, and that is checked before anything is cut.\n"
        "Hint: report the model; `verify=False` goes on without the proof."
    )


def _number(value: float) -> str:
    """Write counts in full, and milliseconds to three digits."""
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.3g}"


def _first_lines(error: BaseException, count: int = 3) -> str:
    text = str(error).strip() or repr(error)
    return "\n    ".join(text.splitlines()[:count])
