"""Operation graphs: a vectorised function is recorded as a list of operations, optimised, and replayed.

Under ``torch.func.vmap`` every operation has an overhead of about 50 microseconds in Python, more than the operation
itself if chunks are small enough for the caches. A recorded graph does not have this overhead. Results that are the
same in every call are computed once, unused results are left out (such as the value of a cost of which only the
derivative is needed), and buffers are reused after their last use.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from estbench.engine.lean_graph import lean, take_generator

Function: TypeAlias = Callable[[Tensor], dict[str, Tensor]]

# relative difference that rounding can explain
ROUNDING = 1e-4


def seed_generators(seed: int) -> None:
    """Seeds torch's default generators; without CUDA there is only one, which takes a tenth of the time."""
    if torch.cuda.is_initialized():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


class Graph:
    """A function of a seed that replays a graph.

    Args:
        module: the graph.
        example: the tensor with which the graph is called.
        concurrent: whether it uses its own generator, so that several threads may call it at the same time.
    """

    def __init__(self, module: fx.GraphModule, example: Tensor, *, concurrent: bool) -> None:
        self._module, self._example, self.concurrent = module, example, concurrent

    @torch.no_grad()
    def __call__(self, seed: int) -> dict[str, Tensor]:
        """The results for a seed."""
        if self.concurrent:
            return self._module(self._example, torch.Generator().manual_seed(seed))
        seed_generators(seed)
        return self._module(self._example)


def recorded(function: Function, example: Tensor, seed: int) -> Graph | None:
    """Records a function that draws random numbers as a graph.

    Args:
        function: takes a tensor of which only the shape matters; it may draw from torch's generators.
        example: the tensor for the recording.
        seed: a seed for which graph and function must give the same results.

    Returns:
        The graph; None if the function reads values or draws random numbers from elsewhere.
    """
    try:
        recording = _Recording(example)
        with recording:
            results = function(example)
        graph = recording.graph(results)
        seed_generators(seed)
        expected, found = function(example), graph(seed)
        same = all(bool((found[name] - x).norm() <= ROUNDING * x.norm()) for name, x in expected.items())
    except Exception:  # noqa: BLE001  (a plugin may do anything, and without a graph all goes on as before)
        return None
    return graph if same else None


class _Layout(NamedTuple):
    """The memory layout of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    dense: bool


class _Recording(TorchDispatchMode):
    """Records operations as nodes of a graph, with the layout of each result and the node that owns its memory.

    Args:
        example: the tensor with which the recorded function is called.
    """

    def __init__(self, example: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self._root, self._example = fx.Graph(), torch.nn.Module(), example
        self._nodes: dict[int, fx.Node] = {}
        # as long as these tensors exist, no other tensor has the same id
        self._alive: list[Any] = []
        self._keep(self._graph.placeholder("example"), example, None)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [self._node(tensor) for tensor in _tensors((args, kwargs))]
        owners = {_storage(tensor): self._node(tensor).meta["owner"] for tensor in _tensors((args, kwargs))}
        result = function(*args, **kwargs)
        self._alive += [result, *given]
        node = self._graph.call_function(function, *tree_map(self._argument, (args, kwargs)))
        if isinstance(result, Tensor):
            self._keep(node, result, owners)
        for index, part in enumerate(result if isinstance(result, (tuple, list)) else ()):
            node.meta["owner"] = owners.get(_storage(part), node)
            self._keep(self._graph.call_function(operator.getitem, (node, index)), part, owners)
        return result

    def _keep(self, node: fx.Node, value: Tensor, owners: dict[int, fx.Node] | None) -> None:
        node.meta["owner"] = (owners or {}).get(_storage(value), node)
        node.meta["layout"] = _Layout(tuple(value.shape), value.dtype, value.device, value.is_contiguous())
        self._nodes[id(value)] = node

    def _node(self, tensor: Tensor) -> fx.Node:
        if id(tensor) not in self._nodes:
            name = f"constant{len(self._alive)}"
            self._root.register_buffer(name, tensor.detach())
            self._alive.append(tensor)
            self._keep(self._graph.get_attr(name), tensor, None)
        return self._nodes[id(tensor)]

    def _argument(self, value: Any) -> Any:
        return self._node(value) if isinstance(value, Tensor) else value

    def graph(self, results: dict[str, Tensor]) -> Graph:
        """The graph of these results."""
        self._graph.output(tree_map(self._argument, results))
        lean(self._graph, self._root)
        concurrent = take_generator(self._graph)
        for node in self._graph.nodes:
            node.meta.clear()
        return Graph(fx.GraphModule(self._root, self._graph), self._example, concurrent=concurrent)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata  # noqa: SLF001  (torch has no public name for it)
