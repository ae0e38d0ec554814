r"""Linear layers: moments of the gradient of linear layers before the logits, without computing each gradient.

Let :math:`\delta_n` be the gradient with respect to the outputs of a linear layer for example :math:`n` and
:math:`h_n` its input. The gradient of its weights is :math:`\sum_n \delta_n h_n^\top`. It is linear in :math:`\delta`,
so that its mean takes one product. If examples are sampled independently of each other, the covariances between them
are zero, and the trace of its covariance is

.. math:: \sum_n \lVert h_n \rVert^2 \, \mathrm{tr\,Cov}\,\delta_n

which is estimated without the noise of those covariances.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import grad, vjp

from estbench.core.estimator import Estimator
from estbench.core.node import Node
from estbench.core.program import Program, draw, run
from estbench.engine.base import Bench
from estbench.engine.moments.moments import Gradients, Moments, Weights
from estbench.engine.moments.points import Objective, Point, shifted
from estbench.engine.moments.variables import LOGITS, Logits, Parameters, Variables, parts_of

# relative difference of two ways to compute one gradient in float32 that rounding can explain
ROUNDING = 1e-4


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer between a minibatch and the logits.

    Args:
        inputs: ``(examples, features)``.
        outputs: number of outputs.
        weight: name of the weight parameter.
        bias: name of the bias parameter; empty if there is none.
    """

    inputs: Tensor
    outputs: int
    weight: str
    bias: str

    @property
    def scale(self) -> Tensor:
        """The factor of the variance of each output's gradient in the trace, ``(examples * outputs,)``."""
        squares = self.inputs.double().square().sum(1) + bool(self.bias)
        return squares[:, None].expand(-1, self.outputs).flatten()

    def gradients(self, deltas: Tensor) -> dict[str, Tensor]:
        """Gradients of weight and bias ``(batches, ...)`` for those of the outputs ``(batches, examples, outputs)``."""
        found = {self.weight: torch.einsum("bno,ni->boi", deltas, self.inputs.to(deltas))}
        return found | ({self.bias: deltas.sum(1)} if self.bias else {})


class Layered(Variables):
    """Logits, and the parameters of a child of the model that consists of linear layers before all samples.

    Args:
        point: the point of measurement.
        child: name of the model's child module.
        names: names of its parameters, in order.
        layers: its layers.
        pull: maps gradients of the logits by node to those of each layer's outputs.
        constant: the part of the gradient that does not depend on the samples, by parameter.
        logits: whether moments of the logits are reported too.
    """

    name = LOGITS

    def __init__(
        self,
        point: Point,
        child: str,
        names: Sequence[str],
        layers: Sequence[LinearLayer],
        pull: Callable[[Mapping[str, Tensor]], Sequence[Tensor]],
        constant: Mapping[str, Tensor],
        *,
        logits: bool,
    ) -> None:
        self.point, self._child, self._names = point, child, names
        self._layers, self._pull, self._constant = layers, pull, constant
        own = Logits(point)
        self.groups = {**(own.groups if logits else {}), child: [f"{child}/outputs"]}
        self.weights: Weights = {f"{child}/outputs": torch.cat([layer.scale for layer in layers])}

    def gradient(
        self, objective: Objective, program: Callable[[], Program], *, mapped: bool = True
    ) -> Callable[[], Gradients]:
        """One gradient with respect to a shift of the logits, and with respect to the outputs of the layers."""
        logits = self.point.logit_gradient(objective, program, self.value, mapped=mapped)
        nodes = dict(zip(Logits(self.point).parts, self.point.nodes().values(), strict=True))

        def gradient() -> Gradients:
            found = logits()
            deltas = self._pull({part: found[part].reshape(node.logits.shape) for part, node in nodes.items()})
            outputs = torch.cat([delta.flatten() for delta in deltas])
            return {part: found.get(part, outputs) for part in (*self.parts, self.value)}

        return gradient

    def grouped(self, parts: Mapping[str, Moments]) -> dict[str, Moments]:
        """The moments by group; those of the child are with respect to its parameters."""
        found = super().grouped(parts)
        outputs = found[self._child]
        return {**found, self._child: replace(outputs, means=self.parameters(outputs.means))}

    def parameters(self, deltas: Tensor) -> Tensor:
        """Gradients of the parameters ``(batches, parameters)`` for those of all outputs ``(batches, outputs)``."""
        sizes = [len(layer.inputs) * layer.outputs for layer in self._layers]
        found: dict[str, Tensor] = {}
        for layer, own in zip(self._layers, deltas.split(sizes, 1), strict=True):
            found |= layer.gradients(own.unflatten(1, (len(layer.inputs), layer.outputs)))
        return torch.cat([(found[name] + self._constant[name].to(deltas)).flatten(1) for name in self._names], 1)


