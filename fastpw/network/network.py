"""Network: a graph that answers, planned once for each size of its inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import saved
from .arena import Arena, Layout
from .chains import with_chains
from .ends import Ends, NetworkLayout, NetworkPort
from .fallback import is_foreign, missing
from .graph import Graph
from .memory import Budget
from .operators import OPERATORS
from .plan import Layers, Plan
from .planning import late_results, make_plan
from .tables import NodeTime, node_times, profile, summary
from .values import Shape

# Sizes of the inputs for which plans are kept, as layers keep their programs.
MOST_PLANS = 4
# Blocks of memory that a plan keeps for as many calls at once.
MOST_ARENAS = 4


class _Planned:
    """A plan, and the memory for some calls at once."""

    def __init__(self, plan: Plan, layout: Layout, budget: Budget) -> None:
        self.plan, self.layout, self.budget = plan, layout, budget
        self._free: list[Arena] = []

    def take(self) -> Arena:
        """One that nobody else uses."""
        try:
            return self._free.pop()
        except IndexError:
            return Arena(self.plan, self.layout)

    def give_back(self, arena: Arena) -> None:
        if len(self._free) < MOST_ARENAS:
            self._free.append(arena)


class Network:
    """A network from a file, which `fastpw.load` makes.

    Attributes
    ----------
    inputs, outputs : list of named tuples
        ``name``, ``shape`` and ``dtype`` of each, as `load` was asked for them; a size in ``shape`` is None
        where it may differ from call to call.

    Notes
    -----
    A network does not change. Many threads may call one at once: each call has memory of its own. Plans for
    the last four sizes of the inputs are kept. It pickles, and its results have the same bits for any number
    of threads.

    Examples
    --------
    >>> import fastpw
    >>> net = fastpw.load("mobilenet_v2.onnx", layout="NHWC")       # doctest: +SKIP
    >>> net(np.zeros((1, 224, 224, 3), np.float32)).shape           # doctest: +SKIP
    (1, 1000)
    """

    __slots__ = (
        "__weakref__",
        "_chained",
        "_ends",
        "_graph",
        "_layers",
        "_layout",
        "_limit",
        "_lock",
        "_plans",
        "_weights",
        "inputs",
        "outputs",
    )

    inputs: list[NetworkPort]
    outputs: list[NetworkPort]

    def __init__(self, graph: Graph, layout: NetworkLayout, memory_limit: int) -> None:
        weights = sum(array.nbytes for array in graph.constants.values())
        Budget(memory_limit).check(weights)
        graph.freeze()
        self._chained = with_chains(graph)
        self._graph, self._layout, self._limit, self._weights = graph, layout, memory_limit, weights
        self._layers = Layers(graph.release)
        self._plans: dict[tuple[Shape, ...], _Planned] = {}
        self._lock = Lock()
        self._ends = Ends(graph.inputs, graph.outputs, layout)
        self.inputs, self.outputs = self._ends.inputs, self._ends.outputs
        shapes = tuple(port.shape for port in graph.inputs)
        if all(None not in shape for shape in shapes):
            self._planned(shapes)  # what does not fit is found when the network is loaded

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        """The answer of a network with one input and one output.

        Parameters
        ----------
        x : array
            Of the shape and dtype of ``inputs[0]``.

        Returns
        -------
        array
            A new one.

        Raises
        ------
        TypeError
            There are more inputs or outputs, or x has another dtype.
        ValueError
            x has another shape, or one that the network cannot take. The message names the node.
        """
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise TypeError(
                f"a network with one input and one output is needed, got {self._ends.told()}; "
                "use run({name: array})"
            )
        return self.run({self.inputs[0].name: x})[self.outputs[0].name]

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """All outputs of a network, by their names.

        Parameters
        ----------
        inputs : dict
            An array for each name of an input, of its shape and dtype.

        Returns
        -------
        dict
            A new array for each name of an output.

        Raises
        ------
        TypeError, ValueError
            The message names the input or the node.
        """
        arrays = self._ends.checked(inputs)
        planned = self._planned(tuple(array.shape for array in arrays))
        arena = planned.take()
        with np.errstate(all="ignore"):  # NaN and infinities pass in silence
            arena.take(arrays)
            for call in arena.calls:
                call()
            arrays = arena.outputs
            if planned.plan.late:
                arrays = late_results(planned.plan, self._chained, arrays, planned.budget)
            results = {
                port.name: self._ends.given_out(array, port.dtype)
                for port, array in zip(self._graph.outputs, arrays, strict=True)
            }
        planned.give_back(arena)
        return results

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that `fastpw.load` opens without onnx.

        Parameters
        ----------
        path : path
            Ends in ".npz". The file holds plain weights and a description of the nodes, no pickles.

        Raises
        ------
        ValueError
            A node is run by onnx's reference implementation: the message names it. Or the network came from a
            saved file that has been written to since.
        """
        foreign = [node for node in self._graph.all_nodes() if is_foreign(node, OPERATORS)]
        foreign += [r.node for p in self._plans.values() for r in p.plan.records if r.foreign]
        if foreign:
            raise ValueError(f"{foreign[0]}: onnx's reference runs it, which a saved network does without")
        self._graph.check_source()
        saved.write(path, self._graph)

    def summary(self, shape: tuple[int, ...] | None = None) -> str:
        """A table of the nodes: shapes, multiply-adds, bytes.

        Parameters
        ----------
        shape : tuple of int, optional
            Of the one input, where the network leaves sizes open.

        Returns
        -------
        str
            To be printed.

        Raises
        ------
        ValueError
            The sizes are not known.
        """
        planned = self._planned(self._ends.planned_for(shape))
        return summary(planned.plan, planned.layout.nbytes, self._graph)

    def profile(self, x: ArrayLike | Mapping[str, ArrayLike], *, calls: int = 10) -> str:
        """A table of how long each node takes.

        Parameters
        ----------
        x : array, or dict of arrays
            What the network is called with.
        calls : int
            How many times; a node's time is the shortest.

        Returns
        -------
        str
            To be printed.

        Raises
        ------
        TypeError, ValueError
            As in a call.
        """
        return profile(self._node_times(x, calls), calls)

    def _node_times(self, x: ArrayLike | Mapping[str, ArrayLike], calls: int) -> list[NodeTime]:
        """What `profile` shows."""
        arrays = self._ends.checked(x if isinstance(x, Mapping) else {self.inputs[0].name: x})
        planned = self._planned(tuple(array.shape for array in arrays))
        return node_times(planned.plan, Arena(planned.plan, planned.layout), arrays, calls)

    def __repr__(self) -> str:
        return f"<Network: {self._ends.told()}, {len(self._graph.nodes)} nodes>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self._graph, self._layout, self._limit)

    def _planned(self, shapes: tuple[Shape, ...]) -> _Planned:
        """The plan for inputs of these shapes, made where there is none."""
        planned = self._plans.get(shapes)
        if planned is not None:
            return planned
        self._graph.check_source()
        budget = Budget(self._limit, self._weights)
        plan = make_plan(self._chained, list(shapes), budget, self._layers)
        layout = Layout(plan)
        budget.take(layout.nbytes)
        planned = _Planned(plan, layout, budget)
        with self._lock:
            while len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            return self._plans.setdefault(shapes, planned)


def check_operators(graph: Graph) -> None:
    """Whether there is somebody to run each node.

    Raises
    ------
    ValueError
        The message lists the operators that are missing.
    """
    lacking = missing(graph, OPERATORS)
    if lacking:
        raise ValueError(f"the network cannot be run: there is no {', no '.join(lacking)}")
