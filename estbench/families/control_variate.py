"""The control-variate family: subtracts a control variate from the score-function estimate."""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.derivatives import derivative, parameter_derivative
from estbench.core.estimator import Estimator, inject, mean_of_others, positive, silent
from estbench.core.node import Node
from estbench.core.program import Program, Sites, repeat, replay

WhatIf: TypeAlias = Callable[[Tensor], Tensor]
# both by name of node: the gradients, and the notes for ``observe``
GradientsAndNotes: TypeAlias = tuple[dict[str, Tensor], dict[str, Tensor]]


class ControlVariate(Estimator):
    """Subtracts from the score-function estimate a control variate, which may evaluate the cost at other values.

    If the cost contains log q with a slope that varies, the score weighted by this slope is added to the hook's
    gradient.

    In training, the same backward pass also tunes the parameters of the estimator to minimise the squared gradient, and
    thus the variance; this adds nothing to the gradient of the model.

    Attributes:
        samples: joint samples along a leading dimension of noise, cost and gradient; None for one sample
            without that dimension.
    """

    samples: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self._notes: dict[str, Tensor] = {}

    @abc.abstractmethod
    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        """Hook: the gradient for the logits, in the noise's shape, from the cost at ``node.discretise(noise)``.

        ``what_if(value)`` is the cost if this node had this value, earlier nodes had their samples, and later nodes had
        their ``stand_in``.
        """

    @abc.abstractmethod
    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        """Hook: the value of a later node in ``what_if``; differentiable, and without new random numbers."""

    def note(self, name: str, observed: Tensor) -> None:
        """Passes a tensor from ``gradient``, which must not change state under a transform, to ``observe``."""
        self._notes[name] = observed.detach()

    def observe(self, notes: dict[str, Tensor]) -> None:
        """Hook: updates running statistics with the notes of each node; called in training, after the gradients."""

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        noises: dict[str, Tensor] = {}

        def noisy(name: str, node: Node, _sites: Sites) -> Tensor:
            noises[name] = node.noise()
            return node.discretise(noises[name])

        sampler = repeat(noisy, self.samples) if self.samples else noisy
        evaluation = self.evaluate(program, sampler)
        cost, sites = evaluation.cost, evaluation.sites

        def gradients() -> GradientsAndNotes:
            found = {}
            for name, site in sites.items():
                what_if = self._what_if(program, sites, noises, name)
                found[name] = self.gradient(name, site.node.detach(), noises[name], cost.detach(), what_if)
            notes, self._notes = self._notes, {}
            return found, notes

        (estimates, notes), tuning = self._tuned(gradients, sites)
        if self.training:
            self.observe(notes)
        total = cost.mean() + tuning
        for name, site in sites.items():
            total = total + inject(site.node, estimates[name])
        for name, slope in evaluation.slopes().items():
            node, value = sites[name]
            total = total + inject(node, node.lift(self._centred(slope)) * node.score(value).detach())
        return total

    def _what_if(self, program: Program, sites: Sites, noises: Mapping[str, Tensor], name: str) -> WhatIf:
        """The cost at another value of one node: those before it keep theirs, those after it have stand-ins."""
        names = list(sites)
        before = {n: sites[n].value for n in names[: names.index(name)]}

        def later(other: str, node: Node, _sites: Sites) -> Tensor:
            return self.stand_in(node, noises[other])

        return lambda value: self.interpret(program, replay({**before, name: value}, later), keep_score=True)[0]

    def _centred(self, slope: Tensor) -> Tensor:
        """A slope minus the mean slope of the other samples, if there are any."""
        if self.samples is None or self.samples < 2:
            return slope
        return slope - mean_of_others(slope)

    def _tuned(
        self, gradients: Callable[[], GradientsAndNotes], sites: Sites
    ) -> tuple[GradientsAndNotes, Tensor | float]:
        """The gradients, and in training a term of value zero whose gradient is that of the squared gradients."""
        own = {name: p for name, p in self.named_parameters() if p.requires_grad}
        if not (own and self.training):
            with torch.no_grad():
                return gradients(), 0.0

        def spread() -> tuple[Tensor, GradientsAndNotes]:
            found = gradients()
            means = {name: g.mean(0) if self.samples else g for name, g in found[0].items()}
            squares = [sites[name].node.total(g.square()).mean() for name, g in means.items()]
            return functools.reduce(torch.add, squares), found

        slopes, estimates = parameter_derivative(self, own, spread)
        return estimates, silent(functools.reduce(torch.add, [(own[k] * slopes[k]).sum() for k in own]))


class Relaxed(ControlVariate):
    r"""Control variates that are functions of relaxed samples, as in REBAR and RELAX.

    .. math:: g = (f(b) - c(\tilde z)) \nabla \log q(b) + \nabla_\ell \, [c(z) - c(\tilde z)],
        \qquad \tilde z \sim p(z \mid b)

    If coupled, the conditional relaxed value :math:`\tilde z` is equal to :math:`z`, and only its derivative with
    respect to the logits differs, so that one evaluation serves for both. Otherwise it is drawn independently given the
    discrete value, as in the authors' code; this takes one more evaluation and reduces the variance by a few percent.

    Args:
        temperature: initial temperature of the relaxation.
        coupled: whether the two relaxed values are equal.
    """

    differentiates = True

    def __init__(self, temperature: float = 0.5, *, coupled: bool = True) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(positive("temperature", temperature)).log())
        self.coupled = coupled

    @abc.abstractmethod
    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        """Hook: the control variate at a relaxed value, ``(*batch,)``."""

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        """The relaxed value."""
        return node.relax(noise, self.log_temperature.exp())

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """One for the samples, and for each node one relaxed value, or two if they are not coupled."""
        return 1 + (1 if self.coupled else 2) * len(nodes)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        """The gradient for the logits."""

        def relaxed(noise: Tensor) -> tuple[Tensor, Tensor]:
            return derivative(lambda noise: self.control(name, self.stand_in(node, noise), what_if), noise)

        slope, each = relaxed(noise)
        value = node.discretise(noise)
        score = node.score(value)
        if self.coupled:
            return node.lift(cost - each) * score + node.gap(noise, slope)
        given = node.noise_given(value)
        conditional, each = relaxed(given)
        return node.lift(cost - each) * score + slope - conditional + node.gap(given, conditional)
