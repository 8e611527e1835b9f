"""Keep a narrow network as a plan and a safetensors file, and build it again without pickle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

from widthwise.arguments import described, network_in, require
from widthwise.errors import ConfigError, PlanError, RunError, TraceError
from widthwise.files import read_ordinary, write_atomically
from widthwise.plans import Plan
from widthwise.shrinking.checksums import CHECKSUM, checksum_of, noted_checksum
from widthwise.shrinking.hub import HubFolder
from widthwise.shrinking.slicing import shrink

PLAN = "plan.json"
WEIGHTS = "model.safetensors"


def save(small: nn.Module, plan: Plan, folder: str | os.PathLike[str]) -> None:
    """Write ``plan.json`` and ``model.safetensors`` into a folder, here or on the Hugging Face Hub.

    Args:
        small: The narrow network.
        plan: The plan it was cut by.
        folder: Made if it does not exist. Files of these names are replaced, each atomically. Or an
            address such as ``hf://user/repository@revision/folder``, the last two left out as you
            like: a new repository is private, and gets a card.

    Raises:
        OSError: If the folder cannot be written.
        RunError: If the Hub cannot be written to.
        ConfigError: If there is no such address.
    """
    small = network_in(small, "ww.save(small, plan, folder)")
    require(plan, Plan, "a plan", "ww.save(small, plan, folder)")
    place = HubFolder.at(folder)
    if place is None:
        _write(small, plan, Path(folder))
        return
    with tempfile.TemporaryDirectory() as local:
        _write(small, plan, Path(local))
        place.publish(Path(local), plan)


def _write(small: nn.Module, plan: Plan, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    # Shared tensors appear under each of their names, so each gets memory of its own here; and the
    # format stores plain order only, whatever the order in memory (channels_last).
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in small.state_dict().items()
    }
    content = dump_tensors(tensors, metadata={CHECKSUM: checksum_of(tensors)})
    write_atomically(target / WEIGHTS, content)
    plan.save(target / PLAN)


def load(folder: str | os.PathLike[str], model_factory: Callable[[], nn.Module]) -> nn.Module:
    """Build a saved narrow network again.

    The factory is run on the meta device where its class allows that, so the full weights need
    never exist.

    Args:
        folder: Written by `save`, or a run folder; an address such as ``hf://user/repository`` is
            downloaded first.
        model_factory: Builds the user's own network, before any rewrite, with the arguments it had
            when the plan was made.

    Returns:
        The narrow network on the CPU, in training mode as a new module is. What was one tensor with
        several names is one again.

    Raises:
        PlanError: If the plan is damaged or belongs to another network.
        RunError: If the weights are missing, damaged, or do not fit the plan, or if the Hub cannot
            be read.
    """
    if isinstance(model_factory, nn.Module) or not callable(model_factory):
        raise ConfigError(
            f"Expected what builds the network, got {described(model_factory)}.\n"
            "Why: the narrow network is cut from a new one, which this call makes.\n"
            "Hint: pass its class, or write `ww.load(folder, lambda: Net(...))` with the arguments "
            "that it had."
        )
    place = HubFolder.at(folder)
    source = Path(folder) if place is None else place.fetch([PLAN, WEIGHTS])
    if not source.is_dir():
        raise RunError(
            f"There is no folder `{source.absolute()}`.\n"
            "Hint: pass the one that `ww.save` wrote, or a run folder."
        )
    plan = Plan.load(source / PLAN)
    tensors = _read_tensors(source / WEIGHTS)
    try:
        small = shrink(_build(model_factory), plan, verify=False)
    except TraceError:
        # A forward that reads values needs weights.
        small = shrink(model_factory(), plan, verify=False)
    shared = list(_shared(small))
    try:
        missing, unexpected = small.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise _misfit(source, str(error)) from error
    if missing or unexpected:
        raise _misfit(source, f"missing {missing[:5]}, unexpected {unexpected[:5]}")
    # Each name was assigned a tensor of its own.
    for places in shared:
        _join(places, source)
    left = [name for name, tensor in small.named_parameters() if tensor.is_meta]
    left += [name for name, tensor in small.named_buffers() if tensor.is_meta]
    if not left:
        return small
    # Buffers that are not part of the state dict are only made by a constructor that really runs.
    small = shrink(model_factory(), plan, verify=False)
    small.load_state_dict(tensors)
    return small


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read weights, and hold them against the checksum that their file notes."""
    try:
        content = read_ordinary(path)
        tensors = parse_tensors(content)
    # Damaged files make the reader raise more than its own error.
    except Exception as error:
        raise RunError(
            f"Cannot read the weights `{path}`: {error}\n"
            "Hint: the file is missing or was cut short; save the network again."
        ) from error
    noted = noted_checksum(content)
    if noted is not None and noted != checksum_of(tensors):
        raise RunError(
            f"The weights `{path}` are not those that were saved: their checksum is another one.\n"
            "Hint: the file was damaged on its way, or edited; copy it or save the network again."
        )
    return tensors


_Place = tuple[str, dict[str, Any], str]
"""Where a module keeps a tensor: its full name, the module's table, and the name in there."""


def _shared(model: nn.Module) -> Iterator[list[_Place]]:
    """Yield, for every tensor that has several names, the places where it is kept."""
    found: dict[int, list[_Place]] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    place = (f"{path}.{name}".strip("."), cast("dict[str, Any]", table), name)
                    found.setdefault(id(tensor), []).append(place)
    return (places for places in found.values() if len(places) > 1)


def _join(places: list[_Place], source: Path) -> None:
    """Make one tensor of equal ones."""
    _, first_table, first_name = places[0]
    first = first_table[first_name]
    for _, table, name in places[1:]:
        if not first.is_meta and not _same(table[name], first):
            names = ", ".join(name for name, _, _ in places)
            raise _misfit(source, f"{names} are one tensor in the network, and several here")
        table[name] = first


def _same(one: Tensor, other: Tensor) -> bool:
    """Tell whether tensors are equal; NaN, as diverged training leaves it, equals NaN."""
    if one.shape != other.shape:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _build(model_factory: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return model_factory()
    except (NotImplementedError, RuntimeError):
        # Some constructors compute with the values they just made.
        return model_factory()


def _misfit(source: Path, what: str) -> PlanError | RunError:
    return RunError(
        f"The weights `{source / WEIGHTS}` do not fit the plan beside them: {what}\n"
        "Hint: both files must come from the same `save`."
    )
