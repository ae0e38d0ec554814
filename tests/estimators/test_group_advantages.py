"""Advantages of groups, by enumeration of all groups: what each has for a mean, and how much it varies.

The instance of one step has the logits (.3, -.2, .1), the rewards (0, 1, 3) and K samples a group. Rewards are minus
costs; all means and advantages below are those of rewards.
"""

import itertools
import math
import runpy
from functools import cache

import pytest
import torch
from torch.func import grad, vmap

from estbench import Bernoulli, Categorical, ScoreFunction, Subset, load_estimator
from tests.support import ROOT
from tests.support.gradients import FixedClasses, assert_unbiased

LOGITS = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
REWARDS = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
PROBS = LOGITS.softmax(0)
SCORES = torch.eye(3, dtype=torch.float64) - PROBS
made = cache(load_estimator)
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "group_baselines.py"))
TRUE = torch.tensor([-0.5207, -0.0657, 0.5864], dtype=torch.float64)


def groups_of(count, samples):
    """All groups of choices, ``(groups, samples)``."""
    return torch.cartesian_prod(*[torch.arange(count)] * samples).reshape(-1, samples)


def advantages(name, rewards, **facts):
    """The advantages of rewards ``(samples, *batch)``."""
    node = Bernoulli(torch.zeros(1))
    return -made(name).advantage("z", node, -rewards, torch.zeros(len(rewards), 1), **facts)


def moments(name, samples, rewards=REWARDS, probs=PROBS, scores=SCORES, lengths=None, greedy=0.0):
    """The mean of an update over all groups, and the sum of its variances."""
    index = groups_of(len(probs), samples)
    own = torch.ones_like(probs) if lengths is None else torch.tensor(lengths, dtype=torch.float64)
    known = {"lengths": own[index].T, "greedy": torch.full((len(index),), -greedy, dtype=torch.float64)}
    facts = {fact: known[fact] for fact in made(name).facts}
    advantage = advantages(name, rewards[index].T, **facts)
    update = (advantage[..., None] * scores[index].transpose(0, 1)).mean(0)
    chance = probs[index].prod(1)[:, None]
    mean = (chance * update).sum(0)
    return mean, (chance * (update - mean).square()).sum().item()


@pytest.mark.parametrize("name", ["rloo", "opo[leave_one_out=true]", "remax", "james_stein[shrinkage=0.0]", "vargrad"])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_unbiased_ones_have_the_gradient_as_mean(name, samples):
    """Whatever the lengths, the mean over all groups is the gradient of the expected reward."""
    options = name.rstrip("]") + ("," if "[" in name else "[") + f"samples={samples}]"
    mean, _ = moments(options, samples, lengths=[1, 4, 2], greedy=0.0)
    torch.testing.assert_close(mean, TRUE, atol=5e-5, rtol=0)


@pytest.mark.parametrize("samples", [2, 3, 4, 6])
def test_dr_grpo_is_rloo_times_a_constant(samples):
    """For every group the advantages of Dr. GRPO are (K-1)/K times those of RLOO."""
    rewards = REWARDS[groups_of(3, samples)].T
    ours = advantages(f"dr_grpo[samples={samples}]", rewards)
    torch.testing.assert_close(ours, advantages(f"rloo[samples={samples}]", rewards) * (samples - 1) / samples)


def test_the_group_baselines_are_one_estimator():
    """VarGrad, James-Stein without shrinkage and K/(K-1) times OPO of equal lengths are RLOO, group by group."""
    rewards = REWARDS[groups_of(3, 4)].T
    rloo = advantages("rloo[samples=4]", rewards)
    torch.testing.assert_close(advantages("vargrad[samples=4]", rewards), rloo)
    torch.testing.assert_close(advantages("james_stein[samples=4,shrinkage=0.0]", rewards), rloo)
    opo = advantages("opo[samples=4]", rewards, lengths=torch.full_like(rewards, 3))
    torch.testing.assert_close(opo * 4 / 3, rloo)
    left = advantages("opo[samples=4,leave_one_out=true]", rewards, lengths=torch.full_like(rewards, 3))
    torch.testing.assert_close(left, rloo)


