"""Drop: residual blocks are replaced by the identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from widthwise.graph.recording.fused import plain_attention
from widthwise.network.copying import copy_module, named_tensors, to_meta
from widthwise.network.inputs import Inputs
from widthwise.rewrites.modules import copied, matching_modules, names, refused, replace_module
from widthwise.rewrites.registry import register

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@register
@dataclass(frozen=True)
class Drop:
    """Residual blocks are replaced by the identity.

    A block ``x + f(x)`` whose ``f`` is silent is the identity, and so is ``relu(x + f(x))`` behind
    another ReLU. That is what the result must equal: the network with the last normalisation of
    each such block silenced, weight and bias set to zero. A block that is something else then, such
    as one with a convolution beside ``f``, fails the proof.

    Whole blocks are removed as in Huang and Wang, "Data-Driven Sparse Structure Selection for Deep
    Neural Networks" (ECCV 2018, arXiv:1707.01213); which ones is for a search to say.

    Args:
        blocks: Paths or globs of blocks: modules with one input, and one output of its shape.
        silence: What ends ``f``, by its path below the block: a module, whose weight and bias are
            silenced, or a tensor, such as a learned scale. By default the normalisation that runs
            last.
    """

    name: ClassVar[str] = "drop"
    blocks: Sequence[str]
    silence: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", names(self.blocks))

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network without the blocks; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Example inputs, as for `trace`; the network runs on them once.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, the input of a block is not like its output,
                or nothing in it can be silenced.
        """
        self._silenced(model, inputs)
        new = copied(model)
        for block in matching_modules(new, "blocks", self.blocks).values():
            replace_module(new, block, nn.Identity())
        return new

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with the end of every block silenced.

        Args:
            model: The network; not changed.
            inputs: Example inputs, as for `trace`.

        Returns:
            A copy.

        Raises:
            ConfigError: As `apply` does.
        """
        silent = set(self._silenced(model, inputs))

        def change(name: str, tensor: Tensor) -> Tensor:
            return torch.zeros_like(tensor) if name in silent else tensor.detach().clone()

        return copy_module(model, change)

    def to_spec(self) -> dict[str, Any]:
        """Return the blocks, and what to silence if that was said."""
        silence = {} if self.silence is None else {"silence": self.silence}
        return {"blocks": list(self.blocks), **silence}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Drop:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _silenced(self, model: nn.Module, inputs: Any) -> list[str]:
        """Return the names of the tensors to silence, some for every block.

        Raises:
            ConfigError: If a block cannot be dropped.
        """
        blocks = matching_modules(model, "blocks", self.blocks)
        tensors = {name for name, _ in named_tensors(model)}
        watch = _watch(model, Inputs.of(inputs), tuple(blocks))
        silent: list[str] = []
        problems = []
        for path in blocks:
            problem = watch.problem(path)
            end = watch.norms.get(path) if self.silence is None else f"{path}.{self.silence}"
            own = [name for name in (end, f"{end}.weight", f"{end}.bias") if name in tensors]
            if problem is None and not own:
                problem = (
                    "no normalisation with a weight runs in it, so there is nothing to silence."
                    if self.silence is None
                    else f"it has no `{self.silence}` with a weight."
                )
            if problem is not None:
                problems.append(f"`{path}`: {problem}")
            silent += [name for name in own if name is not None]
        if problems:
            raise refused(self.name, problems)
        return silent


def droppable(model: nn.Module, inputs: Any) -> dict[str, tuple[str, ...]]:
    """Find the residual blocks that `Drop` can remove.

    Each is run alone, on what it is given in the network, with its last normalisation silenced: a
    block must return that bit for bit. Of blocks inside one another the outermost counts.

    Args:
        model: The network, with weights; not changed.
        inputs: Example inputs, as for `trace`; the network runs on them three times.

    Returns:
        For every block, by its path and in order, the names of the tensors that silence it.
    """
    twin, given = copied(model).eval(), Inputs.of(inputs)
    modules = dict(twin.named_modules())
    norms = [path for path, module in modules.items() if isinstance(module, _NORMS)]
    around = [path for path in modules if path and any(n.startswith(f"{path}.") for n in norms)]
    watch = _watch(model, given, tuple(around))
    tensors = dict(named_tensors(twin))
    calls: dict[str, list[Inputs]] = {}
    for path in around:
        modules[path].register_forward_pre_hook(_keep(calls.setdefault(path, [])), with_kwargs=True)
    found: dict[str, tuple[str, ...]] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_attention():
        given.map(Tensor.clone).call(twin)
        # Running blocks alone adds calls; those of the network are looked at.
        calls = {path: list(each) for path, each in calls.items()}
        for path in around:
            end = watch.norms.get(path)
            silent = [n for n in (f"{end}.weight", f"{end}.bias") if n in tensors]
            inside = any(path.startswith(f"{outer}.") for outer in found)
            if silent and not inside and watch.problem(path) is None:
                before = [tensors[name].clone() for name in silent]
                for name in silent:
                    tensors[name].zero_()
                if all(_returns_its_input(modules[path], each) for each in calls[path]):
                    found[path] = tuple(silent)
                for name, values in zip(silent, before, strict=True):
                    tensors[name].copy_(values)
    return found


def _keep(calls: list[Inputs]) -> Any:
    """Return a hook that writes down what a module is called with."""

    def note(_: nn.Module, args: Any, kwargs: Any) -> None:
        calls.append(Inputs(args, kwargs).map(Tensor.clone))

    return note


def _returns_its_input(block: nn.Module, given: Inputs) -> bool:
    (x,) = given.tensors
    result = given.map(Tensor.clone).call(block)
    return isinstance(result, Tensor) and torch.equal(result, x)


@dataclass
class _Watch:
    """What ran in some blocks."""

    calls: dict[str, list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]]
    """Per block, the shapes of the tensors that each call took and gave."""
    norms: dict[str, str]
    """Per block, the path of the normalisation with a weight that ran last."""

    def problem(self, path: str) -> str | None:
        """Return why a block is not one that an identity could stand for."""
        calls = self.calls[path]
        if not calls:
            return "the forward pass does not call it."
        for given, made in calls:
            if len(given) != 1 or len(made) != 1:
                return f"it takes {len(given)} tensors and returns {len(made)}, not one each."
            if given != made:
                return f"its input is {list(given[0])}, its output {list(made[0])}."
        return None


def _watch(model: nn.Module, inputs: Inputs, blocks: tuple[str, ...]) -> _Watch:
    """Run a network, without values if that serves."""
    attempts = [(copy_module(model, to_meta), inputs.to_meta())]
    if not any(tensor.is_meta for _, tensor in named_tensors(model)):
        attempts.append((copied(model), inputs))
    for twin, given in attempts:
        watch = _Watch({path: [] for path in blocks}, {})
        _hang(twin, watch)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_attention():
                given.call(twin.eval())
        except Exception as error:
            failure = error
        else:
            return watch
    raise failure


def _hang(model: nn.Module, watch: _Watch) -> None:
    """Hang hooks on blocks and normalisations that write down what runs."""

    def block(path: str) -> Any:
        def note(_: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            given = [tuple(t.shape) for t in Inputs(args, kwargs).tensors]
            made = [tuple(t.shape) for t in Inputs((result,), {}).tensors]
            watch.calls[path].append((given, made))

        return note

    def norm(path: str) -> Any:
        def note(*_: Any) -> None:
            watch.norms.update({b: path for b in watch.calls if path.startswith(f"{b}.")})

        return note

    for path, module in model.named_modules():
        if path in watch.calls:
            module.register_forward_hook(block(path), with_kwargs=True)
        if isinstance(module, _NORMS) and getattr(module, "weight", None) is not None:
            module.register_forward_hook(norm(path))
