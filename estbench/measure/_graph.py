"""Graphs: a vectorised function recorded as a graph of operations, made lean, and replayed.

Under ``torch.func.vmap`` every operation costs some 50 microseconds in Python, which is more than the operation where
chunks are small enough for the caches. A recorded graph has none of that. What is the same in every call is computed
once, what nobody looks at is left out (the value of a cost whose derivative alone is wanted), and buffers that have
seen their last use take the next result.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

Function: TypeAlias = Callable[[Tensor], dict[str, Tensor]]

aten = torch.ops.aten

# relative difference that rounding explains
ROUNDING = 1e-4


def recorded(function: Function, example: Tensor, seeds: Iterable[int]) -> Function | None:
    """The same function, replayed from a graph.

    Args:
        function: of a tensor of which the shape alone matters; may draw random numbers from torch's generators.
        example: the tensor.
        seeds: at which the graph must give what the function gives.

    Returns:
        The function, for tensors of the example's shape; None if there is no graph of it, since it looks at values or
        draws random numbers from elsewhere.
    """
    try:
        module = make_fx(function)(example)
        lean(module, example)
        same = all(_same(function, module, example, seed) for seed in seeds)
    except Exception:  # noqa: BLE001  (a plugin may do anything, and without a graph all goes on as before)
        return None
    return module if same else None


def _same(function: Function, module: Function, example: Tensor, seed: int) -> bool:
    results = []
    for each in (function, module):
        torch.manual_seed(seed)
        results.append(each(example))
    one, other = results
    return all(bool((one[name] - other[name]).norm() <= ROUNDING * one[name].norm()) for name in one)


def lean(module: fx.GraphModule, example: Tensor) -> None:
    """Rewrites a graph so that it computes the same in fewer passes over memory."""
    _Recording(module).run(example)
    _fold(module)
    module.graph.eliminate_dead_code()
    _reuse_buffers(module)
    for node in module.graph.nodes:
        node.meta.clear()
    module.recompile()


class _Layout(NamedTuple):
    """How a tensor lies in memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    dense: bool


class _Recording(fx.Interpreter):
    """Runs a graph and notes about each node its value's layout, and the node that owns its memory."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        storages = {_storage(self.env[source]): source.meta["owner"] for source in n.all_input_nodes}
        n.meta["owner"] = next((storages[s] for s in _storages(value) if s in storages), n)
        if isinstance(value, Tensor):
            n.meta["layout"] = _Layout(tuple(value.shape), value.dtype, value.device, value.is_contiguous())
        return value


def _storages(value: Any) -> list[int]:
    parts = value if isinstance(value, (tuple, list)) else [value]
    return [_storage(part) for part in parts if isinstance(part, Tensor)]


def _storage(value: Any) -> int:
    parts = value if isinstance(value, (tuple, list)) else [value]
    return next((part.untyped_storage()._cdata for part in parts if isinstance(part, Tensor)), -1)  # noqa: SLF001


def _fixed(node: fx.Node) -> bool:
    """Whether a node gives the same result for the same arguments, and changes nothing."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):  # noqa: SLF001
        return target is operator.getitem
    drawn = torch.Tag.nondeterministic_seeded in target.tags
    return not (drawn or target._schema.is_mutable or target.namespace != "aten")  # noqa: SLF001


def _fold(module: fx.GraphModule) -> None:
    """Computes once what does not depend on anything that changes."""
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(module, node.target)
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
        module.register_buffer(f"folded{index}", value)
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(f"folded{index}")
        constant.meta.update(node.meta, owner=constant)
        node.replace_all_uses_with(constant)


def _reuse_buffers(module: fx.GraphModule) -> None:
    """Has elementwise operations write into a buffer that has seen its last use."""
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    owner = {node: node.meta["owner"] for node in order}
    last: dict[fx.Node, int] = {}
    for node, index in order.items():
        for source in node.all_input_nodes:
            last[owner[source]] = index
    for node, index in order.items():
        written = _writing(node)
        for source in node.all_input_nodes if written else ():
            memory = owner[source]
            others = [owner[other] for other in node.all_input_nodes if other is not source]
            free = memory.op == "call_function" and last[memory] == index and memory not in others
            if free and source.meta.get("layout") == node.meta["layout"] and source.meta["layout"].dense:
                node.target, node.kwargs = written[0], {**node.kwargs, written[1]: source}
                last[memory] = last.get(node, index)
                owner = {each: memory if own is node else own for each, own in owner.items()}
                break


def _writing(node: fx.Node) -> tuple[Any, str] | None:
    """For an elementwise operation, the one that writes its result where it is told, and the name of that argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or torch.Tag.pointwise not in target.tags:  # noqa: SLF001
        return None
    packet = getattr(aten, target._schema.name.partition("::")[2])  # noqa: SLF001
    takes = [(argument.name, str(argument.type)) for argument in target._schema.arguments]  # noqa: SLF001
    for overload in (getattr(packet, name) for name in packet.overloads()):
        arguments = overload._schema.arguments  # noqa: SLF001
        outs = [argument.name for argument in arguments if argument.is_out]
        if len(outs) == 1 and [(a.name, str(a.type)) for a in arguments if not a.is_out] == takes:
            return overload, outs[0]
    return None
