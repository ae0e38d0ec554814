r"""Sequence policy: an autoregressive policy generates tokens until an end token, and a rule decides the reward.

.. math:: \min \; \mathbb E_{y \sim q(y|x)} \bigl[-r(x, y)\bigr] + \beta \, \mathrm{KL}(q(y|x) \,\|\, u(y|x)),
    \qquad q(y|x) = \prod_t q(y_t \mid x, y_{<t})

This is the problem of reinforcement learning with verifiable rewards, at a size where it can be enumerated. A prompt
:math:`x` is a number below ``modulus``, and each prompt is an example. The tokens are the numbers from 1 to ``tokens``,
and the end token. The reward is 1 if the tokens before the end token sum to the prompt modulo ``modulus``, and 0
otherwise; for a sequence without an end token after ``steps`` tokens, the sum of all its tokens counts. The reference
:math:`u` draws tokens uniformly until it draws the end token, or it is the policy as it was before training.

Each step is a node. After the end token, all other classes are masked: such a step contributes 0 to :math:`\log q`,
and its logits have gradient 0. The default policy is a perceptron of the prompt, the position, the last token and the
sum so far, so that its expected reward, length and entropy follow from a recursion over these at any size. A gated
recurrent unit (``policy=gru``) does not receive the sum and has to remember it; its metrics are estimated from 32
sequences per example. The metrics are ``reward``, the probability of a correct answer; ``pass_at_8``, the probability
of at least one in 8 samples; ``length``, the mean number of tokens including the end token; ``entropy`` of the
sequence, in nats.

The sum is represented by a one-hot vector that each token permutes. The reward is therefore linear in the sample of
each step, and has a derivative for pathwise estimators.

Reference: Ahmadian et al. (2024), https://arxiv.org/abs/2402.14740, and Shao et al. (2024),
https://arxiv.org/abs/2402.03300, for the setting; Chen et al. (2021), https://arxiv.org/abs/2107.03374, for pass@k
from samples
"""

import copy
import functools
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Categorical, one_hot
from estbench.core.perceptron import network, widths
from estbench.core.program import Program, Sample, draw, lengths, repeat, run
from estbench.core.task import Batch, Method, Splits, Task

# sequences per prompt in the splits for validation and test
EVALUATED = 200
# sequences per example from which the metrics of a policy with a memory are estimated
ESTIMATED = 32


class SequencePolicy(Task):
    """Learns to generate sequences of tokens whose sum is the prompt.

    Args:
        steps: the largest number of tokens, and the number of nodes.
        tokens: number of tokens other than the end token.
        modulus: modulus of the sum, which is also the number of prompts.
        policy: ``perceptron`` or ``gru``.
        hidden: widths of the hidden layers of the perceptron, separated by spaces; a single width for the GRU.
        attempts: the k of the metric ``pass_at_k``.
        beta: weight of the divergence from the reference.
        reference: ``uniform`` tokens, or the policy at the ``start`` of training.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        steps: int = 3,
        tokens: int = 3,
        modulus: int = 5,
        policy: Literal["perceptron", "gru"] = "perceptron",
        hidden: int | str = 32,
        attempts: int = 8,
        beta: float = 0.0,
        reference: Literal["uniform", "start"] = "uniform",
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if min(steps, tokens, modulus - 1, attempts) < 1 or not 0 <= beta < math.inf:
            raise ValueError(
                f"a sequence policy needs steps >= 1, tokens >= 1, modulus >= 2, attempts >= 1 and a finite beta >= 0; "
                f"got {steps=}, {tokens=}, {modulus=}, {attempts=}, {beta=}"
            )
        self.steps, self.tokens, self.modulus, self.hidden = steps, tokens, modulus, widths(hidden)
        if policy == "gru" and len(self.hidden) != 1:
            raise ValueError(f"a GRU has one width; got hidden={hidden!r}")
        self.policy, self.attempts, self.beta, self.reference = policy, attempts, beta, reference
        self.optimizer, self.learning_rate, self.batch_size = optimizer, learning_rate, modulus

    def model(self) -> nn.Module:
        seen, classes = self.modulus + self.steps + self.tokens + 1, self.tokens + 1
        policy: _Perceptron | _GRU
        if self.policy == "gru":
            policy = _GRU(seen, self.hidden[0], classes)
        else:
            policy = _Perceptron(network((seen + self.modulus, *self.hidden, classes), "tanh"))
        return _Writer(policy, self.steps, self.tokens, self.modulus, self.beta, start=self.reference == "start")

    def splits(self) -> Splits:
        """The prompts, one-hot; in evaluation each occurs many times, since one sequence is drawn per example."""
        prompts = torch.eye(self.modulus)
        repeated = (prompts.repeat(EVALUATED, 1),)
        return Splits((prompts,), repeated, repeated)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(model, _Writer)
        found = model.expected if self.policy == "perceptron" else model.estimated
        return found(batch[0], self.attempts)


class _Perceptron(nn.Module):
    """A policy that sees the sum and needs no memory."""

    sees_sum = True

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def start(self, prompt: Tensor) -> Tensor:
        """An empty memory."""
        return prompt[..., :0]

    def forward(self, seen: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next token, ``(*samples, batch, classes)``, and the memory."""
        return self.layers(seen), memory


