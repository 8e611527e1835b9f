"""What healing did, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from widthwise.healing.refine import Refined


@dataclass(frozen=True)
class Healed:
    """One layer.

    Attributes:
        path: Of the module.
        what: What was fitted: ``weights``, ``statistics``, ``scale and shift``; or ``nothing``,
            with the reason.
        before: Error of its outputs on inputs that nothing was fitted to, as a share of the
            deviation of what the full network's layer puts out; NaN where it was not measured.
        after: The same when it was healed; at most `before`.
    """

    path: str
    what: str
    before: float
    after: float


@dataclass(frozen=True)
class HealReport:
    """What `heal` did. Prints itself.

    Attributes:
        layers: In order of execution.
        inputs: How many inputs it saw.
        refined: What gradient steps did to all layers together; None where there were none.
    """

    layers: tuple[Healed, ...]
    inputs: int
    refined: Refined | None = None

    def __str__(self) -> str:
        """A row per layer."""
        width = max([len(layer.path) for layer in self.layers], default=0)
        rows = [
            f"  {layer.path:<{width}}  {layer.before:6.1%} -> {layer.after:6.1%}  {layer.what}"
            for layer in self.layers
            if layer.before == layer.before
        ]
        rows += [
            f"  {layer.path:<{width}}  {layer.what}"
            for layer in self.layers
            if layer.before != layer.before
        ]
        head = f"healed on {self.inputs:,} inputs; error of each layer's outputs, on held-out ones:"
        lines = [head, *rows]
        if self.refined is not None:
            lines.append(f"refined: {self.refined}")
        return "\n".join(lines)