@pytest.mark.parametrize("samples", [2, 3, 4, 6])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_of_right_and_wrong_grpo_makes_a_multiple_of_the_gradient(rate, samples):
    """For rewards of 0 and 1 the mean is the gradient times a factor: that of the script, and at K = 2 root 1/2."""
    probs = torch.tensor([rate, (1 - rate) / 3, 2 * (1 - rate) / 3], dtype=torch.float64)
    rewards, scores = torch.tensor([1.0, 0, 0], dtype=torch.float64), torch.eye(3, dtype=torch.float64) - probs
    mean, _ = moments(f"grpo[samples={samples},eps=0.0]", samples, rewards, probs, scores)
    factor = SCRIPT["factor"](rate, samples).item()
    torch.testing.assert_close(mean, factor * (rewards * probs) @ scores)
    assert samples > 2 or factor == pytest.approx(0.5**0.5)


def test_grpo_tends_to_one_over_the_deviation():
    """At 100,000 samples the factor is 1 over the deviation of a reward of 0 or 1, to one part in 10,000."""
    for rate in (0.05, 0.5):
        assert SCRIPT["factor"](rate, 100_000) == pytest.approx((rate * (1 - rate)) ** -0.5, rel=1e-4)


@pytest.mark.parametrize("samples", [2, 4])
def test_passk_of_right_and_wrong_leaves_out_prompts_that_succeed(samples):
    """For rewards of 0 and 1 its mean is (1-p)^(K-1) times the gradient of the success rate p."""
    rate, rewards = PROBS[0].item(), torch.tensor([1.0, 0, 0], dtype=torch.float64)
    mean, _ = moments(f"passk[samples={samples}]", samples, rewards)
    torch.testing.assert_close(mean, (1 - rate) ** (samples - 1) * (rewards * PROBS) @ SCORES)


def test_grpo_of_two_is_a_ranking():
    """With two samples the advantages are plus and minus the root of 1/2, however far the rewards are apart."""
    rewards = torch.tensor([[0.0, 5.0, 1.0], [1.0, 5.001, -100.0]], dtype=torch.float64)
    ours = advantages("grpo[samples=2,eps=0.0]", rewards, lengths=torch.ones(2, 3))
    torch.testing.assert_close(ours, 0.5**0.5 * torch.tensor([[-1.0, -1, 1], [1, 1, -1]], dtype=torch.float64))


@pytest.mark.parametrize(("samples", "found"), [(2, -0.106), (4, -0.162), (6, -0.139)])
def test_grpo_can_reverse_the_sign(samples, found):
    """Risky pays 10 with chance .2, safe pays 1, the policy is even: the gradient is +.25 and GRPO's mean negative."""
    rewards, probs = torch.tensor([10.0, 0, 1]).double(), torch.tensor([0.1, 0.4, 0.5]).double()
    scores = torch.tensor([[0.5], [0.5], [-0.5]], dtype=torch.float64)
    assert moments(f"rloo[samples={samples}]", samples, rewards, probs, scores)[0].item() == pytest.approx(0.25)
    mean, _ = moments(f"grpo[samples={samples}]", samples, rewards, probs, scores)
    assert mean.item() == pytest.approx(found, abs=5e-4)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "opo", "passk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_group_of_equal_rewards_has_no_advantage(name, dtype):
    """It is exactly 0, also for rewards that the dtype rounds and whose mean rounds to another number."""
    rewards = torch.tensor([100.1, 0.1, 1 / 3, -7.7, 1e6 / 3, 0.0]).to(dtype).expand(16, 6)
    facts = {"lengths": torch.arange(1.0, 17.0)[:, None].expand(16, 6)}
    assert (advantages(f"{name}[samples=16]", rewards, **facts) == 0).all()


