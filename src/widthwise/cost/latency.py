"""Budget: milliseconds, predicted from measurements and held against them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from widthwise.cost.alignment import multiples_of
from widthwise.cost.base import limit as limit_of
from widthwise.cost.base import read_amount
from widthwise.cost.layers import layers_of
from widthwise.cost.predictor import Predictor
from widthwise.errors import BudgetError, ConfigError
from widthwise.graph import ChannelGraph
from widthwise.latency.device import relevant
from widthwise.latency.engines import Engine, Setting, random_inputs
from widthwise.latency.meter import InRounds, Machine, Meter, Remembering
from widthwise.latency.store import Store

_ENGINES = (Engine.eager, Engine.onnxruntime)
"""Compiling every layer at every width would take hours."""
_ROUNDS = 4
"""In which layers are timed to tell steps of widths apart."""


@dataclass(frozen=True)
class Latency:
    """At most so many milliseconds, on this machine or by a meter of your own.

    What a plan takes is predicted: from times of every layer over its widths, measured once per
    machine and kept in a file (see `widthwise.latency.store`), and from three whole networks. A
    plan that is found is measured, and where it takes longer than it may, found again. Measuring
    changes one thing in this process: memory that is freed is kept, see
    `widthwise.latency.steady.keep_memory`.

    Args:
        limit: Milliseconds as a number (``2.5``); or text, as the command line and recipes have
            it: ``"2.5ms"``, or a share of the full network's (``"0.5"`` or ``"50%"``).
        keep: A share of the full network's time in (0, 1], in the place of ``limit``.
        engine: ``"eager"`` or ``"onnxruntime"``.
        batch: Inputs at once.
        threads: CPU threads; as many as PyTorch has by default.
        device: ``"cpu"`` or ``"cuda"``.
        meter: What tells milliseconds, where that is not this machine.

    Raises:
        BudgetError: If there is not one limit, or it is none.
        ConfigError: If the engine, the batch, the threads or the device cannot be measured with;
            and where something is to be measured, if this is one of several processes.

    Example:
        >>> Latency(2.5).amount, Latency(keep=0.5).amount, Latency("50%").amount
        ('2.5ms', '50%', '50%')
    """

    name: ClassVar[str] = "latency"
    title: ClassVar[str] = "milliseconds"
    unit: ClassVar[str] = "ms"
    limit: InitVar[float | str | None] = None
    keep: InitVar[float | None] = field(default=None, kw_only=True)
    amount: str = field(init=False)
    engine: Engine | str = field(default=Engine.eager, kw_only=True)
    batch: int = field(default=1, kw_only=True)
    threads: int | None = field(default=None, kw_only=True)
    device: str = field(default="cpu", kw_only=True)
    meter: Meter | None = field(default=None, kw_only=True, repr=False, compare=False)

    def __post_init__(self, limit: float | str | None, keep: float | None) -> None:
        if (limit is None) == (keep is None):
            raise BudgetError(
                "A latency budget has one limit.\n"
                "Hint: write `ww.Latency(2.5)` for milliseconds, or `ww.Latency(keep=0.5)` for a "
                "share of the full network's."
            )
        if keep is not None:
            if not 0 < keep <= 1:
                raise BudgetError(f"`keep` must be a share in (0, 1], got {keep!r}.")
            limit = f"{100 * keep:.12g}%"
        text = limit if isinstance(limit, str) else f"{limit}{self.unit}"
        object.__setattr__(self, "amount", text)
        read_amount(self)
        try:
            object.__setattr__(self, "engine", Engine(self.engine))
        except ValueError:
            pass
        if self.engine not in _ENGINES:
            named = self.engine.value if isinstance(self.engine, Engine) else self.engine
            raise ConfigError(
                f"A latency budget cannot be measured with the engine {named!r}.\n"
                f"Expected one of {', '.join(each.value for each in _ENGINES)}."
            )
        _ = self.setting

    @classmethod
    def read(cls, text: str) -> Latency:
        """Read what a command line or a recipe says: a limit, and what it is measured with.

        Args:
            text: ``0.5``, ``50%`` or ``2.5ms``; after commas any of ``engine=``, ``batch=``,
                ``threads=`` and ``device=``.

        Returns:
            The budget.

        Raises:
            BudgetError: If the text says something else.
            ConfigError: See `Latency`.

        Example:
            >>> Latency.read("50%,engine=onnxruntime,threads=1").setting.threads
            1
        """
        limit, *options = text.split(",")
        given: dict[str, Any] = {}
        for option in options:
            key, equals, value = option.strip().partition("=")
            counts = key in ("batch", "threads")
            if (
                not equals
                or not (counts or key in ("engine", "device"))
                or (counts and not value.isdecimal())
            ):
                raise BudgetError(
                    f"`{option.strip()}` says nothing of how latency is measured.\n"
                    "Hint: write `latency=0.5` or `latency=2.5ms`, and after a comma any of "
                    "`engine=onnxruntime`, `batch=8`, `threads=1`, `device=cuda`."
                )
            given[key] = int(value) if counts else value
        return cls(limit, **given)

    @property
    def setting(self) -> Setting:
        """What times depend on besides network and machine."""
        assert isinstance(self.engine, Engine)
        return Setting(
            engine=self.engine,
            batch=self.batch,
            threads=torch.get_num_threads() if self.threads is None else self.threads,
            device=self.device,
        )

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Predict the milliseconds of a plan; the first time for a graph, measure for it."""
        return self._known(graph).predictor.milliseconds(graph, kept)

    def measured(
        self, graph: ChannelGraph, kept: np.ndarray, *, full: ChannelGraph | None = None
    ) -> Mapping[str, Any]:
        """Measure a plan beside the full network, once for all plans of its widths.

        Args:
            graph: The network that is narrowed; its model is copied at the plan's widths and run.
            kept: Which units stay, bool, shape ``[units]``.
            full: The user's own network, where ``graph`` is that of a rewritten one.

        Returns:
            Milliseconds: ``full``, ``predicted``, ``measured`` and the ``bound``; and what they
            were measured with.
        """
        known = self._known(graph)
        widths = tuple(int(kept[axis.units].sum()) for axis in graph.axes.values())
        if (self.amount, widths) not in known.plans:
            own = graph if full is None else full
            networks = [
                Predictor.network(own, own.everything),
                Predictor.network(graph, kept),
            ]
            whole, narrow = known.predictor.measure(networks)
            amount = read_amount(self)
            known.plans[self.amount, widths] = {
                "full": whole,
                "predicted": self.cost(graph, kept),
                "measured": narrow,
                "bound": amount.number * (whole if amount.is_share else 1.0),
                "engine": self.setting.engine.value,
                "batch": self.setting.batch,
                "threads": self.setting.threads,
                "device": self.setting.device,
                "machine": relevant(self.setting)["processor"] if self.meter is None else None,
            }
        return known.plans[self.amount, widths]

    def tighter(
        self, graph: ChannelGraph, kept: np.ndarray, *, full: ChannelGraph | None = None
    ) -> Latency | None:
        """Correct the budget by what a plan has turned out to take.

        Args:
            graph: See `measured`.
            kept: The plan that this budget, or one made from it, has led to.
            full: See `measured`.

        Returns:
            A budget of fewer predicted milliseconds, as many as are needed if the prediction is
            wrong by the same factor again; None if the plan is quick enough.
        """
        found = self.measured(graph, kept, full=full)
        if found["measured"] <= found["bound"]:
            return None
        right = found["bound"] * found["predicted"] / found["measured"]
        return replace(self, limit=float(min(right, limit_of(self, graph, full=full))))

    def multiples(self, graph: ChannelGraph) -> dict[str, int]:
        """Tell which multiples of channels are quick here, by axis; see `round_to` of `plan`.

        Args:
            graph: The network. Its layers are timed near half of their widths, those that are alike
                once; times are kept in a file of their own.

        Returns:
            8, 16 or 32 channels; 4, 8 or 16 for axes of fewer than 64, and 2, 4 or 8 for those of
            fewer than 32. Axes of fewer than 16 are not named, nor those without a layer that
            could tell; they have the default of `round_to`.
        """
        layers = layers_of(graph, random_inputs(graph.inputs, self.batch))
        # Differences of a few percent count here, which a single round is not sure of.
        return multiples_of(graph, layers, self.meter or self._machine(rounds=_ROUNDS))

    def _machine(self, rounds: int = 1) -> Meter:
        """Return what measures here, and keeps what it has measured."""
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise ConfigError(
                "Milliseconds were to be measured in one of several processes.\n"
                "Why: each would measure for itself, and decide for widths of its own.\n"
                "Hint: decide in a process alone, and give all of them the plan "
                "(`ww.Plan.load(path)`) or what `ww.Latency(...).multiples(graph)` says; or give "
                "the budget a `meter` that says the same everywhere."
            )
        store = relevant(self.setting)
        if rounds == 1:
            return Remembering(Machine(self.setting), Store(store))
        meter = InRounds(Machine(self.setting), rounds)
        return Remembering(meter, Store({**store, "rounds": rounds}))

    def _known(self, graph: ChannelGraph) -> _Known:
        # The predictor holds the meter, so that no other one gets its number.
        key = (self.setting, id(self.meter))
        of_graph = _KNOWN.setdefault(graph, {})
        if key not in of_graph:
            meter = self.meter or self._machine()
            of_graph[key] = _Known(Predictor(graph, self.setting, meter))
        return of_graph[key]


@dataclass(frozen=True)
class _Known:
    """What has been measured of a graph in one setting."""

    predictor: Predictor
    plans: dict[Any, dict[str, Any]] = field(default_factory=dict)


_KNOWN: WeakKeyDictionary[ChannelGraph, dict[Any, _Known]] = WeakKeyDictionary()
