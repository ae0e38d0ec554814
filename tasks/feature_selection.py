r"""Feature selection: a few features decide the class of an example, and which ones differs between examples.

.. math:: \min \; \mathbb E_{b \sim q(b|x)} \bigl[-\log p(y \mid b \odot x)\bigr] + \lambda \, \mathbb E \, \bar b

A selector sees all features and decides with one bit per feature which ones to keep; a predictor sees the others as
zeros. Features are standard normal, and the class depends on two to five of them. In ``syn4`` to ``syn6`` feature 11
selects one of two rules; all other features are noise. The latent bits are needed: a fixed selection must keep the
features of both rules, and a relaxed one shows the predictor a scaled copy of the features that it does not keep. The
data are generated from a fixed seed, so the true features are known, and evaluation gives precision and recall of the
most probable selection beside the accuracy of the prediction. At a penalty of .1 instead of .05, relevant features are
lost early in training and do not return. As selector and predictor are trained together, the selection itself may
encode which rule applies, without feature 11.

With ``keep=k``, a subset of exactly k features is kept for every example, as in Chen et al. (2018); the penalty is then
a constant.

This task is here instead of ListOps: on that data latent trees have been found to be worse than sequential networks
without any (Nangia & Bowman, 2018, https://arxiv.org/abs/1804.06028), so that the result of training says little about
an estimator.

Reference: Yoon, Jordon & van der Schaar (2019), https://openreview.net/forum?id=BJg_roAcK7, with the constants of the
authors' code for the third rule; Chen, Song, Wainwright & Jordan (2018), https://arxiv.org/abs/1802.07814
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Node, Subset
from estbench.core.perceptron import network, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task

Rules: TypeAlias = Literal["syn1", "syn2", "syn3", "syn4", "syn5", "syn6"]
SEED = 20190506
SIZES = (10_000, 2_000, 10_000)
SWITCH = 10
RELEVANT = {1: range(2), 2: range(2, 6), 3: range(6, 10)}
RULES = {"syn1": (1, 1), "syn2": (2, 2), "syn3": (3, 3), "syn4": (1, 2), "syn5": (1, 3), "syn6": (2, 3)}


class FeatureSelection(Task):
    """Learns to classify from a few features, which are chosen for each example.

    Args:
        rules: ``syn1`` to ``syn3`` have one rule, ``syn4`` to ``syn6`` have two.
        features: number of features, at least 11, of which up to 9 matter.
        penalty: weight of the share of features that are kept.
        keep: how many features are kept for every example; 0 for any number, a bit for each feature.
        hidden: widths of the hidden layers of selector and predictor, separated by spaces.
        batch_size: number of examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        rules: Rules = "syn6",
        features: int = 11,
        penalty: float = 0.05,
        keep: int = 0,
        hidden: int | str = "100 100",
        batch_size: int = 100,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if features <= SWITCH or not penalty >= 0 or batch_size < 1:
            raise ValueError(
                f"feature selection needs features >= 11, penalty >= 0 and batch_size >= 1; got {features=}, "
                f"{penalty=}, {batch_size=}"
            )
        if not 0 <= keep <= features:
            raise ValueError(f"keep is a number of features from 1 to {features}, or 0 for any number; got {keep}")
        self.keep = keep
        self.rules, self.features, self.penalty, self.hidden = RULES[rules], features, penalty, widths(hidden)
        self.batch_size, self.optimizer, self.learning_rate = batch_size, optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Selector(
            network((self.features, *self.hidden, self.features), "relu"),
            network((self.features, *self.hidden, 1), "relu"),
            self.penalty,
            self.keep,
        )

    def splits(self) -> Splits:
        """Features, classes 0 and 1, and which features matter."""
        generator = torch.Generator().manual_seed(SEED)
        return Splits(*(self._made(size, generator) for size in SIZES))

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        x, y, relevant = batch
        assert isinstance(model, _Selector)
        kept = model.selection(x).most_probable()
        right = (kept * relevant).sum(-1)
        found = (model.predict(x, kept) > 0).to(x.dtype) == y
        return {
            "accuracy": found.to(x.dtype),
            # an empty selection contains no wrong feature
            "precision": torch.where(kept.sum(-1) > 0, right / kept.sum(-1).clamp_min(1), 1.0),
            "recall": right / relevant.sum(-1),
        }

    def _made(self, examples: int, generator: torch.Generator) -> Batch:
        x = torch.randn(examples, self.features, generator=generator)
        first = x[:, SWITCH] < 0
        one, other = (_log_odds(rule, x) for rule in self.rules)
        odds = torch.where(first, one, other)
        y = (torch.rand(examples, generator=generator) < odds.sigmoid()).float()
        relevant = torch.zeros_like(x)
        for rule, rows in zip(self.rules, (first, ~first), strict=True):
            relevant[:, list(RELEVANT[rule])] += rows[:, None]
        relevant[:, SWITCH] = float(self.rules[0] != self.rules[1])
        return x, y, relevant


def _log_odds(rule: int, x: Tensor) -> Tensor:
    """Log-odds of class 1, ``(examples,)``."""
    if rule == 1:
        return -x[:, 0] * x[:, 1]
    if rule == 2:
        return 4 - x[:, 2:6].square().sum(-1)
    return 10 * (0.2 * x[:, 6]).sin() - x[:, 7].abs() - x[:, 8] - (-x[:, 9]).exp() + 2.4


class _Selector(nn.Module):
    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential, penalty: float, keep: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.penalty, self.keep = encoder, decoder, penalty, keep

    def selection(self, x: Tensor) -> Node:
        """Which features are kept."""
        logits = self.encoder(x)
        return Subset(logits, self.keep, x) if self.keep else Bernoulli(logits, x)

    def predict(self, x: Tensor, kept: Tensor) -> Tensor:
        """Log-odds of class 1 from the features that are kept, ``(*samples, batch)``."""
        return self.decoder(x * kept).squeeze(-1)

    def forward(self, x: Tensor, y: Tensor, _relevant: Tensor) -> Program:
        q = self.selection(x)

        def program(sample: Sample) -> Tensor:
            kept, _ = sample("kept", q)
            log_p = Bernoulli(self.predict(x, kept)[..., None]).log_prob(y[..., None])
            return self.penalty * kept.mean(-1) - log_p

        return program
