"""Programs and their interpreter: a program asks for samples, a sampler answers.

A program takes ``sample`` and returns one cost per example, ``(*samples, *batch)``; its only duty is to
broadcast over leading dimensions. A sampler maps ``(name, node, sites)`` to a value, where ``sites`` holds
what was sampled before. Samplers compose: ``draw``, ``repeat``, ``plate``, ``replay``.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from estbench.core.logits import at_least_float32
from estbench.core.node import Node
from estbench.core.slopes import differentiable, varying_slopes

Sample: TypeAlias = Callable[[str, Node], tuple[Tensor, Tensor]]
Program: TypeAlias = Callable[[Sample], Tensor]


class Site(NamedTuple):
    """What one call of ``sample`` asked for and got."""

    node: Node
    value: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of the log-probability: ``(*samples, *batch)``."""
        given, batch = self.given_shape, self.node.logits.shape[: self.node.batch_ndim]
        return given if given[len(given) - len(batch) :] == batch else torch.broadcast_shapes(given, batch)

    @property
    def given_shape(self) -> torch.Size:
        """Of the value without its event: where values are enumerated, those of all examples stand there once."""
        return self.value.shape[: self.value.ndim - self.node.event_ndim]


Sites: TypeAlias = Mapping[str, Site]
Sampler: TypeAlias = Callable[[str, Node, Sites], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a program at exact samples.

    Args:
        cost: ``(*samples, *batch)``. Its derivative passes the log-probabilities by.
        sites: in the order of sampling.
        log_probs: by name, ``(*samples, *batch)``, with their derivative, the score; those that were asked for.
        roots: what the cost depends on in place of log-probabilities that have a score, by name.
    """

    cost: Tensor
    sites: dict[str, Site]
    log_probs: Mapping[str, Tensor]
    roots: Mapping[str, Tensor]

    def log_prob(self, name: str) -> Tensor:
        """The log-probability of a sample, whose derivative is the score."""
        if name in self.log_probs:
            return self.log_probs[name]
        node, value = self.sites[name]
        return node.log_prob(value.detach())

    def slopes(self) -> dict[str, Tensor]:
        r"""What weights the score beside the cost: :math:`\partial f / \partial \log q`, where it may vary.

        By name, in the shape of the log-probability; plates of later samples are averaged over. Those that are the same
        for all samples are left out, since the score has mean zero.
        """
        return varying_slopes(self.cost, self.roots, next(iter(self.sites.values())).node.batch_ndim)

    def weighted_slope(self, name: str, weights: Tensor) -> Tensor:
        """One of the slopes, as the sum over plates of other samples with these weights of the costs."""
        cost = self.cost.expand(weights.shape)
        (slope,) = torch.autograd.grad(cost, self.roots[name], weights, retain_graph=True)
        return slope.detach()

    def scored(self) -> Tensor:
        """The cost with the derivative that it has through log-probabilities, where that is more than noise."""
        terms = [slope * self.log_prob(name) for name, slope in self.slopes().items()]
        return functools.reduce(lambda cost, term: cost + (term - term.detach()), terms, self.cost)


def run(program: Program, sampler: Sampler, *, keep_score: bool = False) -> tuple[Tensor, dict[str, Site]]:
    r"""Runs a program, answering each of its samples.

    ``sample`` returns the value, in the dtype of the logits that the program gave, and its log-probability, which has
    at least float32, as the cost has that is returned. The score of an exact sample has mean zero, so that the
    derivative of the cost with respect to :math:`\log q` is dropped where it is the same for all samples: it would only
    add noise. Where values are no exact samples (relaxed ones, or an objective that weights samples) it must stay:
    ``keep_score``.

    Returns:
        The cost ``(*samples, *batch)``, and the sites in the order of sampling.

    Raises:
        ValueError: the program samples one name twice, or nothing at all, or its cost is not one per example.
    """
    if not keep_score:
        evaluation = evaluate(program, sampler)
        return evaluation.scored(), evaluation.sites

    def scored(node: Node, value: Tensor, _name: str) -> Tensor:
        return node.log_prob(value)

    return _interpreted(program, sampler, scored)


def evaluate(program: Program, sampler: Sampler, *, scores: bool = False) -> Evaluation:
    """Runs a program at exact samples, and keeps apart what the cost owes to log-probabilities; see ``run``.

    Args:
        program: what to run.
        sampler: answers it.
        scores: whether the score will be weighted whatever the program is: so its log-probabilities are made once.
    """
    log_probs: dict[str, Tensor] = {}
    roots: dict[str, Tensor] = {}

    def unscored(node: Node, value: Tensor, name: str) -> Tensor:
        if scores:
            log_probs[name] = node.log_prob(value)
        root = log_probs[name].detach() if scores else node.detach().log_prob(value)
        if not (torch.is_grad_enabled() and node.logits.requires_grad):
            return root
        # where the value has a derivative, so has the log-probability, and passes it on to the value
        roots[name] = root if root.requires_grad else differentiable(root, node.logits)
        # a copy, for the program may change it in place
        return roots[name].clone()

    cost, sites = _interpreted(program, sampler, unscored)
    return Evaluation(cost, sites, log_probs, roots)


def _interpreted(
    program: Program, sampler: Sampler, log_prob: Callable[[Node, Tensor, str], Tensor]
) -> tuple[Tensor, dict[str, Site]]:
    sites: dict[str, Site] = {}

    def sample(name: str, node: Node) -> tuple[Tensor, Tensor]:
        if name in sites:
            raise ValueError(
                f"a program must name each of its samples differently, so that an estimator can tell them "
                f"apart; {name!r} was sampled twice"
            )
        value = sampler(name, node, sites)
        sites[name] = Site(node, value)
        return value.to(node.dtype), log_prob(node, value, name)

    cost = program(sample)
    if not sites:
        raise ValueError("the program sampled nothing, so there is no gradient to estimate")
    refuse_misshapen(cost, sites)
    return at_least_float32(cost), sites


def refuse_misshapen(cost: Tensor, sites: Sites) -> None:
    """Refuses what is not one cost per sample and example.

    A cost may lack the plates of samples that it does not depend on, and the batch where enumerated values lack it.

    Raises:
        ValueError: the cost is no tensor of floating-point numbers, or not of the shape of the samples it depends on.
    """
    if not isinstance(cost, Tensor):
        raise ValueError(f"a program returns its costs as one tensor; got {type(cost).__name__}")  # noqa: TRY004
    if not cost.dtype.is_floating_point:
        raise ValueError(f"a program returns its costs as floating-point numbers; got {cost.dtype}")
    shapes = {site.shape for site in sites.values()}
    if cost.shape not in shapes and not _fits(cost.shape, sites):
        expected = tuple(torch.broadcast_shapes(*shapes))
        raise ValueError(
            f"the cost has shape {tuple(cost.shape)} and must have {expected}: a program returns one cost per sample "
            f"and example, (*samples, *batch)"
        )


def _fits(shape: torch.Size, sites: Sites) -> bool:
    """Whether a cost that depends on some of the samples, and perhaps on what differs by example, has this shape."""
    first = next(iter(sites.values())).node
    batch = first.logits.shape[: first.batch_ndim]
    given = {site.given_shape for site in sites.values()}
    each = given | {torch.broadcast_shapes(one, batch) for one in given} | {site.shape for site in sites.values()}
    some = (chosen for count in range(1, len(each) + 1) for chosen in itertools.combinations(each, count))
    return any(shape == torch.broadcast_shapes(*chosen) for chosen in some)


def leading(node: Node, sites: Sites) -> int:
    """How many dimensions earlier samples put before the batch of this node's logits."""
    first = next(iter(sites.values())).node if sites else node
    return node.batch_ndim - first.batch_ndim


def draw(_name: str, node: Node, _sites: Sites) -> Tensor:
    """One exact sample."""
    return node.sample()


def mean(_name: str, node: Node, _sites: Sites) -> Tensor:
    """The mean in place of a draw."""
    return node.mean


def repeat(sampler: Sampler, samples: int) -> Sampler:
    """``samples`` joint samples along one new leading dimension."""

    def repeated(name: str, node: Node, sites: Sites) -> Tensor:
        if leading(node, sites) == 0:
            node = node.arranged(node.logits.expand(samples, *node.logits.shape))
        return sampler(name, node, sites)

    return repeated


def plate(sampler: Sampler) -> Sampler:
    """Several values per node, each node along a leading dimension of its own, the last node's leftmost.

    The inner sampler returns values with one more leading dimension than the logits it is given.
    """

    def plated(name: str, node: Node, sites: Sites) -> Tensor:
        missing = len(sites) - leading(node, sites)
        if missing:
            node = node.arranged(node.logits.reshape(*(1,) * missing, *node.logits.shape))
        return sampler(name, node, sites)

    return plated


def replay(values: Mapping[str, Tensor], then: Sampler) -> Sampler:
    """The given values where there are any, else those of the sampler ``then``."""

    def replayed(name: str, node: Node, sites: Sites) -> Tensor:
        return values[name] if name in values else then(name, node, sites)

    return replayed
