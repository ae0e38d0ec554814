r"""Coverage: choose k of n sets of elements, so that what they cover together weighs most.

.. math:: \min \; \mathbb E_{S \sim q(S|w)} \Bigl[1 - \frac{\sum_e w_e \, 1[e \in \bigcup_{i \in S} A_i]}{\sum_e w_e}
    \Bigr], \qquad |S| = k

An example is a vector of weights of the elements, each of them exponentially distributed; the sets are the same for
all examples, and each holds each element with probability ``density``. A network maps weights to the logits of a
subset. The cost is no sum over sets, since two sets that overlap cover less than the sum of both. By default there are
56 subsets, all of which ``exact`` enumerates.

Evaluation tells the coverage of the most probable subset, and its ratio to the coverage of the greedy choice, which
adds the set that covers most of what is left, and is never below :math:`1 - 1/e` of the best.

Reference: Nemhauser, Wolsey & Fisher (1978), https://doi.org/10.1007/BF01588971, on the greedy choice
"""

import torch
from torch import Tensor, nn

from estbench.core.node import Subset
from estbench.core.perceptron import network, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task

SEED = 19780000
SIZES = (2_000, 500, 500)


class Coverage(Task):
    """Learns which k sets cover most weight.

    Args:
        sets: n, how many sets there are.
        chosen: k, how many of them are chosen.
        elements: how many elements there are to cover.
        density: the probability of an element to be in a set.
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
        sets: int = 8,
        chosen: int = 3,
        elements: int = 16,
        density: float = 0.25,
        hidden: int | str = 64,
        batch_size: int = 50,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if not 1 <= chosen <= sets or elements < 1 or not 0 < density <= 1 or batch_size < 1:
            raise ValueError(
                f"coverage needs 1 <= chosen <= sets, elements >= 1, a density in (0, 1] and batch_size >= 1; got "
                f"{chosen=}, {sets=}, {elements=}, {density=}, {batch_size=}"
            )
        self.sets, self.chosen, self.elements, self.density = sets, chosen, elements, density
        self.hidden, self.batch_size = widths(hidden), batch_size
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Cover(network((self.elements, *self.hidden, self.sets), "relu"), self._members(), self.chosen)

    def splits(self) -> Splits:
        """Weights of the elements, ``(examples, elements)``."""
        generator = torch.Generator().manual_seed(SEED + 1)
        made = (torch.rand(size, self.elements, generator=generator) for size in SIZES)
        return Splits(*((-torch.log1p(-u),) for u in made))

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        (weights,) = batch
        assert isinstance(model, _Cover)
        found = model.covered(model.selection(weights).most_probable(), weights)
        return {"coverage": found, "over_greedy": found / model.covered(_greedy(model, weights), weights)}

    def _members(self) -> Tensor:
        """Which elements are in which set, ``(sets, elements)``; every element is in at least one."""
        generator = torch.Generator().manual_seed(SEED)
        members = (torch.rand(self.sets, self.elements, generator=generator) < self.density).float()
        one = torch.randint(self.sets, (self.elements,), generator=generator)
        members[one, torch.arange(self.elements)] = 1.0
        return members


class _Cover(nn.Module):
    members: Tensor

    def __init__(self, encoder: nn.Sequential, members: Tensor, chosen: int) -> None:
        super().__init__()
        self.encoder, self.chosen = encoder, chosen
        self.register_buffer("members", members)

    def selection(self, weights: Tensor) -> Subset:
        """Which sets are chosen."""
        return Subset(self.encoder(weights), self.chosen, weights)

    def covered(self, chosen: Tensor, weights: Tensor) -> Tensor:
        """The share of the weight that is covered, ``(*samples, batch)``; multilinear in the choice of each set."""
        missed = (1 - chosen[..., None] * self.members).prod(-2)
        return ((1 - missed) * weights).sum(-1) / weights.sum(-1)

    def forward(self, weights: Tensor) -> Program:
        q = self.selection(weights)

        def program(sample: Sample) -> Tensor:
            chosen, _ = sample("chosen", q)
            return 1 - self.covered(chosen, weights)

        return program


def _greedy(model: _Cover, weights: Tensor) -> Tensor:
    """The choice that adds, one after another, the set that covers most of what is left, ``(batch, sets)``."""
    chosen = weights.new_zeros(len(weights), len(model.members))
    for _ in range(model.chosen):
        missed = (1 - chosen[..., None] * model.members).prod(-2)
        gain = (missed * weights) @ model.members.T
        best = gain.masked_fill(chosen > 0, -1.0).argmax(-1, keepdim=True)
        chosen = chosen.scatter(-1, best, 1.0)
    return chosen
