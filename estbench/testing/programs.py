"""The programs that the checks run: small nets whose expectations are sums, or integrals by a quadrature.

Their weights were chosen by a search for a strong gradient with little noise, so that a bias of 1 % is detected with
less than a million replicates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.estimator import Estimator
from estbench.core.node import Bernoulli, Categorical, Node, Normal, Permutation, Subset
from estbench.core.program import Program, Sample

GROUPS = ("logits", "encoder", "decoder", "prior")


@dataclass(frozen=True)
class Layer:
    """One node of a net.

    Args:
        kind: the kind of node.
        event: the shape of its logits, without the batch; of normal variables, twice their number.
        k: number of items of a subset.
    """

    kind: type[Node]
    event: tuple[int, ...]
    k: int = 0

    @property
    def size(self) -> int:
        """The number of entries of a value."""
        return math.prod(self.event) // (2 if self.kind is Normal else 1)

    def node(self, logits: Tensor, below: Tensor | None = None) -> Node:
        """The node with these logits, ``(*batch, *event)``, which were computed from ``below``."""
        if self.kind is Subset:
            return Subset(logits, self.k)
        if self.kind is Permutation:
            return Permutation(logits)
        if self.kind is Normal:
            loc, raw = logits.chunk(2, -1)
            # without the floor, squares of scores would overflow where the logits are extreme
            return Normal(loc, F.softplus(raw) + 1e-4)
        # one kind states the input of its logits and the other does not, so that a baseline is tested with both
        return Bernoulli(logits, below) if self.kind is Bernoulli else Categorical(logits)


@dataclass(frozen=True)
class Recipe:
    """How to make a net: its name, the kinds of its layers, and the numbers that fix its weights.

    Args:
        name: name in messages.
        layers: the layers, from the input on.
        seed: seed of the weights.
        prior: standard deviation of the prior's logits.
        offset: subtracted from the cost, to bring its mean near zero.
        free: number of free nats of each layer's divergence, with which the slope of log q in the cost is 0 or 1
            depending on the sample; None for an ELBO.
        spare: whether the net is only for estimators that do not accept Bernoulli nodes, for which there is a similar
            net.
    """

    name: str
    layers: tuple[Layer, ...]
    seed: int
    prior: float
    offset: float
    free: float | None = None
    spare: bool = False

    def net(self, batch: tuple[int, ...] = (2,)) -> "Net":
        """A new net, always with the same weights."""
        return Net(self, batch)

    @property
    def maskable(self) -> bool:
        """Whether any of its values can be masked."""
        return any(layer.kind is not Normal for layer in self.layers)

    def accepted(self, accepts: tuple[type[Node], ...]) -> bool:
        """Whether an estimator that accepts these nodes accepts this net."""
        return all(issubclass(layer.kind, accepts) for layer in self.layers)

    def meant_for(self, accepts: tuple[type[Node], ...]) -> bool:
        """Whether an estimator that accepts these nodes is checked on this net."""
        return self.accepted(accepts) and not (self.spare and issubclass(Bernoulli, accepts))


class Net(nn.Module):
    """A net of random layers with an encoder, a decoder and a prior, and a free shift of every logit.

    Args:
        recipe: describes the net.
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
        events, sizes = [layer.event for layer in self.layers], [layer.size for layer in self.layers]
        ways = zip((2, *sizes), map(math.prod, events), strict=False)
        links = [0.7 * normal(*way) / math.sqrt(2) for way in ways]
        shifts = [torch.zeros(*batch, *event, dtype=torch.float64) for event in events]
        self.logits, self.encoder = nn.ParameterList(shifts), nn.ParameterList(links)
        self.decoder = nn.ParameterList(normal(size, 3) for size in sizes)
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
_NORMAL = Layer(Normal, (4,))
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
    Recipe("normal and bits", (_NORMAL, _BITS), 5, 0.5, 2.5),
    Recipe("permutation and bits", (Layer(Permutation, (3,)), _BITS), 14, 0.3, 1.2),
    Recipe("normal, 1 layer", (_NORMAL,), 2, 0.5, 0.0, spare=True),
    Recipe("normal, 2 layers", (_NORMAL, Layer(Normal, (2,))), 12, 0.5, 6.0, spare=True),
)


class Estimate(nn.Module):
    """A model and an estimator in one module, whose output is the estimator's scalar.

    Args:
        model: maps nothing to a program.
        estimator: an estimator that was prepared for the model.
        looped: whether its replicates are drawn one after another, since vmap cannot map it.
    """

    def __init__(self, model: nn.Module, estimator: Estimator, *, looped: bool = False) -> None:
        super().__init__()
        self.model, self.estimator, self.looped = model, estimator, looped

    def forward(self, around: Callable[[Program], Program] = lambda program: program) -> Tensor:
        """The estimator's scalar for the model's program, which ``around`` may wrap."""
        return self.estimator(around(self.model()))


def counted(program: Program, rows: list[int]) -> Program:
    """The same program, which also records how many costs each of its evaluations returned."""

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
