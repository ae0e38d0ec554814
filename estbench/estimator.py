"""Estimators: modules that map a program to a scalar whose gradient estimates that of the expected cost.

Each abstract family owns ``forward``; a plugin fills in its hooks and overrides nothing.
"""

import abc
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value

from estbench.networks import Annealed, MovingAverage, with_parameters
from estbench.node import Bernoulli, Categorical, Node
from estbench.program import Program, Sampler, Site, Sites, draw, plate, repeat, replay, run

WhatIf: TypeAlias = Callable[[Tensor], Tensor]


class NotApplicableError(ValueError):
    """An estimator cannot be used on this program, by its nature; the message says why."""


class Estimator(nn.Module, abc.ABC):
    """Maps a program to a scalar.

    Its value estimates the expected cost, averaged over the batch, and its gradient the gradient of that, so
    that a training step is ``estimator(model(x)).backward()``.

    Class attributes are a plugin's declarations; the conformance tests hold it to them.

    Attributes:
        accepts: types of nodes it takes.
        unbiased: whether the gradient's expectation is that of its objective (see ``bound``); an option that
            biases the estimator sets it on the instance.
        differentiates: whether it uses the derivative of the cost with respect to samples.
        paper: where it comes from.
    """

    accepts: ClassVar[tuple[type[Node], ...]] = (Bernoulli, Categorical)
    unbiased: bool
    differentiates: ClassVar[bool]
    paper: ClassVar[str]

    @property
    def bound(self) -> int:
        """The objective: 1 is the expected cost (ELBO), m the m-sample bound ``-E log mean exp(-cost)``."""
        return 1

    def prepare(self, program: Program) -> Self:
        """Makes what the estimator keeps per node; to be called before making an optimiser.

        Raises:
            NotApplicableError: it cannot take a node of this program.
        """
        with torch.no_grad():
            _, sites = self.interpret(program, draw)
        for name, site in sites.items():
            self.build(name, site.node)
        return self

    def build(self, name: str, node: Node) -> None:
        """Hook: makes a network for this node."""

    @abc.abstractmethod
    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""

    @abc.abstractmethod
    def evaluations(self, nodes: Sequence[Node]) -> int:
        """How often one call of ``forward`` evaluates the cost of each example."""

    def interpret(
        self, program: Program, sampler: Sampler, *, keep_score: bool = False
    ) -> tuple[Tensor, dict[str, Site]]:
        """Runs a program, refusing nodes that this estimator does not take."""

        def admitted(name: str, node: Node, sites: Sites) -> Tensor:
            if not isinstance(node, self.accepts):
                takes = " or ".join(kind.__name__ for kind in self.accepts)
                raise NotApplicableError(
                    f"{type(self).__name__} takes {takes} nodes; {name!r} is {type(node).__name__}"
                )
            return sampler(name, node, sites)

        return run(program, admitted, keep_score=keep_score)


def silent(term: Tensor) -> Tensor:
    """A term whose value is zero and whose gradient is kept."""
    return term - term.detach()


def inject(node: Node, gradient: Tensor) -> Tensor:
    """A scalar of value zero that gives the logits this gradient, ``(*samples, *batch, *event)``.

    Samples and batch are averaged over, as in the mean of the costs.
    """
    extra = gradient.ndim - node.logits.ndim
    if extra > 0:
        gradient = gradient.mean(tuple(range(extra)))
    return silent(node.total(gradient.detach() * node.logits).mean())


def positive(name: str, value: float) -> float:
    """The value of an option that must be above 0.

    Raises:
        ValueError: it is not.
    """
    if not value > 0:
        raise ValueError(f"{name} must be above 0; got {value}")
    return value


