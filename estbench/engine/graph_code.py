"""Graph code: a graph of operations as one Python function."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx


class Code:
    """A graph as a function; its arguments are the graph's placeholders, in order.

    Calling it costs little more than its operations. ``fx.GraphModule`` looks up each operation and each constant
    through several attributes at every call, which takes a tenth of the time of small operations.

    Args:
        graph: the graph.
        tensors: its constants, by the target of their nodes.

    Attributes:
        operations: the names of the operations, in order.
    """

    def __init__(self, graph: fx.Graph, tensors: Mapping[str, torch.Tensor]) -> None:
        self.operations = [str(node.target) for node in graph.nodes if node.op == "call_function"]
        text = _Text(tensors)
        lines = "\n".join(text.lines(graph))
        exec(lines, text.names)  # noqa: S102  (the text consists of numbered names)
        self._function: Callable[..., Any] = text.names["replay"]

    def __call__(self, *given: Any) -> Any:
        """The graph's output."""
        return self._function(*given)


class _Text:
    """The text of a function, and what the names in it stand for."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.names: dict[str, Any] = {}
        self._tensors = tensors
        self._known: dict[int, str] = {}
        self._values: dict[fx.Node, str] = {}

    def lines(self, graph: fx.Graph) -> Iterator[str]:
        given = [node for node in graph.nodes if node.op == "placeholder"]
        self._values = {node: f"v{number}" for number, node in enumerate(graph.nodes)}
        yield f"def replay({', '.join(self._values[node] for node in given)}):"
        last = {source: node for node in graph.nodes for source in node.all_input_nodes}
        done = dict[fx.Node, list[str]]()
        for source, node in last.items():
            done.setdefault(node, []).append(self._values[source])
        for node in graph.nodes:
            if node.op == "get_attr":
                self._values[node] = self._bound(self._tensors[str(node.target)])
            elif node.op == "call_function":
                target = node.target
                function = self._bound(target._op if isinstance(target, torch._ops.OpOverload) else target)  # noqa: SLF001
                named = [f"{name}={self._text(value)}" for name, value in node.kwargs.items()]
                yield f"    {self._values[node]} = {function}({', '.join([*map(self._text, node.args), *named])})"
                # memory is freed after the last use
                gone = [name for name in done.get(node, []) if name.startswith("v")]
                if gone:
                    yield f"    {' = '.join(gone)} = None"
            elif node.op == "output":
                yield f"    return {self._text(node.args[0])}"

    def _text(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            return self._values[value]
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, tuple):
            return f"({''.join(f'{self._text(each)}, ' for each in value)})"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{name!r}: {self._text(each)}' for name, each in value.items())}}}"
        return self._bound(value)

    def _bound(self, value: Any) -> str:
        """A name for any other value."""
        if id(value) not in self._known:
            name = f"c{len(self.names)}"
            self._known[id(value)], self.names[name] = name, value
        return self._known[id(value)]