def test_dividing_by_rounding_would_make_a_signal():
    """The usual formula gives sixteen equal rewards of 100.1 advantages that are not 0, so the test above can fail."""
    rewards = torch.full((16,), 100.1)
    usual = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    assert usual.abs().max() > 0.5


def test_opo_is_no_multiple_of_the_gradient():
    """With lengths 1, 4, 2 and two samples its mean is (-.301, .0005, .301)."""
    mean, _ = moments("opo[samples=2]", 2, lengths=[1, 4, 2])
    torch.testing.assert_close(mean, torch.tensor([-0.3012, 0.0005, 0.3006]).double(), atol=5e-5, rtol=0)


def test_opo_of_equal_lengths_is_dr_grpo():
    """A mean weighted by equal lengths is the mean."""
    rewards = REWARDS[groups_of(3, 3)].T
    ours = advantages("opo[samples=3]", rewards, lengths=torch.full_like(rewards, 5))
    torch.testing.assert_close(ours, advantages("dr_grpo[samples=3]", rewards))


def test_variance_of_leaving_one_out_of_opo():
    """At K = 4 it is .2339 where RLOO has .2494; at K = 2 there is one other sample, and they are equal."""
    lengths = [1, 4, 2]
    assert moments("opo[samples=4,leave_one_out=true]", 4, lengths=lengths)[1] == pytest.approx(0.2339, abs=5e-5)
    assert moments("rloo[samples=4]", 4)[1] == pytest.approx(0.2494, abs=5e-5)
    two = moments("opo[samples=2,leave_one_out=true]", 2, lengths=lengths)[1]
    assert two == pytest.approx(moments("rloo[samples=2]", 2)[1])


def test_remax_gains_nothing_where_the_greedy_reward_is_0():
    """The variance is that without baseline, 1.632; the mean reward as baseline would leave .422."""
    assert moments("remax", 1, greedy=0.0)[1] == pytest.approx(1.632, abs=5e-4)
    assert moments("reinforce", 1)[1] == pytest.approx(1.632, abs=5e-4)
    mean = float((PROBS * REWARDS).sum())
    assert moments("remax", 1, greedy=mean)[1] == pytest.approx(0.422, abs=5e-4)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_passk_is_the_gradient_of_the_best_over_k(samples):
    """K times its mean is the gradient of the expected best reward of K samples, by enumeration and autograd."""
    index = groups_of(3, samples)

    def best(logits):
        return (logits.softmax(0)[index].prod(1) * REWARDS[index].amax(1)).sum()

    mean, _ = moments(f"passk[samples={samples}]", samples)
    torch.testing.assert_close(samples * mean, grad(best)(LOGITS))


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
def test_james_stein_is_unbiased_at_a_fixed_shrinkage(shrinkage):
    """With two prompts and two samples, the mean over all 81 groups is the gradient of each."""
    index = groups_of(3, 4).reshape(-1, 2, 2).transpose(1, 2)
    both = torch.stack([REWARDS, 2 - REWARDS])
    rewards = both[torch.arange(2), index]
    found = torch.stack([advantages(f"james_stein[samples=2,shrinkage={shrinkage}]", each) for each in rewards])
    update = (found[..., None] * SCORES[index]).mean(1)
    mean = (PROBS[index].flatten(1).prod(1)[:, None, None] * update).sum(0)
    torch.testing.assert_close(mean, torch.stack([TRUE, -TRUE]), atol=5e-5, rtol=0)


def test_james_stein_helps_where_prompts_are_alike():
    """For two equal prompts and two samples, half and full shrinkage leave 46.2 and 45.4 % of RLOO's variance."""
    index = groups_of(3, 4).reshape(-1, 2, 2).transpose(1, 2)
    chance = PROBS[index].flatten(1).prod(1)[:, None, None]

    def variance(shrinkage):
        name = f"james_stein[samples=2,shrinkage={shrinkage}]"
        found = torch.stack([advantages(name, each) for each in REWARDS[index]])
        update = (found[..., None] * SCORES[index]).mean(1)
        return float((chance * (update - (chance * update).sum(0)).square()).sum())

    assert variance(0.0) == pytest.approx(2 * moments("rloo[samples=2]", 2)[1])
    assert variance(0.5) / variance(0.0) == pytest.approx(0.4618, abs=5e-5)
    assert variance(1.0) / variance(0.0) == pytest.approx(0.4542, abs=5e-5)


