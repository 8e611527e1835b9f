"""Refine a healed network as a whole: all its layers read what the full network's layers read.

Layer by layer, a fit keeps what the layers in front make as it is. Narrow layers do better where
they may make something else than the channels they have kept, as long as those who read it come
closer. That is no linear problem, so it takes gradient steps; the targets are what the full network
computes, on the inputs that healing has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.healing.pairs import together
from widthwise.healing.progress import Progress
from widthwise.network.inputs import Inputs
from widthwise.network.outputs import tensors_of

_RATES = (6e-2, 2e-2, 6e-3)
"""Learning rates that are tried, as shares of the root mean square of a parameter."""
_LEAST = 1e-3
"""Root mean square that a parameter is taken to have at least."""
_TRIED = 10
"""A trial of a rate takes so many times fewer steps."""
_WARM_UP = 20
_TINY = 1e-12


@dataclass(frozen=True)
class Refined:
    """What refining a network did.

    Attributes:
        steps: Gradient steps.
        before: Mean square error of what layers read and of the outputs, relative to their
            variance and summed up, on inputs that are held out.
        after: The same afterwards; at most `before`.
        why_not: Why nothing was done, or None.
    """

    steps: int
    before: float
    after: float
    why_not: str | None = None

    def __str__(self) -> str:
        """One line."""
        if self.why_not is not None:
            return f"nothing: {self.why_not}"
        return f"{self.steps} steps, error {self.before:.3g} -> {self.after:.3g} on held-out inputs"


def refine(
    small: nn.Module,
    wide: nn.Module,
    columns: Mapping[str, Tensor],
    given: Sequence[Inputs],
    *,
    steps: int,
    batch: int,
    progress: Progress | None,
) -> Refined:
    """Change all parameters of a narrow network so that it computes what the full one computes.

    Args:
        small: In evaluation mode; changed in place, unless it would be worse on held-out inputs.
        wide: The full network, in evaluation mode.
        columns: Channels of the full network that layers of the narrow one read, by path.
        given: Inputs; a quarter is held out.
        steps: How many.
        batch: Inputs of a step.
        progress: Called before each step.

    Returns:
        What was done.
    """
    parameters = [p for p in small.parameters() if p.dtype in (torch.float32, torch.float64)]
    train, held_out = _apart(together(given))
    if not train or not held_out:
        return _nothing("too few inputs to hold some out")
    if not parameters:
        return _nothing("no parameters in single precision, and steps are too small for less")
    both = _Both(small, wide, columns)
    needed = [p.requires_grad for p in parameters]
    start = [p.detach().clone() for p in parameters]
    better = False
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        if not _runs(both, train, batch):
            # It takes no other numbers of inputs than it is given.
            train, held_out, batch = [*given[::2]], [*given[1::2]], 0
            if not held_out:
                return _nothing("too few inputs to hold some out")
        work = _Work(both, parameters, start, train, held_out, batch)
        before = work.error()
        if not before:
            return _nothing("there is nothing to bring closer")
        try:
            work.gradients(work.drawn(torch.Generator().manual_seed(0)))
        except RuntimeError as error:
            return _nothing(f"no gradients: {str(error).strip().splitlines()[0]}")
        rates = {rate: work.run(rate, max(steps // _TRIED, 1), None) for rate in _RATES}
        best = min(rates, key=rates.__getitem__)
        after = work.run(best, steps, progress)
        better = after < before
        return Refined(steps, before, after if better else before)
    finally:
        if not better:
            _copy(start, parameters)
        for parameter, grad in zip(parameters, needed, strict=True):
            parameter.requires_grad_(grad)
            parameter.grad = None


def _nothing(why: str) -> Refined:
    return Refined(0, float("nan"), float("nan"), why)


class _Both:
    """The two networks, and what their layers read on the same inputs."""

    def __init__(self, small: nn.Module, wide: nn.Module, columns: Mapping[str, Tensor]) -> None:
        self._small, self._wide, self._columns = small, wide, columns

    def loss(self, inputs: Inputs) -> Tensor:
        """Return what is missed: a relative mean square for each layer and output, summed up."""
        wanted: dict[str, list[Tensor]] = {path: [] for path in self._columns}

        def keep(path: str, x: Tensor, columns: Tensor, dim: int) -> None:
            wanted[path].append(x.detach().index_select(dim, columns))

        with self._watched(self._wide, keep), torch.no_grad():
            full = tensors_of(inputs.call(self._wide))
        terms: list[Tensor] = []

        def compare(path: str, x: Tensor, columns: Tensor, dim: int) -> None:
            if wanted[path]:
                terms.extend(_missed(wanted[path].pop(0), x))

        with self._watched(self._small, compare):
            found = tensors_of(inputs.call(self._small))
        for known, new in zip(full, found, strict=False):
            terms.extend(_missed(known, new))
        return torch.stack(terms).sum() if terms else torch.zeros(())

    @contextmanager
    def _watched(
        self, network: nn.Module, see: Callable[[str, Tensor, Tensor, int], None]
    ) -> Iterator[None]:
        def hook(path: str, columns: Tensor) -> Callable[..., None]:
            def call(layer: nn.Module, args: Any, kwargs: Any) -> None:
                x = [*args, *kwargs.values()][0]
                dims = 2 if isinstance(layer, nn.Linear) else layer.get_parameter("weight").dim()
                dim = x.dim() - 1 if dims == 2 else x.dim() - dims + 1
                see(path, x, columns.to(x.device), dim)

            return call

        handles = [
            network.get_submodule(path).register_forward_pre_hook(
                hook(path, columns), with_kwargs=True
            )
            for path, columns in self._columns.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _Work:
    def __init__(
        self,
        both: _Both,
        parameters: Sequence[nn.Parameter],
        start: Sequence[Tensor],
        train: Sequence[Inputs],
        held_out: Sequence[Inputs],
        batch: int,
    ) -> None:
        self._both, self._parameters, self._start = both, parameters, start
        self._train, self._held_out, self._batch = train, held_out, batch

    def error(self) -> float:
        """Return the loss on inputs that are held out, mean over them."""
        total, count = 0.0, 0
        with torch.no_grad():
            for inputs in self._held_out:
                for part in _parts(inputs, self._batch):
                    size = part.batch or 1
                    total += float(self._both.loss(part)) * size
                    count += size
        found = total / count
        return found if found == found else float("inf")

    def drawn(self, generator: torch.Generator) -> Inputs:
        """Draw inputs for a step."""
        sizes = torch.tensor([float(inputs.batch or 1) for inputs in self._train])
        inputs = self._train[int(torch.multinomial(sizes, 1, generator=generator))]
        return _drawn(inputs, self._batch, generator)

    def gradients(self, inputs: Inputs) -> None:
        """Compute the gradients of all parameters."""
        with torch.enable_grad():
            loss = self._both.loss(inputs)
            if loss.requires_grad:
                loss.backward()

    def run(self, rate: float, steps: int, progress: Progress | None) -> float:
        """Take gradient steps from the start, and return the error then."""
        _copy(self._start, self._parameters)
        size = [max(float(p.detach().square().mean().sqrt()), _LEAST) for p in self._parameters]
        groups = [
            {"params": [p], "lr": rate * s, "most": rate * s}
            for p, s in zip(self._parameters, size, strict=True)
        ]
        optimizer = torch.optim.Adam(groups)
        generator = torch.Generator().manual_seed(0)
        for step in range(steps):
            if progress is not None:
                progress(step, steps, "refine")
            share = min(1.0, (step + 1) / _WARM_UP) * (1 - step / steps)
            for group in optimizer.param_groups:
                group["lr"] = share * group["most"]
            optimizer.zero_grad()
            self.gradients(self.drawn(generator))
            optimizer.step()
        return self.error()


def _missed(wanted: Tensor, found: Tensor) -> list[Tensor]:
    if wanted.shape != found.shape or not wanted.is_floating_point():
        return []
    variance = wanted.float().var(correction=0)
    if not float(variance) > _TINY:
        return []
    return [(found.float() - wanted.float()).square().mean() / variance]


def _runs(both: _Both, train: Sequence[Inputs], batch: int) -> bool:
    try:
        with torch.no_grad():
            both.loss(_drawn(train[0], batch, torch.Generator().manual_seed(0)))
    except Exception:
        return False
    return True


def _parts(inputs: Inputs, count: int) -> Iterator[Inputs]:
    """Cut inputs into parts of so many; zero leaves them whole."""
    size = inputs.batch
    if size is None or not count:
        yield inputs
        return
    for start in range(0, size, count):
        yield inputs.part(slice(start, start + count))


def _apart(given: Sequence[Inputs]) -> tuple[list[Inputs], list[Inputs]]:
    """Hold a quarter of every batch out; of batches that cannot be parted, every fourth."""
    train: list[Inputs] = []
    held_out: list[Inputs] = []
    for number, inputs in enumerate(given):
        size = inputs.batch
        if size is None or size < 4:
            (held_out if number % 4 == 3 else train).append(inputs)
            continue
        rest = size - size // 4
        train.append(inputs.part(slice(rest)))
        held_out.append(inputs.part(slice(rest, None)))
    return train, held_out


def _drawn(inputs: Inputs, count: int, generator: torch.Generator) -> Inputs:
    size = inputs.batch
    if size is None or not count or size <= count:
        return inputs
    chosen = torch.randperm(size, generator=generator)[:count]
    return inputs.part(chosen)


def _copy(values: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> None:
    with torch.no_grad():
        for value, parameter in zip(values, parameters, strict=True):
            parameter.copy_(value)