class Pathwise(Estimator):
    """Differentiates the cost through stand-ins for the samples.

    Attributes:
        hard: whether the stand-ins are fair draws in value (as straight-through ones are).
    """

    differentiates = True
    hard: ClassVar[bool]

    @abc.abstractmethod
    def sample(self, name: str, node: Node) -> Tensor:
        """Hook: a differentiable stand-in for a draw from the node."""

    def observe(self) -> None:
        """Hook: counts a training step; called in training, after the cost is made."""

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One."""
        return 1

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""

        def sampler(name: str, node: Node, _sites: Sites) -> Tensor:
            return self.sample(name, node)

        cost, _ = self.interpret(program, sampler, keep_score=not self.hard)
        if self.training:
            self.observe()
        return cost.mean()


class Tempered(Pathwise):
    r"""Stand-ins with a temperature that is constant, or falls as training goes on.

    .. math:: \tau = \max(\mathrm{floor}, \, \mathrm{temperature} \cdot e^{-\mathrm{rate} \cdot t})

    Args:
        temperature: of the relaxation, at the start.
        rate: at which it falls per training step; 0 keeps it constant.
        floor: below which it does not fall.
        every: how many training steps it stays the same between updates.
    """

    def __init__(self, temperature: float = 1.0, rate: float = 0.0, floor: float = 0.5, every: int = 1000) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.schedule = Annealed(self.temperature, rate, floor, every)

    def observe(self) -> None:
        """Counts a training step."""
        self.schedule.advance()

    def tau(self, node: Node) -> Tensor:
        """The present temperature, as a scalar like the node's logits."""
        return self.schedule.value(node.logits)


class ScoreFunction(Estimator):
    """Weighs the score of joint samples by how much their cost exceeds a baseline.

    A baseline with parameters is fitted to the costs by least squares as part of the same backward pass.

    Args:
        samples: joint samples per gradient.
        normalise: whether to divide what exceeds the baseline by its running standard deviation where that is
            above 1, as in Mnih & Gregor (2014). It rescales the gradient, which is then unbiased only up to
            that scale: the one of earlier steps, common to all nodes.
    """

    differentiates = False

    def __init__(self, samples: int = 1, *, normalise: bool = False) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"{type(self).__name__} needs at least 1 sample; got {samples}")
        self.samples = samples
        self.power = MovingAverage(0.9) if normalise else None
        if normalise:
            self.unbiased = False

    @abc.abstractmethod
    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        """Hook: what to subtract from the cost, ``(samples, *batch)``; no sample may see its own cost."""

    def observe(self, cost: Tensor) -> None:
        """Hook: updates running statistics; called in training, after the gradient is made."""

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One per sample."""
        return self.samples

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        cost, sites = self.interpret(program, repeat(draw, self.samples))
        constant = cost.detach()
        total, scale, squares = cost.mean(), self._scale(), []
        for name, (node, value) in sites.items():
            residual = constant - self.baseline(name, node, constant)
            squares.append(residual.square().mean())
            with torch.no_grad():
                gradient = node.lift(residual / scale) * node.score(value)
            total = total + inject(node, gradient)
            if self.training and residual.requires_grad:
                total = total + silent(squares[-1])
        if self.training:
            self.observe(constant)
            if self.power is not None:
                self.power.update(torch.stack(squares).detach().mean())
        return total

    def _scale(self) -> Tensor | float:
        """What the excess is divided by: what earlier steps make of it."""
        return 1.0 if self.power is None else self.power.value.sqrt().clamp_min(1)


class Coupled(Estimator):
    """Evaluates the cost at several coupled values of each node, each of them a fair draw.

    Attributes:
        coupled: how many values are coupled, where that is the same for every node.
    """

    differentiates = False
    coupled: int

    @abc.abstractmethod
    def couple(self, node: Node) -> Tensor:
        """Hook: coupled noise, ``(coupled, *logits.shape)``, each slice distributed as ``node.noise()``."""

    @abc.abstractmethod
    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        """Hook: the gradient for the logits, ``(*batch, *event)``, from costs ``(coupled, *batch)``."""

    def values(self, node: Node) -> int:  # noqa: ARG002
        """Hook: how many values of this node are coupled."""
        return self.coupled

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """Every combination of the nodes' coupled values."""
        return math.prod(self.values(node) for node in nodes)

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        noises: dict[str, Tensor] = {}

        def coupled(name: str, node: Node, _sites: Sites) -> Tensor:
            noises[name] = self.couple(node)
            return node.harden(noises[name])

        cost, sites = self.interpret(program, plate(coupled))
        total = cost.mean()
        constant = full_cost(cost.detach(), sites)
        for later, (name, (node, _)) in zip(reversed(range(len(sites))), sites.items(), strict=True):
            with torch.no_grad():
                own = constant.mean(tuple(range(later))) if later else constant
                gradient = self.gradient(node, noises[name], own)
            total = total + inject(node, gradient)
        return total


