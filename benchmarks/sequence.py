"""A step of ``sequence_policy`` with RLOO over the same step in plain torch: ``python -m benchmarks.sequence``.

The step by hand is written as for this policy and this estimator alone: tokens and sums are integers, and of the graph
there is no more than the gradient needs. A ratio of 1.05 says that estbench takes 5 % longer. The last lines say how
many times as fast as a loop of backward passes the moments of the gradient on the exact instance are.
"""

import argparse

import numpy as np
import torch

from benchmarks._interleaved import ratios
from benchmarks.moments import Case
from estbench import load_estimator, load_task
from estbench.stats import median_interval

SIZES = {
    "exact instance": "sequence_policy",
    "6 tokens, 16 prompts": "sequence_policy[steps=6,modulus=16]",
    "6 tokens, 16 prompts, hidden 256 256": "sequence_policy[steps=6,modulus=16,hidden=256 256]",
}


def by_hand(model, prompts, samples):
    """The loss of RLOO with so many samples a prompt; ``prompts``: their numbers, ``(batch,)``."""
    (classes, modulus), steps = model.added.shape, len(model.places)
    end = classes - 1
    eye, places, tokens = torch.eye(modulus), torch.eye(steps), torch.eye(classes)
    asked = eye[prompts].expand(samples, -1, -1)
    total = torch.zeros(samples, len(prompts), dtype=torch.long)
    last, log_q = torch.full_like(total, end), torch.zeros(total.shape)
    alive = torch.ones_like(log_q)
    for step in range(steps):
        place = places[step].expand(*total.shape, -1)
        log_p = model.policy.layers(torch.cat([asked, place, tokens[last], eye[total]], -1)).log_softmax(-1)
        drawn = torch.multinomial(log_p.detach().exp().flatten(0, 1), 1).reshape(total.shape)
        last = torch.where(alive > 0, drawn, end)
        log_q = log_q + alive * log_p.gather(-1, last[..., None])[..., 0]
        total = (total + (last + 1) % classes) % modulus
        alive = alive * (last != end)
    reward = (total == prompts).to(log_q.dtype)
    advantage = reward - (reward.sum(0) - reward) / (samples - 1)
    return -(advantage * log_q).mean()


def step_of(hand, spec, samples):
    """A function that takes a training step, of a fresh model."""
    torch.manual_seed(0)
    task = load_task(spec)
    model, (prompts,) = task.model(), task.splits().train
    estimator = load_estimator("rloo", samples=samples).prepare(model(prompts))
    trainer, numbers = task.trainer(model, estimator), prompts.argmax(-1)

    def step():
        trainer.zero_grad()
        loss = by_hand(model, numbers, samples) if hand else estimator(model(prompts))
        loss.backward()
        trainer.step()

    for _ in range(10):
        step()
    return step


def compare(spec, samples, rounds, seconds):
    """Median ratio of a step through estbench to one by hand, with its interval; every round has fresh models."""
    found = []
    for _ in range(rounds):
        hand, ours = step_of(True, spec, samples), step_of(False, spec, samples)
        found.append(np.median(ratios(hand, ours, 3, seconds)))
    return median_interval(np.array(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.05, help="shortest time for which each side runs in a block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for title, spec in SIZES.items():
        ratio, low, high = compare(spec, options.samples, options.rounds, options.seconds)
        print(f"{title:40} {ratio:6.3f} [{low:.3f}, {high:.3f}]", flush=True)
    for group in ("logits", "policy"):
        case = Case.of("sequence_policy", group, f"rloo[samples={options.samples}]")
        middle, low, high = median_interval(case.faster(options.rounds))
        print(f"moments over loop, {group:21} {middle:6.1f} [{low:.1f}, {high:.1f}]", flush=True)


if __name__ == "__main__":
    main()
