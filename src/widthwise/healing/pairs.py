"""Run the full and the narrow network as far as one module, and give what both have there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.network.inputs import Inputs

Norm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Visit:
    """One call of a module: its first input and its output."""

    given: Tensor
    made: Tensor


class _Reached(BaseException):
    """The module has been called as often as it is. Passes by code that catches every exception."""


@dataclass(frozen=True)
class Route:
    """The modules of a network in the order in which a forward calls them.

    Attributes:
        calls: How often each is called, by path.
        follower: What reads the output of each as it is, if a single module does; by path.
    """

    calls: dict[str, int]
    follower: dict[str, str]

    @classmethod
    def of(cls, network: nn.Module, inputs: Inputs, kinds: tuple[type[nn.Module], ...]) -> Route:
        """Run a network once, in evaluation mode.

        Args:
            network: Not changed.
            inputs: What to run it on.
            kinds: Classes of the modules to note.

        Returns:
            The route.
        """
        calls: dict[str, int] = {}
        follower: dict[str, str] = {}
        made: dict[int, tuple[Tensor, str]] = {}

        def note(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
            def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
                calls[path] = calls.get(path, 0) + 1
                if args and isinstance(args[0], Tensor) and id(args[0]) in made:
                    follower[made[id(args[0])][1]] = path
                if isinstance(output, Tensor):
                    made[id(output)] = output, path

            return hook

        handles = [
            module.register_forward_hook(note(path))
            for path, module in network.named_modules()
            if isinstance(module, kinds)
        ]
        try:
            with torch.no_grad():
                inputs.call(network)
        finally:
            for handle in handles:
                handle.remove()
        return cls(calls, follower)

    def norm_behind(self, path: str, network: nn.Module) -> Norm | None:
        """Return the batch normalisation with statistics that reads a module's output, as it is.

        None where it also reads other modules, or either is called more than once: such a norm is
        corrected by itself.
        """
        follower = self.follower.get(path)
        if follower is None or list(self.follower.values()).count(follower) > 1:
            return None
        norm = network.get_submodule(follower)
        once = self.calls[path] == self.calls[follower] == 1
        return norm if isinstance(norm, Norm) and norm.track_running_stats and once else None


def visits(network: nn.Module, path: str, calls: int, inputs: Inputs) -> list[Visit]:
    """Run a network as far as a module.

    Args:
        network: In evaluation mode; not changed.
        path: Of the module.
        calls: How often it is called.
        inputs: What to run on.

    Returns:
        Its calls, in order.
    """
    found: list[Visit] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = [*args, *kwargs.values()][0]
        # What comes after may work in place.
        made = output.clone() if len(found) + 1 < calls else output
        found.append(Visit(given.detach(), made.detach()))
        if len(found) == calls:
            raise _Reached

    handle = network.get_submodule(path).register_forward_hook(hook, with_kwargs=True)
    try:
        with torch.no_grad():
            inputs.call(network)
    except _Reached:
        pass
    finally:
        handle.remove()
    return found


def pairs(
    networks: Sequence[nn.Module], path: str, calls: int, batches: Sequence[Inputs]
) -> Iterator[tuple[bool, Visit, Visit]]:
    """Yield what two networks have at one module.

    Args:
        networks: The full and the narrow one, in evaluation mode.
        path: Of the module, the same in both.
        calls: How often it is called.
        batches: What to run on, one after the other.

    Yields:
        Whether these inputs are held out (a quarter is), and a call of the module in each network.
    """
    for number, batch in enumerate(batches):
        wide, narrow = (visits(network, path, calls, batch) for network in networks)
        for first, second in zip(wide, narrow, strict=True):
            size = first.given.shape[0]
            apart = size - max(size // 4, 1) if size >= 4 else (0 if number % 4 == 3 else size)
            for held_out, part in ((False, slice(0, apart)), (True, slice(apart, size))):
                if part.start < part.stop:
                    yield (
                        held_out,
                        Visit(first.given[part], first.made[part]),
                        Visit(second.given[part], second.made[part]),
                    )
