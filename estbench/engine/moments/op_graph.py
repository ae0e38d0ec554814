"""Operation graphs: a vectorised function is recorded as a list of operations, optimised, and replayed.

Under ``torch.func.vmap`` every operation has an overhead of about 50 microseconds in Python, more than the operation
itself if chunks are small enough for the caches. A recorded graph does not have this overhead. Results that are the
same in every call are computed once, unused results are left out (such as the value of a cost of which only the
derivative is needed), and buffers are reused after their last use.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Function: TypeAlias = Callable[[Tensor], dict[str, Tensor]]

aten = torch.ops.aten

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
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
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
        concurrent = _take_generator(self._graph)
        for node in self._graph.nodes:
            node.meta.clear()
        return Graph(fx.GraphModule(self._root, self._graph), self._example, concurrent=concurrent)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata  # noqa: SLF001  (torch has no public name for it)


def lean(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Rewrites a graph so that it computes the same in fewer passes over memory.

    Args:
        graph: the graph, whose nodes have ``owner`` and ``layout`` in their metadata.
        root: the constants of the graph; new ones are added.
    """
    _fold(graph, root)
    _join_biases(graph, root)
    _reuse_buffers(graph)


def _fixed(node: fx.Node) -> bool:
    """Whether a node gives the same result for the same arguments, and changes nothing."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):  # noqa: SLF001
        return target is operator.getitem
    return not (_draws(node) or _changes(node) or target.namespace != "aten")


def _fold(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Computes constant results once, and removes results that are not used."""
    changed = {source.meta["owner"] for node in graph.nodes if _changes(node) for source in node.all_input_nodes}
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.meta.get("owner") in changed:
            continue
        if node.op == "get_attr":
            values[node] = root.get_buffer(node.target)
        elif node.target in (aten.ones_like.default, aten.zeros_like.default):
            layout = node.meta["layout"]
            make = torch.ones if node.target is aten.ones_like.default else torch.zeros
            values[node] = make(layout.shape, dtype=layout.dtype, device=layout.device)
        elif _fixed(node) and all(source in values for source in node.all_input_nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for index, (node, value) in enumerate(values.items()):
        if node.op == "get_attr" or not isinstance(value, Tensor) or all(user in values for user in node.users):
            continue
        root.register_buffer(f"folded{index}", value)
        with graph.inserting_before(node):
            constant = graph.get_attr(f"folded{index}")
        constant.meta.update(node.meta, owner=constant)
        node.replace_all_uses_with(constant)
    graph.eliminate_dead_code()


def _changes(node: fx.Node) -> bool:
    """Whether a node writes into one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable  # noqa: SLF001


def _join_biases(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Merges a matrix product and the addition of a bias into one operation."""
    for node in graph.nodes:
        product = _biased(root, node)
        if product is None:
            continue
        bias, view, matrices = product
        with graph.inserting_before(node):
            joined = graph.call_function(aten.addmm.default, (bias, *matrices))
            shaped = graph.call_function(aten.view.default, (joined, view))
        joined.meta["owner"] = joined
        shaped.meta.update(node.meta, owner=joined)
        for each in graph.nodes:
            if each.meta.get("owner") is node:
                each.meta["owner"] = joined
        node.replace_all_uses_with(shaped)
    graph.eliminate_dead_code()


def _biased(root: torch.nn.Module, node: fx.Node) -> tuple[fx.Node, Any, tuple[Any, ...]] | None:
    """The bias, shape and factors, if a node adds a constant vector to a product that is not used elsewhere."""
    if node.target is not aten.add.Tensor or node.kwargs:
        return None
    for bias, view in (node.args, node.args[::-1]):
        if not (isinstance(view, fx.Node) and view.target is aten._unsafe_view.default and len(view.users) == 1):  # noqa: SLF001
            continue
        product: Any = view.args[0]
        if product.target is not aten.mm.default or len(product.users) > 1 or not isinstance(bias, fx.Node):
            continue
        if bias.op == "get_attr" and root.get_buffer(str(bias.target)).ndim == 1:
            return bias, view.args[1], product.args
    return None


def _reuse_buffers(graph: fx.Graph) -> None:
    """Makes elementwise operations write into buffers that are no longer used."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    owner = {node: node.meta.get("owner", node) for node in order}
    last: dict[fx.Node, int] = {}
    for node, index in order.items():
        for source in node.all_input_nodes:
            last[owner[source]] = index
    for node, index in order.items():
        written = _writing(node)
        if written is None:
            continue
        for source in node.all_input_nodes:
            memory = owner[source]
            others = [owner[other] for other in node.all_input_nodes if other is not source]
            free = memory.op == "call_function" and last[memory] == index and memory not in others
            if free and source.meta.get("layout") == node.meta["layout"] and source.meta["layout"].dense:
                node.target, node.kwargs = written[0], {**node.kwargs, written[1]: source}
                last[memory] = last.get(node, index)
                owner = {each: memory if own is node else own for each, own in owner.items()}
                break


def _take_generator(graph: fx.Graph) -> bool:
    """Makes the graph draw from a generator that it receives; returns whether this is possible for all draws."""
    drawing = [node for node in graph.nodes if _draws(node)]
    given = {node: _given_generator(node.target) for node in drawing}
    # on a GPU, operations run in parallel in any case
    on_cpu = all(node.meta["layout"].device.type == "cpu" for node in graph.nodes if "layout" in node.meta)
    if not on_cpu or not all(given.values()):
        return False
    first = next(iter(graph.nodes))
    with graph.inserting_after(first):
        generator = graph.placeholder("generator")
    for node in drawing:
        node.target, node.kwargs = given[node], {**node.kwargs, "generator": generator}
    return True


def _given_generator(target: Any) -> Any:
    """The variant of an operation that takes a generator; None if there is none."""
    takes = {argument.name for argument in target._schema.arguments} | {"generator"}  # noqa: SLF001
    packet = getattr(aten, target._schema.name.partition("::")[2])  # noqa: SLF001
    overloads = [getattr(packet, name) for name in packet.overloads()]
    fitting = (o for o in overloads if {a.name for a in o._schema.arguments} == takes)  # noqa: SLF001
    return next(fitting, None)


def _draws(node: fx.Node) -> bool:
    """Whether a node draws random numbers."""
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags  # noqa: SLF001


def _writing(node: fx.Node) -> tuple[Any, str] | None:
    """The variant of an elementwise operation that writes into a given tensor, and the name of that argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or torch.Tag.pointwise not in target.tags:  # noqa: SLF001
        return None
    packet = getattr(aten, target._schema.name.partition("::")[2])  # noqa: SLF001
    takes = [(argument.name, str(argument.type)) for argument in target._schema.arguments]  # noqa: SLF001
    for overload in (getattr(packet, name) for name in packet.overloads()):
        # these variants compute into a new tensor and copy
        if torch.Tag.generated in overload.tags:
            continue
        arguments = overload._schema.arguments  # noqa: SLF001
        outs = [argument.name for argument in arguments if argument.is_out]
        if len(outs) == 1 and [(a.name, str(a.type)) for a in arguments if not a.is_out] == takes:
            return overload, outs[0]
    return None
