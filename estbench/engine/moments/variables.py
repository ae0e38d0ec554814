"""Variables with respect to which gradients are taken, and the groups into which their entries are divided."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from estbench.core.estimator import NotApplicableError
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.noise import rand
from estbench.core.program import Program, Sampler, Sites, draw, run
from estbench.engine.base import Bench
from estbench.engine.moments.moments import Gradients, Moments, Weights
from estbench.engine.moments.points import Objective, Point

LOGITS, PARAMETERS, ALL = "logits", "parameters", "all"
DEFAULT = "logits encoder"


class Variables(abc.ABC):
    """Variables at a point, with respect to which one gradient is computed at a time.

    A gradient consists of parts; a group is one or more parts.

    Attributes:
        name: ``logits`` or ``parameters``.
        point: the point of measurement.
        groups: the parts of each group.
        weights: weights of a part's entries in the trace of the covariance, for parts where they are not 1.
    """

    name: ClassVar[str]
    point: Point
    groups: Mapping[str, Sequence[str]]
    weights: Weights = MappingProxyType({})

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts."""
        return tuple(dict.fromkeys(part for parts in self.groups.values() for part in parts))

    @property
    def value(self) -> str:
        """The name of the part, in no group, that holds the value of the objective; no other variables have it."""
        return f"value of {self.parts[0]}"

    @abc.abstractmethod
    def gradient(
        self, objective: Objective, program: Callable[[], Program], *, mapped: bool = True
    ) -> Callable[[], Gradients]:
        """A function that gives one gradient of an objective of a program, by part, and its value.

        Args:
            objective: maps a program to a scalar, as an estimator does.
            program: makes the program.
            mapped: whether the function will run under ``vmap``; otherwise it uses autograd.
        """

    def single(self, objective: Objective, program: Callable[[], Program]) -> Gradients:
        """One gradient; by autograd if ``torch.func`` cannot compute it.

        Raises:
            NotApplicableError: the objective refuses the program.
        """
        try:
            return self.gradient(objective, program)()
        except NotApplicableError:
            raise
        except Exception:  # noqa: BLE001  (a layer without a rule for transforms raises what it likes)
            return self.gradient(objective, program, mapped=False)()

    def grouped(self, parts: Mapping[str, Moments]) -> dict[str, Moments]:
        """Moments by group, from moments by part."""
        return {group: pooled([parts[name] for name in names]) for group, names in self.groups.items()}

    def with_value(self, parts: Mapping[str, Moments]) -> dict[str, Moments]:
        """Moments by group, and those of the value by its own name."""
        return {**self.grouped(parts), self.value: parts[self.value]}


class Logits(Variables):
    """The logits of all nodes and, if there are several nodes, of each node.

    Args:
        point: the point of measurement.
    """

    name = LOGITS

    def __init__(self, point: Point) -> None:
        self.point = point
        parts = [f"{LOGITS}/{node}" for node in point.nodes()]
        self.groups = {LOGITS: parts, **{part: [part] for part in parts}} if len(parts) > 1 else {LOGITS: [LOGITS]}

    def gradient(
        self, objective: Objective, program: Callable[[], Program], *, mapped: bool = True
    ) -> Callable[[], Gradients]:
        """One gradient with respect to a shift of the logits, shared by the samples."""
        return self.point.logit_gradient(objective, program, self.value, mapped=mapped)


@dataclass(frozen=True)
class Parameters(Variables):
    """Parameters of the model.

    Args:
        point: the point of measurement.
        names: names of the parameters, by part.
        groups: the parts of each group.
    """

    name = PARAMETERS
    point: Point
    names: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[str]]

    def gradient(
        self, objective: Objective, program: Callable[[], Program], *, mapped: bool = True
    ) -> Callable[[], Gradients]:
        """One gradient with respect to all of them."""
        names = {part: self.names[part] for part in self.parts}
        return self.point.parameter_gradient(objective, program, names, self.value, mapped=mapped)


@dataclass(frozen=True)
class Groups:
    """The requested groups.

    Args:
        names: ``logits``; ``parameters`` for all parameters together; or a child of the model.
        everything: whether all existing groups are requested.
    """

    names: tuple[str, ...]
    everything: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads names of groups that are separated by spaces, or ``all``.

        Raises:
            ValueError: the text contains no name.
        """
        names = tuple(dict.fromkeys(text.split()))
        if not names:
            raise ValueError(f"groups are names separated by spaces, such as {DEFAULT}, or all; got {text!r}")
        return cls(names, ALL in names)

    def variables(self, bench: Bench, point: Point) -> list[Variables]:
        """The variables of these groups at a point; groups that the model does not have are left out."""
        found: list[Variables] = [Logits(point)] if self.everything or LOGITS in self.names else []
        parameters = self.parameters(bench, point)
        return [*found, parameters] if parameters else found

    def parameters(self, bench: Bench, point: Point) -> Parameters | None:
        """The parameters among the variables; None if there are none."""
        parts = parts_of(point.model)
        if not self.everything and not {PARAMETERS, *parts} & set(self.names):
            return None
        depending = bench.once("depending", lambda: _depending(bench, point, parts))
        apart = [name for name in children(point.model) if name in depending]
        groups = {name: [name] for name in apart if self.everything or name in self.names}
        several = len(parts) > 1 or not apart
        if parts and depending and (PARAMETERS in self.names or (self.everything and several)):
            groups[PARAMETERS] = list(parts)
        return Parameters(point, parts, groups) if groups else None

    def missing(self, model: nn.Module) -> list[str]:
        """The requested groups that the model does not have; default groups may be missing."""
        known = {LOGITS, PARAMETERS, ALL, *DEFAULT.split(), *parts_of(model)}
        return [name for name in self.names if name not in known]


def parts_of(model: nn.Module) -> dict[str, list[str]]:
    """Names of the trained parameters by child of the model; the empty name holds those of the model itself."""
    parts: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # this name is reserved for the logits of the nodes
            child, _, rest = name.partition(".")
            parts.setdefault(child if rest and child != LOGITS else "", []).append(name)
    return parts


def children(model: nn.Module) -> list[str]:
    """The children of a model that have trained parameters."""
    return [child for child in parts_of(model) if child]


def pooled(parts: Sequence[Moments]) -> Moments:
    """Combines the moments of several parts of the same replicates."""
    if len(parts) == 1:
        return parts[0]
    means = torch.cat([part.means for part in parts], 1)
    variances = torch.stack([part.variances for part in parts]).sum(0)
    return Moments(parts[0].n, means, variances, max(part.eps for part in parts))


def _soft(_name: str, node: Node, _sites: Sites) -> Tensor:
    if isinstance(node, (Bernoulli, Categorical)):
        return node.relax(node.noise(), 1.0)
    return torch.lerp(node.sample(), node.sample(), rand((), node.logits))


def _depending(bench: Bench, point: Point, parts: Mapping[str, Sequence[str]]) -> set[str]:
    """The parts whose gradient depends on the samples."""

    def gradient(sampler: Sampler, index: int) -> Gradients:
        def objective(program: Program) -> Tensor:
            cost, sites = run(program, sampler)
            return cost.mean() + sum(site.node.log_prob(site.value.detach()).mean() for site in sites.values())

        with bench.aside("depending", index):
            return Parameters(point, parts, {part: [part] for part in parts}).single(objective, point.program)

    # a cost may be constant between exact samples, and a few exact samples may happen to be equal
    tries: list[Any] = [[gradient(sampler, index) for index in range(4)] for sampler in (draw, _soft)]
    return {part for part in parts if any(not torch.equal(one[0][part], more[part]) for one in tries for more in one)}
