"""What the user knows about a network that its code does not show: what stays, what is tied."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from widthwise.errors import TraceError
from widthwise.graph.recording.ledger import PassLedger
from widthwise.network.copying import named_tensors

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Freezes and ties that the user asks for, by name.

    Attributes:
        freeze: Paths of modules, names of tensors, or globs over both. These tensors keep their
            shapes.
        tie: Groups of paths of layers. The output channels of the layers of a group are kept or
            removed together, index by index.
    """

    freeze: tuple[str, ...] = ()
    tie: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, freeze: Iterable[str], tie: Iterable[Iterable[str]]) -> Constraints:
        """Read what a user passes; a single name counts as a list of one."""
        names = (freeze,) if isinstance(freeze, str) else tuple(freeze)
        return cls(freeze=names, tie=tuple(tuple(group) for group in tie))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Constraints:
        """Read what `to_spec` returned."""
        return cls.of(spec.get("freeze", ()), spec.get("tie", ()))

    def to_spec(self) -> dict[str, Any]:
        """Return plain values for JSON; nothing for no constraints."""
        spec = {"freeze": list(self.freeze), "tie": [list(group) for group in self.tie]}
        return {key: value for key, value in spec.items() if value}

    def write(self, ledger: PassLedger, model: nn.Module) -> None:
        """Note the constraints on the ledger of a pass.

        Args:
            ledger: A ledger with labels; changed.
            model: The network of the pass.

        Raises:
            TraceError: If a name is not one of the network, or layers to tie differ in width.
        """
        tensors = [name for name, _ in named_tensors(model)]
        for pattern in self.freeze:
            found = [name for name in tensors if _covers(pattern, name)]
            if not found:
                raise _unknown("freeze", pattern, model)
            for slot in ledger.slots:
                if slot.tensor in found:
                    ledger.freeze(slot.ids, f"frozen by name (`{pattern}`)")
        modules = dict(model.named_modules())
        for group in self.tie:
            outputs = []
            for path in group:
                dim = 1 if isinstance(modules.get(path), _TRANSPOSED) else 0
                own_ids = ledger.ids_of(f"{path}.weight", dim)
                if own_ids is None:
                    raise _unknown("tie", path, model)
                outputs.append(own_ids)
            if len({len(own_ids) for own_ids in outputs}) > 1:
                widths = ", ".join(
                    f"`{p}` has {len(o)}" for p, o in zip(group, outputs, strict=True)
                )
                raise TraceError(
                    f"`tie` asks for layers of different width: {widths} output channels.\n"
                    "Why: tied channels are kept or removed together, index by index."
                )
            for own_ids in outputs[1:]:
                ledger.tie(outputs[0], own_ids)


def _covers(pattern: str, tensor: str) -> bool:
    """Tell whether a pattern names a tensor, or a module that holds it."""
    parts = tensor.split(".")
    names = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def _unknown(option: str, name: str, model: nn.Module) -> TraceError:
    known: Sequence[str] = [path for path, _ in model.named_modules() if path]
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"the nearest names are {', '.join(f'`{n}`' for n in near)}" if near else "check the name"
    )
    what = "module or tensor" if option == "freeze" else "layer with a weight"
    return TraceError(
        f"`{option}` names no {what} of `{type(model).__name__}`: {name!r}.\n"
        f"Hint: {hint}; `model.named_modules()` lists all paths."
    )
