"""Operation graphs: a vectorised function is recorded as a list of operations, optimised, and replayed.

Under ``torch.func.vmap`` every operation has an overhead of about 50 microseconds in Python, more than the operation
itself if chunks are small enough for the caches. A recorded graph does not have this overhead. Results that are the
same in every call are computed once, unused results are left out (such as the value of a cost of which only the
derivative is needed), and buffers are reused after their last use.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from estbench.engine.graph_code import Code
from estbench.engine.lean_graph import changes, lean, lean_step, take_generator

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
        code: the graph as a function.
        example: the tensor with which the graph is called.
        concurrent: whether it uses its own generator, so that several threads may call it at the same time.
    """

    def __init__(self, code: Code, example: Tensor, *, concurrent: bool) -> None:
        self.code, self._example, self.concurrent = code, example, concurrent

    @torch.no_grad()
    def __call__(self, seed: int) -> dict[str, Tensor]:
        """The results for a seed."""
        if self.concurrent:
            return self.code(self._example, torch.Generator().manual_seed(seed))
        seed_generators(seed)
        return self.code(self._example)


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
        recording = _Recording([example])
        with recording:
            results = function(example)
        graph = recording.of_a_seed(results)
        seed_generators(seed)
        expected, found = function(example), graph(seed)
        same = all(bool((found[name] - x).norm() <= ROUNDING * x.norm()) for name, x in expected.items())
    except Exception:  # noqa: BLE001  (a plugin may do anything, and without a graph all goes on as before)
        return None
    return graph if same else None


class ReadsValuesError(RuntimeError):
    """A recorded function reads numbers from tensors, and a graph would always use those of the recording."""


class OtherDecisionError(RuntimeError):
    """A value that a graph reads decides otherwise than in the recording."""


class TooLargeError(RuntimeError):
    """The results of a recorded function take too much memory."""


def same_decision(found: bool, recorded: bool) -> None:
    """Operation of a graph: tests that a truth value is that of the recording.

    Raises:
        OtherDecisionError: it is not.
    """
    if found != recorded:
        raise OtherDecisionError


class RecordedCall:
    """A function of tensors that replays a graph, which may change other tensors in place.

    Args:
        code: the graph as a function of the inputs.
        changed: those that the graph changes.
        early: those that it changes before it has tested the last of its decisions.
    """

    def __init__(self, code: Code, changed: Sequence[Tensor], early: Sequence[Tensor]) -> None:
        self.code, self.changed, self._early = code, changed, early

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        """The results for inputs of the shapes of the recording.

        Raises:
            OtherDecisionError: a value that the function reads decides otherwise than in the recording; nothing was
                changed.
        """
        before = [x.clone() for x in self._early]
        try:
            return self.code(*inputs)
        except OtherDecisionError:
            for x, value in zip(self._early, before, strict=True):
                x.copy_(value)
            raise


def recorded_call(
    function: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor], most: int
) -> tuple[RecordedCall | Exception, Tensor]:
    """Calls a function of tensors and records what it does as a graph, changes of existing tensors included.

    Args:
        function: the function; all that it uses but these inputs and tensors in memory is the same at every call.
        inputs: its tensors.
        most: the most bytes of results; a function with more is not recorded.

    Returns:
        The graph, or the reason why there is none; and the result of this call.
    """
    recording = _Recording(inputs, most)
    try:
        with recording:
            result = function(inputs)
    except Exception as error:
        if recording.changes:
            raise
        return error, function(inputs)
    try:
        return recording.of_inputs(result), result
    except Exception as error:  # noqa: BLE001  (without a graph all goes on as before)
        return error, result


class _Layout(NamedTuple):
    """The memory layout of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    dense: bool


class _Recording(TorchDispatchMode):
    """Records operations as nodes of a graph, with the layout of each result and the node that owns its memory.

    Args:
        inputs: the tensors that may be others at the next call.
        most: bytes of results after which the recording is given up; they are kept until it ends.

    Attributes:
        given_up: whether there were more.
        changes: whether a tensor that existed before was changed, as far as the recording went.
    """

    def __init__(self, inputs: Sequence[Tensor], most: float = math.inf) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self._root, self._inputs = fx.Graph(), torch.nn.Module(), inputs
        self._nodes: dict[int, fx.Node] = {}
        self._reads: list[tuple[fx.Node, complex]] = []
        self._left, self.given_up, self.changes = most, False, False
        # as long as these tensors exist, no other tensor has the same id
        self._alive: list[Any] = list(inputs)
        for number, tensor in enumerate(inputs):
            self._keep(self._graph.placeholder(f"input{number}"), tensor, None)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not self.given_up:
            try:
                self._add(function, args, kwargs, result)
            except Exception:  # noqa: BLE001  (the function itself goes on without its recording)
                self._give_up()
        return result

    def _add(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Adds an operation to the graph."""
        given = [self._node(tensor) for tensor in _tensors((args, kwargs))]
        owners = {_storage(tensor): self._node(tensor).meta["owner"] for tensor in _tensors((args, kwargs))}
        self._alive += [result, *given]
        node = self._graph.call_function(function, *tree_map(self._argument, (args, kwargs)))
        if isinstance(result, Tensor):
            self._keep(node, result, owners)
        for index, part in enumerate(result if isinstance(result, (tuple, list)) else ()):
            if isinstance(part, Tensor):
                node.meta["owner"] = owners.get(_storage(part), node)
                self._keep(self._graph.call_function(operator.getitem, (node, index)), part, owners)
        self.changes |= changes(node) and any(source.meta["owner"].op == "get_attr" for source in node.all_input_nodes)
        self._count(result)
        self._reads += [(node, result)] if isinstance(result, (bool, int, float, complex)) else []

    def _count(self, result: Any) -> None:
        """Gives up if results take too much memory."""
        self._left -= sum(x.nbytes for x in _tensors(result))
        if self._left < 0:
            self._give_up()

    def _give_up(self) -> None:
        self.given_up = True
        self._alive.clear()

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

    def of_a_seed(self, results: dict[str, Tensor]) -> Graph:
        """The graph of these results, for another seed.

        Raises:
            ValueError: an operation could not be recorded.
        """
        self._finish()
        self._graph.output(tree_map(self._argument, results))
        lean(self._graph, self._root)
        concurrent = take_generator(self._graph)
        return Graph(self._code(), self._inputs[0], concurrent=concurrent)

    def of_inputs(self, result: Tensor) -> RecordedCall:
        """The graph of this result and of all changes of tensors that existed before.

        Raises:
            ReadsValuesError: numbers were read, which the graph would not read again.
            TooLargeError: its results take more memory than the recording may keep.
            ValueError: an operation could not be recorded.
        """
        self._finish()
        self._graph.output(self._argument(result))
        for node, value in self._reads:
            if not isinstance(value, bool):
                raise ReadsValuesError(f"it reads numbers from tensors ({node.target})")
            with self._graph.inserting_after(node):
                self._graph.call_function(same_decision, (node, value))
        changed, early = lean_step(self._graph, self._root)
        existing = {node: self._root.get_buffer(str(node.target)) for node in self._graph.find_nodes(op="get_attr")}
        kept, gone = ([tensor for node, tensor in existing.items() if node in which] for which in (changed, early))
        return RecordedCall(self._code(), kept, gone)

    def _finish(self) -> None:
        if self._left < 0:
            raise TooLargeError("its results take so much memory that a recording gains nothing")
        if self.given_up:
            raise ValueError("an operation cannot be recorded")

    def _code(self) -> Code:
        return Code(self._graph, dict(self._root.named_buffers()))


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata  # noqa: SLF001  (torch has no public name for it)
