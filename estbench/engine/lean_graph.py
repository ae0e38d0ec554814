"""Rewrites of recorded graphs: constants folded, biases joined to products, buffers used again."""

import operator
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
_FILLED: dict[Any, int] = {aten.ones_like.default: 1, aten.zeros_like.default: 0}
# they change running statistics, of which their schema says nothing
_SILENT = (aten.native_batch_norm.default, aten.cudnn_batch_norm.default, aten.miopen_batch_norm.default)


def lean(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Rewrites a graph so that it computes the same in fewer passes over memory.

    Args:
        graph: the graph, whose nodes have ``owner`` and ``layout`` in their metadata.
        root: the constants of the graph; new ones are added.
    """
    _fold(graph, root)
    _join_biases(graph, root)
    _reuse_buffers(graph)


def lean_step(graph: fx.Graph, root: torch.nn.Module) -> tuple[set[fx.Node], set[fx.Node]]:
    """Rewrites a graph that changes existing tensors so that it computes the same with fewer new ones.

    Operations stay what they are, so that results are the same to the last bit.

    Args:
        graph: the graph, whose nodes have ``owner`` and ``layout`` in their metadata.
        root: the existing tensors; views of them are added.

    Returns:
        The existing tensors that it changes, and those of them that it changes before the last test of a decision.
    """
    changed, early = set[fx.Node](), set[fx.Node]()
    _pass_detached(graph)
    _fold_views(graph, root)
    _drop_copies(graph)
    for node in reversed(graph.nodes):
        if node.op == "call_function" and not (node.users or changes(node) or _draws(node) or _tests(node)):
            graph.erase_node(node)
    for node in graph.nodes:
        if _tests(node):
            early |= changed
        if changes(node):
            changed |= {source.meta["owner"] for source in node.all_input_nodes}
    _reuse_buffers(graph)
    return changed, early


def _pass_detached(graph: fx.Graph) -> None:
    """Replaces detached tensors by the tensors, since a graph runs without autograd."""
    for node in graph.nodes:
        if node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _fold_views(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Makes views of existing tensors once, and constants that depend on shapes alone."""
    written = _written(graph)
    views: dict[fx.Node, Any] = {n: root.get_buffer(str(n.target)) for n in graph.nodes if n.op == "get_attr"}
    pure: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if not _fixed(node) or node.target is operator.getitem or "empty" in str(node.target):
            continue
        sources, owner = node.all_input_nodes, node.meta.get("owner", node)
        if owner.op == "get_attr" and all(source in views for source in sources):
            views[node] = _evaluated(node, views)
        elif owner not in written and node.target in _FILLED:
            pure[node] = _filled(node)
        elif owner not in written and all(source in pure for source in sources):
            pure[node] = _evaluated(node, pure)
    _replace(graph, root, views | pure)


def _drop_copies(graph: fx.Graph) -> None:
    """Drops copies into new memory of the same layout, which autograd makes of gradients."""
    written = _written(graph)
    for node in graph.nodes:
        if node.target is not aten.copy_.default:
            continue
        new, source = node.args[:2]
        fresh = new.target is aten.new_empty_strided.default and len(new.users) == 1
        # the copy itself writes into its source's graph node only if that is another's memory
        kept = source.meta["owner"] not in written - {new.meta["owner"]} and source.op == "call_function"
        if fresh and kept and new.meta["layout"] == source.meta["layout"] and new.meta["layout"].dense:
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _tests(node: fx.Node) -> bool:
    """Whether a node tests a decision: it is called for its exception and has no result."""
    return node.op == "call_function" and isinstance(node.target, FunctionType)


def _fixed(node: fx.Node) -> bool:
    """Whether a node gives the same result for the same arguments, and changes nothing."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):  # noqa: SLF001
        return target is operator.getitem
    return not (_draws(node) or changes(node) or target.namespace != "aten")


def _fold(graph: fx.Graph, root: torch.nn.Module) -> None:
    """Computes constant results once, and removes results that are not used."""
    written = _written(graph)
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.meta.get("owner") in written:
            continue
        if node.op == "get_attr":
            values[node] = root.get_buffer(node.target)
        elif node.target in _FILLED:
            values[node] = _filled(node)
        elif _fixed(node) and all(source in values for source in node.all_input_nodes):
            values[node] = _evaluated(node, values)
    _replace(graph, root, values)
    graph.eliminate_dead_code()


def _written(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose memory some operation writes into, or may do so."""
    return {source.meta["owner"] for node in graph.nodes if changes(node) for source in node.all_input_nodes}


def _evaluated(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    function: Any = node.target
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
    return function(*args, **kwargs)


def _filled(node: fx.Node) -> Tensor:
    layout = node.meta["layout"]
    return torch.full(layout.shape, _FILLED[node.target], dtype=layout.dtype, device=layout.device)


def _replace(graph: fx.Graph, root: torch.nn.Module, values: Mapping[fx.Node, Any]) -> None:
    """Makes known values, which some other node uses, constants of the graph."""
    for index, (node, value) in enumerate(values.items()):
        if node.op == "get_attr" or not isinstance(value, Tensor) or all(user in values for user in node.users):
            continue
        root.register_buffer(f"folded{index}", value)
        with graph.inserting_before(node):
            constant = graph.get_attr(f"folded{index}")
        constant.meta.update(node.meta, owner=constant)
        node.replace_all_uses_with(constant)


def changes(node: fx.Node) -> bool:
    """Whether a node writes into one of its arguments."""
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and (target._schema.is_mutable or target in _SILENT)  # noqa: SLF001


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


def take_generator(graph: fx.Graph) -> bool:
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