def by_layers(bench: Bench, variables: Sequence[Variables], estimator: Estimator) -> list[Variables]:
    """The same groups, with those of linear layers replaced by ``Layered`` where that gives the right moments.

    This requires that the outputs of the layers affect the cost through the logits only, and that no example's gradient
    depends on other examples, neither through the model nor through the estimator. Both are tested.
    """
    logits = any(isinstance(each, Logits) for each in variables)
    found: list[Variables] = []
    for parameters in [each for each in variables if isinstance(each, Parameters)]:
        rest = dict(parameters.groups)
        for child in [name for name, parts in rest.items() if parts == [name]]:
            layered = _LayeredTrial(bench, parameters.point, estimator, child).layered(logits=logits)
            if layered is not None:
                found.append(layered)
                logits = False
                del rest[child]
        found += [replace(parameters, groups=rest)] if rest else []
    return [each for each in variables if isinstance(each, Logits) and logits] + found


@dataclass(frozen=True)
class _LayeredTrial:
    """Tests whether an estimator's gradient of a child of the model can be computed layer by layer at a point."""

    bench: Bench
    point: Point
    estimator: Estimator
    child: str

    def layered(self, *, logits: bool) -> Layered | None:
        """The layer-wise computation; None if it would be wrong."""
        # if each replicate has its own dropout masks, the layers differ between replicates
        if self.estimator.couples_examples or self.point.varies:
            return None
        training = self.estimator.training
        self.estimator.eval()
        with self.bench.aside("layers"), torch.no_grad():
            try:
                found = self._layered(logits=logits)
            except Exception:  # noqa: BLE001  (what layers cannot do, the general way may; it will say so if not)
                found = None
        self.estimator.train(training)
        return found

    def _layered(self, *, logits: bool) -> Layered | None:
        names = parts_of(self.point.model)[self.child]
        modules = _linear(self.point.model, self.child, names)
        layers = _traced(self.point, modules) if modules else None
        if not layers or not self._apart():
            return None
        zeros = [layer.inputs.new_zeros(len(layer.inputs), layer.outputs) for layer in layers]

        def logits_of(*outputs: Tensor) -> dict[str, Tensor]:
            with _hooked(modules, lambda index, _, output: output + outputs[index]):
                program = self.point.program()
            nodes = _nodes(program)
            return {part: node.logits for part, node in zip(Logits(self.point).parts, nodes.values(), strict=True)}

        pull = vjp(logits_of, *zeros)[1]
        if self._mixed(pull):
            return None
        nothing = {name: layers[0].inputs.new_zeros(()) for name in names}
        layered = Layered(self.point, self.child, names, layers, pull, nothing, logits=logits)
        constant = self._constant(layered, names)
        if constant is None:
            return None
        return Layered(self.point, self.child, names, layers, pull, constant, logits=logits)

    def _constant(self, layered: Layered, names: Sequence[str]) -> dict[str, Tensor] | None:
        """The part of the gradient that the layers do not give, by parameter; None if it depends on the samples."""
        general = Parameters(self.point, {self.child: names}, {self.child: [self.child]})
        part = f"{self.child}/outputs"
        lacking = []
        for index in range(2):
            whole = self._seeded(index, general.gradient(self.estimator, self.point.program))[self.child]
            deltas = self._seeded(index, layered.gradient(self.estimator, self.point.program))[part]
            lacking.append(whole - layered.parameters(deltas[None])[0])
            tolerance = ROUNDING * whole.norm()
        if not (lacking[0] - lacking[1]).norm() <= tolerance:
            return None
        kept = lacking[0] if lacking[0].norm() > tolerance else torch.zeros_like(lacking[0])
        own = dict(self.point.model.named_parameters())
        parts = kept.split([own[name].numel() for name in names])
        return {name: part.reshape(own[name].shape) for name, part in zip(names, parts, strict=True)}

    def _mixed(self, pull: Callable[[Mapping[str, Tensor]], Sequence[Tensor]]) -> bool:
        """Whether an example's logits depend on another example's outputs of a layer, as after a batch norm."""
        parts = zip(Logits(self.point).parts, self.point.nodes().values(), strict=True)
        first = {part: torch.zeros_like(node.logits) for part, node in parts}
        for gradient in first.values():
            gradient[0] = 1 + torch.arange(gradient[0].numel()).cos().to(gradient).view_as(gradient[0])
        return any(bool(delta[1:].any()) for delta in pull(first))

    def _apart(self) -> bool:
        """Whether the gradient of each example stays the same when samples and cost of another example change."""
        program, nodes = self.point.program(), self.point.nodes()
        still = {name: torch.zeros_like(node.logits) for name, node in nodes.items()}
        moved = {name: shift.clone() for name, shift in still.items()}
        for shift in moved.values():
            shift[0] = 10 * torch.arange(shift[0].numel(), dtype=shift.dtype, device=shift.device).cos().view_as(
                shift[0]
            )

        def others(shifts: dict[str, Tensor]) -> Tensor:
            found = self._seeded(0, lambda: grad(lambda s: self.estimator(shifted(program, s)))(shifts))
            return torch.cat([each[1:].flatten() for each in found.values()])

        before, after = others(still), others(moved)
        return bool((after - before).norm() <= ROUNDING * before.norm())

    def _seeded(self, index: int, gradient: Callable[[], Gradients]) -> Gradients:
        self.bench.sow("layers", index)
        return gradient()


