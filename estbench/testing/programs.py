"""The programs that the checks run: small nets whose expectations can be enumerated.

Their weights were searched for a strong gradient under little noise, so that a bias of 1 % shows in less
than a million replicates.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from estbench.core.estimator import Estimator
from estbench.core.node import Bernoulli, Categorical, Node, Subset
from estbench.core.program import Program, Sample

GROUPS = ("logits", "encoder", "decoder", "prior")


@dataclass(frozen=True)
class Layer:
    """One node of a net.

    Args:
        kind: the kind of node.
        event: the shape of its values.
        k: how many items a subset has.
    """

    kind: type[Node]
    event: tuple[int, ...]
    k: int = 0

    def node(self, logits: Tensor, below: Tensor | None = None) -> Node:
        """The node with these logits, ``(*batch, *event)``, which came from ``below``."""
        if self.kind is Subset:
            return Subset(logits, self.k)
        # one kind states what its logits came from and the other does not: a baseline meets both
        return Bernoulli(logits, below) if self.kind is Bernoulli else Categorical(logits)


@dataclass(frozen=True)
class Recipe:
    """How to make a net: its name, the kinds of its layers, and the numbers that fix its weights.

    Args:
        name: for people.
        layers: the layers, from the input on.
        seed: of the weights.
        prior: standard deviation of the prior's logits.
        offset: subtracted from the cost, to bring its mean near zero.
        free: nats of each layer's divergence that cost nothing more, so that log q enters the cost with a slope of 0 or
            1, as the sample has it; None for an ELBO.
        spare: whether it is only for estimators that do not take the bits of a program like it.
    """

    name: str
    layers: tuple[Layer, ...]
    seed: int
    prior: float
    offset: float
    free: float | None = None
    spare: bool = False

    def net(self, batch: tuple[int, ...] = (2,)) -> "Net":
        """A freshly made net, always with the same weights."""
        return Net(self, batch)

    def accepted(self, accepts: tuple[type[Node], ...]) -> bool:
        """Whether an estimator that accepts these nodes takes this net."""
        return all(issubclass(layer.kind, accepts) for layer in self.layers)

    def meant_for(self, accepts: tuple[type[Node], ...]) -> bool:
        """Whether an estimator that accepts these nodes is checked on this net."""
        return self.accepted(accepts) and not (self.spare and issubclass(Bernoulli, accepts))


class Net(nn.Module):
    """A net of discrete layers with an encoder, a decoder and a prior, and a free shift of every logit.

    Args:
        recipe: what to make.
        batch: shape of the batch.
    """

    inputs: Tensor
    readout: Tensor

    def __init__(self, recipe: Recipe, batch: tuple[int, ...]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(recipe.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.layers, self.offset, self.free = recipe.layers, recipe.offset, recipe.free
        events = [layer.event for layer in self.layers]
        sizes = [2, *(math.prod(event) for event in events)]
        links = [0.7 * normal(*link) / math.sqrt(2) for link in itertools.pairwise(sizes)]
        shifts = [torch.zeros(*batch, *event, dtype=torch.float64) for event in events]
        self.logits, self.encoder = nn.ParameterList(shifts), nn.ParameterList(links)
        self.decoder = nn.ParameterList(normal(size, 3) for size in sizes[1:])
        self.prior = nn.ParameterList(recipe.prior * normal(*event) for event in events)
        self.register_buffer("inputs", normal(math.prod(batch), 2).reshape(*batch, 2))
        self.register_buffer("readout", torch.tensor([2.0, -1.5, 1.0], dtype=torch.float64))

    def forward(self) -> Program:
        """The net's program: nonlinear in the samples, with log q and log p as in an ELBO."""

        def program(sample: Sample) -> Tensor:
            below, hidden = self.inputs, self.inputs[..., :1]
            divergence = torch.zeros_like(self.inputs[..., 0])
            for number, layer in enumerate(self.layers):
                value, log_q = sample(f"z{number}", self._node(number, below))
                own = log_q - layer.node(self.prior[number]).log_prob(value)
                divergence = divergence + (own if self.free is None else own.clamp_min(self.free))
                below = value.flatten(-len(layer.event))
                hidden = hidden + (below - 0.5) @ self.decoder[number]
            return divergence + hidden.tanh() @ self.readout - self.offset

        return program

    def _node(self, number: int, below: Tensor) -> Node:
        layer = self.layers[number]
        flat = below @ self.encoder[number]
        return layer.node(flat.unflatten(-1, layer.event) + self.logits[number], below)


_BITS, _SUBSET = Layer(Bernoulli, (3,)), Layer(Subset, (4,), 2)
_CLASSES = Layer(Categorical, (2, 3)), Layer(Categorical, (1, 3))
RECIPES = (
    Recipe("bernoulli, 1 layer", (_BITS,), 113, 1.2, -0.8),
    Recipe("bernoulli, 2 layers", (_BITS, _BITS), 20, 0.5, 0.5),
    Recipe("categorical, 1 layer", _CLASSES[:1], 78, 1.2, 0.8),
    Recipe("categorical, 2 layers", _CLASSES, 58, 0.5, 0.1),
    Recipe("free bits", (_BITS, _BITS), 118, 0.5, 2.3, free=0.3),
    Recipe("free bits, categorical", _CLASSES, 87, 0.5, 0.0, free=0.3, spare=True),
    Recipe("subset and bits", (_SUBSET, _BITS), 75, 0.5, 1.0),
    Recipe("subset, 1 layer", (_SUBSET,), 23, 1.2, -0.5, spare=True),
    Recipe("subset, 2 layers", (_SUBSET, Layer(Subset, (5,), 2)), 16, 0.5, 0.3, spare=True),
)


class Estimate(nn.Module):
    """A model and an estimator in one module, whose output is the estimator's scalar.

    Args:
        model: maps nothing to a program.
        estimator: prepared for it.
        looped: whether its replicates are drawn one after another, since vmap cannot map it.
    """

    def __init__(self, model: nn.Module, estimator: Estimator, *, looped: bool = False) -> None:
        super().__init__()
        self.model, self.estimator, self.looped = model, estimator, looped

    def forward(self, around: Callable[[Program], Program] = lambda program: program) -> Tensor:
        """The estimator's scalar for the model's program, which ``around`` may wrap."""
        return self.estimator(around(self.model()))


def counted(program: Program, rows: list[int]) -> Program:
    """The same program; it notes how many costs each of its evaluations returned."""

    def counting(sample: Sample) -> Tensor:
        cost = program(sample)
        rows.append(cost.numel())
        return cost

    return counting


def unscored(program: Program, *, detached: bool) -> Program:
    """The program without log q, which its samples reach attached, or detached from all derivatives."""

    def quiet(sample: Sample) -> Tensor:
        def cut(name: str, node: Node) -> tuple[Tensor, Tensor]:
            value, log_q = sample(name, node)
            return (value.detach() if detached else value), torch.zeros_like(log_q)

        return program(cut)

    return quiet