class _GRU(nn.Module):
    """A policy that has to remember the sum. Unlike torch's, its state broadcasts over leading dimensions."""

    sees_sum = False

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.inward, self.onward = nn.Linear(inputs, 3 * width), nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, classes)

    def start(self, prompt: Tensor) -> Tensor:
        """A memory of zeros."""
        return prompt.new_zeros(*prompt.shape[:-1], self.outward.in_features)

    def forward(self, seen: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next token, ``(*samples, batch, classes)``, and the memory."""
        (reset, keep, new), (reset_, keep_, new_) = self.inward(seen).chunk(3, -1), self.onward(memory).chunk(3, -1)
        proposed = (new + (reset + reset_).sigmoid() * new_).tanh()
        memory = proposed + (keep + keep_).sigmoid() * (memory - proposed)
        return self.outward(memory), memory


class _Writer(nn.Module):
    """The policy, and the rule by which tokens change the sum.

    The end token is the last class. It does not change the sum. At the first step it takes the place of the last token.
    """

    added: Tensor
    sums: Tensor
    places: Tensor
    only_end: Tensor

    def __init__(
        self, policy: _Perceptron | _GRU, steps: int, tokens: int, modulus: int, beta: float, *, start: bool
    ) -> None:
        super().__init__()
        self.policy, self.beta = policy, beta
        self.reference = copy.deepcopy(policy).requires_grad_(False) if start and beta else None
        dtype, sums = torch.get_default_dtype(), torch.arange(modulus)
        # what each token adds, modulo the modulus, (classes, modulus)
        added = F.one_hot(torch.tensor([*range(1, tokens + 1), 0]) % modulus, modulus)
        self.register_buffer("added", added.to(dtype))
        # the sum of each two numbers, (modulus ** 2, modulus): there are fewer of them than of tokens and sums
        self.register_buffer("sums", F.one_hot((sums[:, None] + sums) % modulus, modulus).to(dtype).flatten(0, 1))
        self.register_buffer("places", torch.eye(steps))
        # logits that mask all classes but the end
        self.register_buffer("only_end", F.pad(torch.full((tokens,), -math.inf), (0, 1)))

    def forward(self, prompt: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            reward, log_ratio = self._written(prompt, sample)
            return self.beta * log_ratio - reward if self.beta else -reward

        return program

    def _written(self, prompt: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """The reward, and the log-probability less that of the reference, ``(*samples, batch)``."""
        last, total = self._start(prompt)
        memory, other = (self.policy.start(prompt),) * 2
        alive = torch.ones_like(last[..., -1])
        log_ratio = torch.zeros_like(alive)
        for step, asked in enumerate(self._asked(prompt)):
            seen = self._seen(asked, last, total)
            logits, memory = self.policy(seen, memory)
            if step:
                logits = torch.where(last[..., -1:] > 0.5, self.only_end, logits)
            drawn, log_q = sample(f"token{step + 1}", Categorical(logits[..., None, :], seen))
            last = drawn.squeeze(-2)
            if self.beta:
                log_u, other = self._referred(seen, other, last)
                log_ratio = log_ratio + log_q - alive * log_u
                alive = 1 - last[..., -1]
            total = ((last @ self.added)[..., None] * total[..., None, :]).flatten(-2) @ self.sums
        return (total * prompt).sum(-1), log_ratio

    def _referred(self, seen: Tensor, memory: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of tokens under the reference, and its memory."""
        if self.reference is None:
            return seen.new_full((), -math.log(len(self.only_end))), memory
        logits, memory = self.reference(seen, memory)
        return (last * logits.log_softmax(-1)).sum(-1), memory

    def expected(self, prompt: Tensor, attempts: int) -> dict[str, Tensor]:
        """Expectations under the policy, by a recursion over the last token and the sum, ``(examples,)`` each."""
        classes, modulus = len(self.only_end), prompt.shape[-1]
        moves = torch.einsum("ca,ars->crs", self.added, self.sums.unflatten(0, (modulus, modulus)))
        last = torch.eye(classes).to(prompt)[:, None, None].expand(-1, modulus, len(prompt), -1)
        total = torch.eye(modulus).to(prompt)[:, None].expand(classes, -1, len(prompt), -1)
        first, zero = self._start(prompt)
        # the probability that the sequence has not ended, and that of the sums of ended ones
        alive = torch.einsum("bc,br->crb", first, zero)
        ended, length, entropy = torch.zeros_like(zero), 0.0 * zero[:, 0], 0.0 * zero[:, 0]
        for asked in self._asked(prompt):
            log_p = self.policy(self._seen(asked, last, total), self.policy.start(prompt))[0].log_softmax(-1)
            length = length + alive.sum((0, 1))
            entropy = entropy - (alive * (log_p.exp() * log_p).sum(-1)).sum((0, 1))
            drawn = torch.einsum("lrb,lrbc->crb", alive, log_p.exp())
            ended = ended + drawn[-1].T
            alive = torch.einsum("crb,crs->csb", drawn, moves)
            alive[-1] = 0
        reward = ((ended + alive.sum(0).T) * prompt).sum(-1)
        passed = 1 - (1 - reward) ** attempts
        return {"reward": reward, f"pass_at_{attempts}": passed, "length": length, "entropy": entropy}

    def estimated(self, prompt: Tensor, attempts: int) -> dict[str, Tensor]:
        """The same expectations, without bias, from sequences of the policy."""
        count = max(attempts, ESTIMATED)
        reward, sites = run(lambda sample: self._written(prompt, sample)[0], repeat(draw, count))
        right = reward.sum(0)
        # the probability that none of k of the sequences, drawn without replacement, is right
        missed = [(count - right - k).clamp_min(0) / (count - k) for k in range(attempts)]
        return {
            "reward": reward.mean(0),
            f"pass_at_{attempts}": 1 - functools.reduce(torch.mul, missed),
            "length": lengths(sites).mean(0),
            "entropy": functools.reduce(torch.add, [site.node.entropy() for site in sites.values()]).mean(0),
        }

    def _start(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Last token and sum before the first token, ``(batch, classes)`` and ``(batch, modulus)``."""
        classes = len(self.only_end)
        none = torch.zeros(len(prompt), device=prompt.device)
        return one_hot(none + classes - 1, classes, prompt.dtype), one_hot(none, prompt.shape[-1], prompt.dtype)

    def _asked(self, prompt: Tensor) -> tuple[Tensor, ...]:
        """Prompt and position at each step, ``(batch, modulus + steps)``."""
        steps, batch = len(self.places), len(prompt)
        parts = prompt.expand(steps, -1, -1), self.places[:, None].expand(-1, batch, -1)
        return torch.cat(parts, -1).unbind()

    def _seen(self, asked: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """The policy's input, ``(*samples, batch, inputs)``; the sum has all dimensions of earlier samples."""
        parts = (asked, last, total) if self.policy.sees_sum else (asked, last)
        return torch.cat([part.expand(*total.shape[:-1], -1) for part in parts], -1)
