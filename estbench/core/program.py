"""Programs and their interpreter: a program asks for samples, and a sampler chooses their values.

A program is a function that takes ``sample`` and returns one cost per example, ``(*samples, *batch)``. It must
broadcast over leading dimensions. A sampler maps ``(name, node, sites)`` to a value, where ``sites`` holds the earlier
samples. Samplers compose: ``draw``, ``repeat``, ``plate``, ``replay``.
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
    """One call of ``sample``: the node, and the value that the program received."""

    node: Node
    value: Tensor

    @property
    def shape(self) -> torch.Size:
        """The shape of the log-probability: ``(*samples, *batch)``."""
        given, batch = self.given_shape, self.node.logits.shape[: self.node.batch_ndim]
        return given if given[len(given) - len(batch) :] == batch else torch.broadcast_shapes(given, batch)

    @property
    def given_shape(self) -> torch.Size:
        """The shape of the value without the event; it lacks the batch if all examples share enumerated values."""
        return self.value.shape[: self.value.ndim - self.node.event_ndim]


Sites: TypeAlias = Mapping[str, Site]
Sampler: TypeAlias = Callable[[str, Node, Sites], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a program at exact samples.

    Args:
        cost: ``(*samples, *batch)``. It has no derivative through the log-probabilities.
        sites: the samples by name, in the order of sampling.
        log_probs: the log-probabilities that were asked for, by name, ``(*samples, *batch)``; their derivative is the
            score.
        roots: leaf tensors that stand in for the log-probabilities in the cost, by name.
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
        r"""The slopes :math:`\partial f / \partial \log q` that may vary; like the cost, they are weights of the score.

        They are given by name, in the shape of the log-probability, averaged over plates of later samples. Slopes that
        are the same for all samples are left out, since the score has mean zero.
        """
        return varying_slopes(self.cost, self.roots, next(iter(self.sites.values())).node.batch_ndim)

    def weighted_slope(self, name: str, weights: Tensor) -> Tensor:
        """One of the slopes, summed over the plates of other samples with these weights of the costs."""
        cost = self.cost.expand(weights.shape)
        (slope,) = torch.autograd.grad(cost, self.roots[name], weights, retain_graph=True)
        return slope.detach()

    def scored(self) -> Tensor:
        """The cost with its derivative through log-probabilities, except where that would only add noise."""
        terms = [slope * self.log_prob(name) for name, slope in self.slopes().items()]
        return functools.reduce(lambda cost, term: cost + (term - term.detach()), terms, self.cost)


def run(program: Program, sampler: Sampler, *, keep_score: bool = False) -> tuple[Tensor, dict[str, Site]]:
    r"""Runs a program; the sampler chooses the value of each sample.

    ``sample`` returns the value, in the dtype of the program's logits, and its log-probability, in at least float32;
    the returned cost has at least float32 too. The score of an exact sample has mean zero. If the derivative of the
    cost with respect to :math:`\log q` is the same for all samples, it would therefore only add noise, and is dropped.
    If values are not exact samples (relaxed values, or an objective that weights samples), it must stay:
    ``keep_score``.

    Returns:
        The cost ``(*samples, *batch)``, and the sites by name, in the order of sampling.

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
    """Runs a program at exact samples, and separates the cost's dependence on log-probabilities; see ``run``.

    Args:
        program: the program.
        sampler: chooses the value of each sample.
        scores: whether the caller uses the score of every sample; the log-probabilities are then computed only once.
    """
    log_probs: dict[str, Tensor] = {}
    roots: dict[str, Tensor] = {}

    def unscored(node: Node, value: Tensor, name: str) -> Tensor:
        if scores:
            log_probs[name] = node.log_prob(value)
        root = log_probs[name].detach() if scores else node.detach().log_prob(value)
        if not (torch.is_grad_enabled() and node.logits.requires_grad):
            return root
        # if the value has a derivative, the log-probability has one too, which flows back through the value
        roots[name] = root if root.requires_grad else differentiable(root, node.logits)
        # a copy, since the program may change it in place
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
    """Checks that there is one cost per sample and example.

    A cost may lack the plates of samples that it does not depend on, and the batch if enumerated values lack it.

    Raises:
        ValueError: the cost is not a floating-point tensor, or does not have the shape of the samples it depends on.
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
    """Whether this can be the shape of a cost that depends on some of the samples, and perhaps on the examples."""
    first = next(iter(sites.values())).node
    batch = first.logits.shape[: first.batch_ndim]
    given = {site.given_shape for site in sites.values()}
    each = given | {torch.broadcast_shapes(one, batch) for one in given} | {site.shape for site in sites.values()}
    some = (chosen for count in range(1, len(each) + 1) for chosen in itertools.combinations(each, count))
    return any(shape == torch.broadcast_shapes(*chosen) for chosen in some)


def leading(node: Node, sites: Sites) -> int:
    """How many dimensions of earlier samples precede the batch in this node's logits."""
    first = next(iter(sites.values())).node if sites else node
    return node.batch_ndim - first.batch_ndim


def draw(_name: str, node: Node, _sites: Sites) -> Tensor:
    """One exact sample."""
    return node.sample()


def mean(_name: str, node: Node, _sites: Sites) -> Tensor:
    """The mean instead of a sample."""
    return node.mean


def mode(_name: str, node: Node, _sites: Sites) -> Tensor:
    """The most probable value given the earlier ones: a greedy sample."""
    return node.detach().most_probable()


def lengths(sites: Sites) -> Tensor:
    """How many variables of each joint sample had a choice, ``(*samples, *batch)``, in the dtype of the logits.

    A variable whose classes are all masked but one has no choice. If a program masks the tokens that follow the end of
    a sequence in this way, this is the length of the sequence.
    """
    return functools.reduce(torch.add, [site.node.choices for site in sites.values()])


def repeat(sampler: Sampler, samples: int) -> Sampler:
    """A sampler of ``samples`` joint samples along one new leading dimension."""

    def repeated(name: str, node: Node, sites: Sites) -> Tensor:
        if leading(node, sites) == 0:
            node = node.arranged(node.logits.expand(samples, *node.logits.shape))
        return sampler(name, node, sites)

    return repeated


def plate(sampler: Sampler) -> Sampler:
    """A sampler of several values per node; each node has its own leading dimension, the last node's is leftmost.

    The inner sampler returns values with one more leading dimension than the logits that it receives.
    """

    def plated(name: str, node: Node, sites: Sites) -> Tensor:
        missing = len(sites) - leading(node, sites)
        if missing:
            node = node.arranged(node.logits.reshape(*(1,) * missing, *node.logits.shape))
        return sampler(name, node, sites)

    return plated


def replay(values: Mapping[str, Tensor], then: Sampler) -> Sampler:
    """A sampler that returns the given values for these names, and uses the sampler ``then`` for all others."""

    def replayed(name: str, node: Node, sites: Sites) -> Tensor:
        return values[name] if name in values else then(name, node, sites)

    return replayed
