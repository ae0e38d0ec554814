r"""Travelling salesman: an order of cities, drawn item by item, whose closed tour is to be short.

.. math:: \min \; \mathbb E_{\pi \sim q(\pi|x)} \sum_{j} \lVert x_{\pi_j} - x_{\pi_{j+1}} \rVert

An example is a set of cities, uniform in the unit square; a network maps their coordinates to the logits of a
permutation. The order has a start and a direction, and the tour has none, so that many orders are equally short: what
one logit for each city can express is a rough order, and the best such policy is not the best tour. By default there
are 120 orders, all of which ``exact`` enumerates.

Evaluation tells the length of the most probable tour, and its ratio to that of the shortest one, by enumeration.

Reference: Bello, Pham, Le, Norouzi & Bengio (2017), https://arxiv.org/abs/1611.09940, who train a recurrent network on
tours with REINFORCE
"""

import itertools

import torch
from torch import Tensor, nn

from estbench.core.node import Permutation
from estbench.core.perceptron import network, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task

SEED = 19540000
SIZES = (2_000, 500, 500)


class TravellingSalesman(Task):
    """Learns short tours.

    Args:
        cities: from 3 to 8.
        hidden: widths of the hidden layers, separated by spaces.
        batch_size: examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        cities: int = 5,
        hidden: int | str = "64 64",
        batch_size: int = 50,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if not 3 <= cities <= 8 or batch_size < 1:
            raise ValueError(
                f"travelling_salesman needs 3 to 8 cities and batch_size >= 1; got {cities=}, {batch_size=}"
            )
        self.cities, self.hidden, self.batch_size = cities, widths(hidden), batch_size
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Tourist(network((2 * self.cities, *self.hidden, self.cities), "relu"))

    def splits(self) -> Splits:
        """Coordinates, ``(examples, cities, 2)``."""
        generator = torch.Generator().manual_seed(SEED)
        return Splits(*((torch.rand(size, self.cities, 2, generator=generator),) for size in SIZES))

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        (x,) = batch
        assert isinstance(model, _Tourist)
        found = tour(x, model.order(x).most_probable())
        # a tour has no start, so that one city may come first
        rest = [(0, *order) for order in itertools.permutations(range(1, self.cities))]
        every = torch.tensor(rest, device=x.device)[:, None]
        return {"tour": found, "over_shortest": found / tour(x, every).amin(0)}


class _Tourist(nn.Module):
    def __init__(self, encoder: nn.Sequential) -> None:
        super().__init__()
        self.encoder = encoder

    def order(self, x: Tensor) -> Permutation:
        """The order of the cities."""
        return Permutation(self.encoder(x.flatten(-2)), x.flatten(-2))

    def forward(self, x: Tensor) -> Program:
        q = self.order(x)

        def program(sample: Sample) -> Tensor:
            places, _ = sample("order", q)
            return tour(x, places)

        return program


def tour(x: Tensor, places: Tensor) -> Tensor:
    """The lengths of closed tours ``(*samples, batch)`` through cities ``(batch, cities, 2)`` by their places."""
    order = places.argsort(dim=-1)
    shape = torch.broadcast_shapes(order.shape, x.shape[:-1])
    stops = x.expand(*shape, 2).gather(-2, order.expand(shape)[..., None].expand(*shape, 2))
    return (stops - stops.roll(-1, -2)).square().sum(-1).sqrt().sum(-1)