def test_the_estimators_are_their_advantages():
    """The gradient for the logits is the mean of cost advantage times score, here for a group of four."""
    value = torch.eye(3, dtype=torch.float64)[torch.tensor([2, 0, 1, 1])].reshape(4, 1, 1, 3)
    for name in ("grpo", "dr_grpo", "passk", "opo", "james_stein"):
        estimator = load_estimator(name)

        def loss(logits, estimator=estimator):
            node = FixedClasses(logits, value=value)
            return estimator(lambda sample: -(sample("z", node)[0] * REWARDS).sum((-2, -1)))

        rewards = REWARDS[value.argmax(-1)][..., 0]
        found = advantages(name, rewards, **dict.fromkeys(estimator.facts, torch.ones(4, 1).double()))
        expected = -(found[..., None] * SCORES[value.argmax(-1)[..., 0]]).mean(0)
        torch.testing.assert_close(grad(loss)(LOGITS.reshape(1, 1, 3)).flatten(), expected.flatten())


class Told(ScoreFunction):
    """Notes what its hook is told."""

    unbiased = False
    facts = ("greedy", "lengths")

    def __init__(self, samples=3):
        super().__init__(samples)
        self.told = []

    def advantage(self, name, node, cost, value, **facts):
        self.told.append((name, cost, value, facts))
        return torch.zeros_like(cost)


def sequence(logits):
    """Two tokens of three classes: the first is the end with class 2, and after it only class 2 is left."""

    def program(sample):
        first, log_q = sample("first", Categorical(logits))
        ended = first[..., 2:] > 0.5
        rest = torch.tensor([-torch.inf, -torch.inf, 0.0]).where(ended, logits)
        second, log_r = sample("second", Categorical(rest))
        return (first[..., 0, 0] + 2 * second[..., 0, 1]) + 0 * (log_q + log_r)

    return program


def test_the_hook_is_told_lengths_and_the_greedy_cost():
    """A sample has length 1 if its first token is the end, else 2; the greedy cost is that of the most probable."""
    torch.manual_seed(0)
    logits = torch.tensor([[[0.1, 0.5, 0.0]], [[0.1, 0.0, 0.5]]])
    estimator = Told(64)
    estimator(sequence(logits))
    (one, cost, first, facts), (other, *_) = estimator.told
    assert (one, other) == ("first", "second")
    assert cost.shape == (64, 2)
    torch.testing.assert_close(facts["lengths"], 2 - first[..., 0, 2])
    assert facts["greedy"].tolist() == [2.0, 0.0]
    assert estimator.evaluations([]) == 65


def test_masked_tokens_have_no_score():
    """The token after the end has log q exactly 0 and gradient exactly 0 for each of its logits, from any estimator."""
    ended = torch.tensor([[[-torch.inf, -torch.inf, 0.0]]])
    for name in ("rloo", "grpo", "opo[leave_one_out=true]", "remax"):
        leaf = torch.zeros(1, 1, 3, requires_grad=True)
        free = torch.tensor([[[0.2, 0.1, -0.4]]])
        seen = []

        def program(sample, leaf=leaf, free=free, seen=seen):
            first, _ = sample("first", Categorical(free))
            last, log_q = sample("last", Categorical(ended + leaf))
            seen.append(log_q)
            return first[..., 0, 0] + last[..., 0, 0]

        load_estimator(name)(program).backward()
        assert (leaf.grad == 0).all()
        assert all((log_q == 0).all() for log_q in seen)