def _linear(model: nn.Module, child: str, names: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers of a child by name; empty if it has other parameters than theirs."""
    found = {f"{child}.{name}".rstrip("."): m for name, m in model.get_submodule(child).named_modules()}
    linear = {name: module for name, module in found.items() if isinstance(module, nn.Linear)}
    # a parametrised weight is not itself a parameter
    own = {f"{name}.{kind}" for name, module in linear.items() for kind, _ in module.named_parameters()}
    kinds = {f"{name}.{kind}" for name in linear for kind in ("weight", "bias")}
    return linear if own == set(names) and own <= kinds else {}


def _traced(point: Point, modules: Mapping[str, nn.Linear]) -> list[LinearLayer] | None:
    """The layers in their order; None if one is not called exactly once, with one input per example."""
    inputs: dict[int, list[Tensor]] = {index: [] for index in range(len(modules))}

    def keep(index: int, taken: Tensor, output: Tensor) -> Tensor:
        inputs[index].append(taken)
        return output

    with _hooked(modules, keep):
        program = point.program()
        nodes = _nodes(program)
    examples = len(point.batch[0])
    fits = all(len(own) == 1 and own[0].ndim == 2 and len(own[0]) == examples for own in inputs.values())
    if not fits or any(node.batch_ndim < 1 or len(node.logits) != examples for node in nodes.values()):
        return None
    return [
        LinearLayer(own[0], module.out_features, f"{name}.weight", f"{name}.bias" if module.bias is not None else "")
        for own, (name, module) in zip(inputs.values(), modules.items(), strict=True)
    ]


def _nodes(program: Program) -> dict[str, Node]:
    return {name: site.node for name, site in run(program, draw)[1].items()}


@contextlib.contextmanager
def _hooked(modules: Mapping[str, nn.Linear], hook: Callable[[int, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Calls a hook with index, input and output of each module; it returns the output to go on with."""
    handles = [
        module.register_forward_hook(lambda _, taken, output, index=index: hook(index, taken[0], output))
        for index, module in enumerate(modules.values())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