def full_cost(cost: Tensor, sites: Sites) -> Tensor:
    """A cost with every plate's dimension, also those of samples that it does not depend on."""
    last = [*sites.values()][-1]
    return cost.expand(torch.broadcast_shapes(cost.shape, last.value.shape[: -last.node.event_ndim]))


class Antithetic(Coupled):
    """Couples each value with the one of opposite noise; for Bernoulli nodes."""

    accepts = (Bernoulli,)
    coupled = 2

    def couple(self, node: Node) -> Tensor:
        """Noise and its negative."""
        noise = node.noise()
        return torch.stack([noise, -noise])


class ControlVariate(Estimator):
    """Subtracts from the score-function estimate a control variate that asks what the cost would be elsewhere.

    The parameters of the estimator are tuned to minimise the squared gradient, hence its variance, as part of
    the same backward pass; nothing of that reaches the model.

    Attributes:
        samples: joint samples along a leading dimension of noise, cost and gradient; None for one sample
            without that dimension.
    """

    samples: int | None = None

    @abc.abstractmethod
    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        """Hook: the gradient for the logits, in the noise's shape, from the cost at ``node.harden(noise)``.

        ``what_if(value)`` is the cost had the node taken this value, earlier nodes as they were and later ones
        at their ``stand_in``.
        """

    @abc.abstractmethod
    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        """Hook: what a later node takes in ``what_if``; differentiable, and without new randomness."""

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        noises: dict[str, Tensor] = {}

        def noisy(name: str, node: Node, _sites: Sites) -> Tensor:
            noises[name] = node.noise()
            return node.harden(noises[name])

        sampler = repeat(noisy, self.samples) if self.samples else noisy
        cost, sites = self.interpret(program, sampler)

        def gradients() -> dict[str, Tensor]:
            return {
                name: self.gradient(name, site.node, noises[name], cost.detach(), what_if(name))
                for name, site in sites.items()
            }

        def what_if(name: str) -> WhatIf:
            names = list(sites)
            before = {n: sites[n].value for n in names[: names.index(name)]}

            def later(other: str, node: Node, _sites: Sites) -> Tensor:
                return self.stand_in(node, noises[other])

            return lambda value: self.interpret(program, replay({**before, name: value}, later), keep_score=True)[0]

        estimates, tuning = self._tuned(gradients, sites)
        total = cost.mean() + tuning
        for name, site in sites.items():
            total = total + inject(site.node, estimates[name])
        return total

    def _tuned(
        self, gradients: Callable[[], dict[str, Tensor]], sites: Sites
    ) -> tuple[dict[str, Tensor], Tensor | float]:
        """The gradients, and in training a silent term that carries the derivative of their squares."""
        own: dict[str, Tensor] = dict(self.named_parameters())
        if not (own and self.training):
            with torch.no_grad():
                return gradients(), 0.0

        def spread(parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            found = with_parameters(self, parameters, gradients)
            means = {name: g.mean(0) if self.samples else g for name, g in found.items()}
            squares = [sites[name].node.total(g.square()).mean() for name, g in means.items()]
            return torch.stack(squares).sum(), found

        with torch.no_grad():
            slopes, estimates = grad(spread, has_aux=True)(own)
        return estimates, silent(sum((own[k] * slopes[k]).sum() for k in own))


class Relaxed(ControlVariate):
    """Control variates that are functions of relaxed samples, as in REBAR and RELAX.

    Noise, value and relaxed value are drawn once. The relaxed value given the hard one is tied to it: both
    are equal and only their derivatives with respect to the logits differ, so that one evaluation does for two.
    """

    differentiates = True

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(positive("temperature", temperature)).log())

    @abc.abstractmethod
    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        """Hook: the control variate at a relaxed value, ``(*batch,)``."""

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        """The relaxed value."""
        return node.soften(noise, self.log_temperature.exp())

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """The hard samples, and each node relaxed."""
        return 1 + len(nodes)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        """The gradient for the logits."""

        def control(noise: Tensor) -> tuple[Tensor, Tensor]:
            each = self.control(name, self.stand_in(node, noise), what_if)
            return each.sum(), each

        slope, (_, each) = grad_and_value(control, has_aux=True)(noise)
        score = node.score(node.harden(noise))
        return node.lift(cost - each) * score + node.gap(noise, slope)