def test_old_plugins_and_new_ones_are_told_apart():
    """A class with a baseline or an advantage is concrete; a class with neither is abstract."""
    with pytest.raises(TypeError, match="abstract"):
        type("Neither", (ScoreFunction,), {"unbiased": True})()

    class Half(ScoreFunction):
        unbiased = False

        def advantage(self, name, node, cost, value):
            return cost / 2

    node = Bernoulli(torch.zeros(1))
    loss = lambda logits: Half()(lambda sample: sample("z", node.at(logits))[0].sum(-1))  # noqa: E731
    torch.manual_seed(0)
    found = vmap(lambda _: grad(loss)(torch.zeros(1)), randomness="different")(torch.zeros(4000))
    assert found.mean() == pytest.approx(0.125, abs=0.02)


def factor(samples, p):
    """The mean advantage of a reward of 1 less that of a reward of 0, the others' rewards being binomial."""
    total = 0.0
    for others in range(samples):
        chance = math.comb(samples - 1, others) * p**others * (1 - p) ** (samples - 1 - others)
        for own, sign in ((1.0, 1), (0.0, -1)):
            rewards = torch.tensor([own] + [1.0] * others + [0.0] * (samples - 1 - others), dtype=torch.float64)
            deviation = rewards.std().item()
            total += sign * chance * (0.0 if deviation == 0 else (own - rewards.mean().item()) / deviation)
    return total


@pytest.mark.parametrize("samples", [2, 4, 8])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_grpo_weights_prompts_by_a_factor_of_the_success_rate(samples, p):
    """With rewards of 0 and 1 its mean over all groups is the gradient of p, p (1 - p), times a binomial mean."""
    probs = torch.tensor([1 - p, p], dtype=torch.float64)
    scores = torch.tensor([[-p], [1 - p]], dtype=torch.float64)
    mean, _ = moments(f"grpo[samples={samples},eps=0.0]", samples, torch.tensor([0.0, 1.0]).double(), probs, scores)
    assert mean.item() == pytest.approx(factor(samples, p) * p * (1 - p), abs=1e-9)
    if samples == 2:
        assert factor(samples, p) == pytest.approx(math.sqrt(0.5))


SUBSET_LOGITS = torch.tensor([0.5, -0.3, 0.2, -1.0], dtype=torch.float64)
SUBSET_WEIGHTS = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)


def subset_cost(value):
    return (value @ SUBSET_WEIGHTS - 1.3).square()


@cache
def on_subsets(name):
    """The mean over all groups of two subsets, by the advantages and an enumeration of the six subsets of two items."""
    pairs = list(itertools.combinations(range(4), 2))
    values = torch.tensor([[float(i in pair) for i in range(4)] for pair in pairs], dtype=torch.float64)
    probs = (values @ SUBSET_LOGITS).softmax(0)
    lengths = [4.0] * 6
    greedy = -subset_cost(values[probs.argmax()]).item()
    return -moments(name, 2, -subset_cost(values), probs, values - probs @ values, lengths, greedy)[0]


@pytest.mark.parametrize("name", ["rloo", "opo[leave_one_out=true,samples=2]", "remax[samples=2]", "vargrad"])
def test_on_subsets_the_unbiased_ones_have_the_gradient_as_mean(name):
    """The mean over all groups of subsets is the gradient of the expected cost, by the enumeration of ``exact``."""
    wanted = grad(lambda t: made("exact")(lambda sample: subset_cost(sample("z", Subset(t, 2))[0])))(SUBSET_LOGITS)
    torch.testing.assert_close(on_subsets(name), wanted)


@pytest.mark.parametrize("name", ["rloo", *(f"{name}[samples=2]" for name in ("dr_grpo", "grpo", "opo", "passk"))])
def test_on_subsets_the_estimator_has_the_mean_of_its_groups(name):
    """The mean of 8,192 gradients of a subset program is that over all groups; a false alarm in a million runs."""
    torch.manual_seed(0)

    def once(_):
        return grad(lambda t: made(name)(lambda sample: subset_cost(sample("z", Subset(t, 2))[0])))(SUBSET_LOGITS)

    assert_unbiased(vmap(once, randomness="different")(torch.zeros(8192)), on_subsets(name))
