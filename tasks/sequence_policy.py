r"""Sequence policy: an autoregressive policy writes tokens until it ends, and a rule decides whether they are right.

.. math:: \min \; \mathbb E_{y \sim q(y|x)} \bigl[-r(x, y)\bigr] + \beta \, \mathrm{KL}(q(y|x) \,\|\, u(y)),
    \qquad q(y|x) = \prod_t q(y_t \mid x, y_{<t})

This is the problem of reinforcement learning with verifiable rewards, at a size where it can be enumerated. A prompt
:math:`x` is a number below ``modulus``, and all of them are the examples. The tokens are the numbers from 1 to
``tokens``, and the end. The reward is 1 if the tokens before the end sum to the prompt modulo ``modulus``, and 0
otherwise; a sequence that has not ended after ``steps`` tokens is judged as it is. :math:`u` draws tokens uniformly
until it draws the end.

Each step is a node. After the end, all classes but the end are masked: such a step contributes 0 to :math:`\log q`,
and its logits have gradient 0. The policy is a perceptron that sees the prompt, the position, the last token and the
sum so far, so that its expected reward, length and entropy follow from a recursion over these at any size. They are
metrics, without noise: ``reward``, the probability of a right answer; ``pass_at_8``, that of at least one in 8
samples; ``length``, the mean number of tokens with the end; ``entropy`` of the sequence, in nats.

The sum is kept as a one-hot vector that each token permutes. The reward is therefore linear in the sample of each
step, and pathwise estimators find a derivative in it.

Reference: Ahmadian et al. (2024), https://arxiv.org/abs/2402.14740, and Shao et al. (2024),
https://arxiv.org/abs/2402.03300, for the setting
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Categorical, one_hot
from estbench.core.perceptron import network, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task

ATTEMPTS = 8
# sequences per prompt in the splits for validation and test
EVALUATED = 200


class SequencePolicy(Task):
    """Learns to write sequences of tokens whose sum is the prompt's.

    Args:
        steps: the largest number of tokens, and the number of nodes.
        tokens: number of tokens beside the end.
        modulus: of the sum, and the number of prompts.
        hidden: widths of the hidden layers of the policy, separated by spaces.
        beta: weight of the divergence from uniformly drawn tokens.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        steps: int = 3,
        tokens: int = 3,
        modulus: int = 5,
        hidden: int | str = 32,
        beta: float = 0.0,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if steps < 1 or tokens < 1 or modulus < 2 or not 0 <= beta < math.inf:
            raise ValueError(
                f"a sequence policy needs steps >= 1, tokens >= 1, modulus >= 2 and a finite beta >= 0; got {steps=}, "
                f"{tokens=}, {modulus=}, {beta=}"
            )
        self.steps, self.tokens, self.modulus, self.hidden = steps, tokens, modulus, widths(hidden)
        self.beta, self.batch_size = beta, modulus
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        inputs = self.modulus + self.steps + self.tokens + 1 + self.modulus
        policy = network((inputs, *self.hidden, self.tokens + 1), "tanh")
        return _Writer(policy, self.steps, self.tokens, self.modulus, self.beta)

    def splits(self) -> Splits:
        """The prompts, one-hot. An evaluation draws one sequence per example: so it has each prompt many times."""
        prompts = torch.eye(self.modulus)
        repeated = (prompts.repeat(EVALUATED, 1),)
        return Splits((prompts,), repeated, repeated)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(model, _Writer)
        return model.expected(*batch)


class _Writer(nn.Module):
    """The policy, and the rule by which tokens move the sum.

    The end is the last class. It leaves the sum as it is, and stands for the last token before the first one is drawn.
    """

    moves: Tensor

    def __init__(self, policy: nn.Sequential, steps: int, tokens: int, modulus: int, beta: float) -> None:
        super().__init__()
        self.policy, self.steps, self.beta = policy, steps, beta
        added = torch.tensor([*range(1, tokens + 1), 0])
        after = (added[:, None] + torch.arange(modulus)) % modulus
        self.register_buffer("moves", F.one_hot(after, modulus).to(torch.get_default_dtype()))

    def forward(self, prompt: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            last, total = self._start(prompt)
            alive = torch.ones_like(prompt[..., 0])
            log_ratio = torch.zeros_like(alive)
            for step in range(self.steps):
                seen = self._seen(prompt, step, last, total)
                logits = torch.where(alive[..., None] > 0.5, self.policy(seen), self._only_end(prompt))
                drawn, log_q = sample(f"token{step + 1}", Categorical(logits[..., None, :], seen))
                # the reference draws each class with the same probability
                log_ratio = log_ratio + log_q + alive * math.log(len(self.moves))
                total = torch.einsum("...c,...r,crs->...s", drawn[..., 0, :], total, self.moves)
                last = drawn[..., 0, :].expand(*total.shape[:-1], -1)
                alive = alive * (1 - last[..., -1])
            reward = (total * prompt).sum(-1)
            return self.beta * log_ratio - reward if self.beta else -reward

        return program

    def expected(self, prompt: Tensor) -> dict[str, Tensor]:
        """Expectations under the policy, by a recursion over the last token and the sum, ``(examples,)`` each."""
        classes, modulus = self.moves.shape[:2]
        last = torch.eye(classes).to(prompt)[:, None, None].expand(-1, modulus, len(prompt), -1)
        total = torch.eye(modulus).to(prompt)[:, None]
        first, zero = self._start(prompt)
        # the probability that the sequence has not ended, and that of the sums of ended ones
        alive = torch.einsum("bc,br->crb", first, zero)
        ended, length, entropy = torch.zeros_like(zero), 0.0 * zero[:, 0], 0.0 * zero[:, 0]
        for step in range(self.steps):
            log_p = self.policy(self._seen(prompt, step, last, total)).log_softmax(-1)
            length = length + alive.sum((0, 1))
            entropy = entropy - (alive * (log_p.exp() * log_p).sum(-1)).sum((0, 1))
            drawn = torch.einsum("lrb,lrbc->crb", alive, log_p.exp())
            ended = ended + drawn[-1].T
            alive = torch.einsum("crb,crs->csb", drawn, self.moves)
            alive[-1] = 0
        reward = ((ended + alive.sum(0).T) * prompt).sum(-1)
        passed = 1 - (1 - reward) ** ATTEMPTS
        return {"reward": reward, f"pass_at_{ATTEMPTS}": passed, "length": length, "entropy": entropy}

    def _start(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Last token and sum before the first token, ``(batch, classes)`` and ``(batch, modulus)``."""
        classes, modulus = self.moves.shape[:2]
        none = torch.zeros(len(prompt), device=prompt.device)
        return one_hot(none + classes - 1, classes, prompt.dtype), one_hot(none, modulus, prompt.dtype)

    def _only_end(self, prompt: Tensor) -> Tensor:
        """Logits that mask all classes but the end, ``(classes,)``."""
        return F.pad(prompt.new_full((len(self.moves) - 1,), -math.inf), (0, 1))

    def _seen(self, prompt: Tensor, step: int, last: Tensor, total: Tensor) -> Tensor:
        """The policy's input: prompt, position, last token and sum, ``(*samples, batch, inputs)``."""
        position = torch.eye(self.steps).to(prompt)[step]
        shape = torch.broadcast_shapes(last.shape[:-1], total.shape[:-1])
        return torch.cat([part.expand(*shape, part.shape[-1]) for part in (prompt, position, last, total)], -1)
