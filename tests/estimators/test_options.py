"""Biased estimators against what they estimate, and the options of all of them."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from estbench import load_estimator
from estbench.core.estimator import NotApplicableError
from estbench.core.node import Bernoulli, Categorical
from estbench.errors import UserError
from estbench.plugins.registry import discover
from tests.support import ROOT
from tests.support.gradients import (
    LOGITS,
    NODES,
    FixedClasses,
    assert_unbiased,
    cubic,
    exact,
    expected,
    gradient,
    program,
    replicates,
    scalar,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---- biased estimators against what they estimate


def test_gumbel_rao_averages_straight_through_gumbel_softmax():
    """Same mean, and a variance that is linear in 1 / K (Paulus et al., proposition 3)."""
    node = Categorical(LOGITS["classes"])
    many = {k: replicates(load_estimator("gumbel_rao", noises=k), node, cubic) for k in (1, 4, 16)}
    plain = replicates(load_estimator("st_gumbel_softmax"), node, cubic)
    error = plain.mean(0) - many[16].mean(0)
    assert (error.abs() < 5 * (2 * plain.var(0) / len(plain)).sqrt()).all()
    spread = {k: g.var(0).sum().item() for k, g in many.items()}
    assert spread[1] == pytest.approx(plain.var(0).sum().item(), rel=0.1)
    assert (spread[1] - spread[4]) / (spread[4] - spread[16]) == pytest.approx(4, rel=0.4)


def test_gumbel_rao_tends_to_zgr():
    """At a low temperature the average over the noise is ZGR's derivative."""
    torch.manual_seed(3)
    for value in Categorical(LOGITS["classes"]).enumerate_support()[:3]:
        node = FixedClasses(LOGITS["classes"], value=value)
        rao = load_estimator("gumbel_rao", noises=400_000, temperature=0.02)
        zgr = gradient(load_estimator("zgr"), node, cubic)
        assert (gradient(rao, node, cubic) - zgr).norm() < 0.05 * zgr.norm()


def test_gst_keeps_the_gap():
    """The relaxed sample has its largest entry where the sample is, by at least the gap."""
    node = Categorical(LOGITS["classes"])
    for value in node.enumerate_support():
        fixed = FixedClasses(node.logits, value=value)
        found = gradient(load_estimator("gst", gap=2.0), fixed, lambda hot: hot[..., 0, 0])
        shifted = torch.where(value > 0.5, node.logits.amax(-1, keepdim=True), node.logits)
        shifted = torch.where(value > 0.5, shifted, shifted.minimum(shifted.amax(-1, keepdim=True) - 2))
        soft = shifted.softmax(-1)[0]
        torch.testing.assert_close(found[0], soft[0] * (torch.eye(4, dtype=soft.dtype)[0] - soft))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_imle_moves_as_far_as_the_slope():
    """For one bit the expectation is a difference of sigmoids."""
    logit, t, strength = 0.4, 0.3, 1.5
    found = replicates(
        load_estimator("imle", strength=strength),
        Bernoulli(torch.tensor([logit], dtype=torch.float64)),
        scalar(t),
    )
    ones = sigmoid(logit) - sigmoid(logit - strength * 2 * (1 - t))
    zeros = sigmoid(logit + strength * 2 * t) - sigmoid(logit)
    # a 1 falls where its slope is positive, and a 0 rises where it is negative
    assert_unbiased(found, torch.tensor([(ones - zeros) / strength], dtype=torch.float64))


@pytest.mark.parametrize("kind", ["bits", "classes"])
def test_sum_and_sample_has_one_baseline_for_two_samples(kind):
    """The mean cost of one value, and the estimate that it makes, are its cost."""
    node = NODES[kind](LOGITS[kind])
    found = []
    for baseline in ("mean", "estimate"):
        torch.manual_seed(0)
        found.append(gradient(load_estimator("sum_and_sample", baseline=baseline), node, cubic))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", ["bits", "classes"])
def test_independent_conditional_noise_has_less_variance_than_tied_noise(kind):
    """REBAR with independent noise has less variance for more evaluations; ten standard errors of 20,000 replicates."""
    node = NODES[kind](LOGITS[kind])
    tied, independent = (load_estimator("rebar", coupled=coupled) for coupled in (True, False))
    assert independent.evaluations([node, node]) == tied.evaluations([node, node]) + 2
    spreads = [replicates(each, node, cubic).var(0).sum() for each in (tied, independent)]
    assert spreads[1] < spreads[0]


@pytest.mark.parametrize("name", ["finite_differences[step=1.5]", "spsa[step=1.5]", "spsa[step=1.5,pairs=3]"])
def test_differences_have_the_mean_of_a_central_difference(name):
    """For one bit the expectation is the central difference of the expected cost."""
    found = replicates(load_estimator(name), Bernoulli(torch.tensor([0.4], dtype=torch.float64)), scalar(0.3))
    slope = 0.4 * (sigmoid(0.4 + 1.5) - sigmoid(0.4 - 1.5)) / 3
    assert_unbiased(found, torch.tensor([slope], dtype=torch.float64))


def test_evolution_strategies_smooth_the_cost():
    """For one bit the expectation is the derivative averaged over Gaussian logits."""
    found = replicates(
        load_estimator("evolution_strategies", deviation=1.5),
        Bernoulli(torch.tensor([0.4], dtype=torch.float64)),
        scalar(0.3),
    )
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    p = (0.4 + 1.5 * grid).sigmoid()
    density = (-(grid**2) / 2).exp()
    assert_unbiased(found, 0.4 * ((p * (1 - p) * density).sum() / density.sum()).reshape(1))


# ---- options


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("arms[samples=2]", "bits"),
        ("arms[samples=5]", "bits"),
        ("carms[samples=2]", "classes"),
        ("carms[samples=5]", "classes"),
        ("disarm_categorical[construction=sticks]", "classes"),
        ("rao_blackwell[summed=3]", "bits"),
        ("rao_blackwell[summed=3]", "classes"),
        ("unordered_set[samples=4]", "classes"),
        ("sum_and_sample[samples=4]", "classes"),
        ("double_cv[samples=3,scale=0.8]", "bits"),
        ("double_cv[samples=2,scale=0.8]", "classes"),
        ("rodeo[samples=2,hidden=6]", "bits"),
        ("rodeo[samples=3,hidden=6]", "bits"),
        ("muprop[hidden=6]", "bits"),
        ("muprop[hidden=6]", "classes"),
        ("local_expectation[common=true]", "classes"),
        ("augmented_reinforce[samples=3]", "classes"),
        ("sum_and_sample[samples=4,baseline=estimate]", "bits"),
        ("sum_and_sample[samples=3,baseline=estimate]", "classes"),
        ("rebar[coupled=false]", "bits"),
        ("rebar[coupled=false]", "classes"),
        ("relax[coupled=false,hidden=6]", "classes"),
    ],
)
def test_options_keep_estimators_unbiased(name, kind):
    """With other options than the default, and with networks that are not at zero."""
    node = NODES[kind](LOGITS[kind])
    estimator = load_estimator(name).prepare(program(node, cubic)).double()
    networks = [p for n, p in estimator.named_parameters() if n != "scale"]
    for parameter in networks:
        nn.init.normal_(parameter, std=0.5)
    assert_unbiased(replicates(estimator, node, cubic), exact(kind, cubic))


@pytest.mark.parametrize("name", ["double_cv", "rodeo[hidden=10]"])
def test_tuning_lowers_the_variance(name):
    """Where samples agree on the slope, tuned control variates beat leave-one-out."""
    node = Bernoulli(torch.full((5,), 1.0, dtype=torch.float64))
    cost = lambda b: (b.sum(-1) + 2) ** 2 / 4  # noqa: E731
    estimator = load_estimator(name).prepare(program(node, cost)).double().train()
    before = replicates(estimator, node, cost, 2000).var(0).sum()
    estimator.train()
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.03)
    batch = Bernoulli(node.logits.expand(64, -1))
    for _ in range(150):
        optimiser.zero_grad()
        estimator(program(batch, cost)).backward()
        optimiser.step()
    assert replicates(estimator, node, cost, 2000).var(0).sum() < 0.8 * before


def test_muprop_with_a_baseline_learns_the_constant_that_an_expansion_leaves():
    """Of squares of fair bits the expansion leaves n/4 at every value, all its variance; the baseline takes it off."""
    node = Bernoulli(torch.zeros(5, dtype=torch.float64))
    cost = lambda b: 4 * b.square().sum(-1)  # noqa: E731
    estimator = load_estimator("muprop[hidden=10]").prepare(program(node, cost)).double().train()
    before = replicates(estimator, node, cost, 2000).var(0)
    torch.testing.assert_close(before, torch.full((5,), (5 / 2) ** 2, dtype=torch.float64), rtol=0.1, atol=0)
    estimator.train()
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        estimator(program(node, cost)).backward()
        optimiser.step()
    assert replicates(estimator, node, cost, 2000).var(0).max() < 0.01 * before.min()


@pytest.mark.parametrize("name", ["nvil[hidden=-1]", "relax[hidden=0]", "rodeo[hidden=0]", "muprop[hidden=-1]"])
def test_networks_without_width_are_refused(name):
    """The error names the option and says what was received."""
    with pytest.raises(UserError, match=r"hidden .*; got (0|-1)$"):
        load_estimator(name)


@pytest.mark.parametrize("name", ["reinforce", "reinforce_moving_average", "nvil"])
def test_variance_normalisation_divides_by_the_deviation_of_earlier_steps(name):
    """The gradient is the plain one over max(1, deviation), and is declared biased."""
    node, scale = Bernoulli(LOGITS["bits"]), 3.0
    plain, normal = load_estimator(name), load_estimator(name, normalise=True)
    assert plain.unbiased
    assert not normal.unbiased
    found = []
    for estimator in (plain, normal):
        torch.manual_seed(1)
        estimator.prepare(program(node, cubic)).eval().double()
        if estimator is normal:
            estimator.deviation.square.value.fill_(scale**2)
        torch.manual_seed(2)
        found.append(gradient(estimator, node, cubic))
    torch.testing.assert_close(found[0], found[1] * scale)


def test_variance_normalisation_learns_the_deviation():
    """In training, the root mean square of what exceeds the baseline is followed."""
    estimator = load_estimator("reinforce", normalise=True)
    node = Bernoulli(LOGITS["bits"].expand(50, -1).clone().requires_grad_())
    costs = []
    for _ in range(30):
        estimator(program(node, lambda b: costs.append(4 + b.sum(-1)) or costs[-1]))
    square = torch.stack(costs[-10:]).square().mean().item()
    assert estimator.deviation.square.value.item() == pytest.approx(square, rel=0.1)


@pytest.mark.parametrize("kind", NODES)
def test_muprop_leans_towards_the_gradient_of_the_means_where_it_is_normalised(kind):
    """By enumeration: the plain one is exact; what the expansion leaves is divided, and its centre changes nothing."""
    node = NODES[kind](LOGITS[kind])
    torch.testing.assert_close(expected(load_estimator("muprop"), kind, cubic), exact(kind, cubic))
    normal = load_estimator("muprop", normalise=True).prepare(program(node, cubic)).eval()
    assert not normal.unbiased
    (standardiser,) = normal.standardisers.values()
    standardiser.centre.value.fill_(-2)
    standardiser.deviation.square.value.fill_(9)
    of_means = grad(lambda logits: cubic(node.at(logits).mean))(node.logits)
    leaning = of_means + (exact(kind, cubic) - of_means) / 3
    torch.testing.assert_close(expected(normal, kind, cubic), leaning)


def test_muprop_learns_centre_and_deviation_of_what_the_expansion_leaves():
    """In training they are followed from step to step; in evaluation they stay."""
    logits = LOGITS["bits"].expand(4000, -1).clone().requires_grad_()
    node = Bernoulli(logits)
    estimator = load_estimator("muprop", normalise=True).prepare(program(node, cubic))
    for _ in range(20):
        estimator(program(node, cubic))
    (standardiser,) = estimator.standardisers.values()
    kept = standardiser.state_dict()
    values = Bernoulli(LOGITS["bits"]).enumerate_support()
    chances = Bernoulli(LOGITS["bits"]).log_prob(values).exp()
    mean = Bernoulli(LOGITS["bits"]).mean
    left = cubic(values) - cubic(mean) - (values - mean) @ grad(cubic)(mean)
    centre = chances @ left
    assert kept["centre.value"].item() == pytest.approx(centre.item(), rel=0.1)
    assert kept["deviation.square.value"].item() == pytest.approx((chances @ (left - centre) ** 2).item(), rel=0.2)
    before = {name: value.clone() for name, value in kept.items()}
    estimator.eval()(program(node, cubic))
    torch.testing.assert_close(standardiser.state_dict(), before)


TEMPERED = [
    "gumbel_softmax", "st_gumbel_softmax", "gumbel_rao", "gst", "reinmax", "slope_annealed",
    "decoupled_straight_through",
]  # fmt: skip


@pytest.mark.parametrize("name", TEMPERED)
def test_temperatures_fall_in_stairs_while_training(name):
    """Steps are counted in training alone, survive a round trip, and leave evaluation under vmap untouched."""
    node = Categorical(LOGITS["classes"].clone().requires_grad_())
    options = {"temperature": 2.0, "rate": 0.5, "floor": 0.3, "every": 2}
    estimator = load_estimator(name, **options)
    seen = []
    for _ in range(6):
        seen.append(estimator.tau(node).item())
        estimator(program(node, cubic))
    falling = [2.0, 2.0, 2 * math.exp(-1), 2 * math.exp(-1), 0.3, 0.3]
    assert seen == pytest.approx(falling, rel=1e-6)
    copy = load_estimator(name, **options)
    copy.load_state_dict(estimator.state_dict())
    replicates(copy, Categorical(LOGITS["classes"]), cubic, 10)
    assert copy.schedule.steps.item() == 6
    assert copy.tau(node).item() == pytest.approx(0.3)


def test_steps_are_counted_in_functional_calls():
    """A functional training step advances the buffer it is given."""
    estimator = load_estimator("gumbel_softmax", rate=0.5)
    buffers = {name: buffer.clone() for name, buffer in estimator.named_buffers()}
    functional_call(estimator, buffers, (program(Bernoulli(LOGITS["bits"]), cubic),))
    assert buffers["schedule.steps"].item() == 1
    assert estimator.schedule.steps.item() == 0


@pytest.mark.parametrize("name", ["unordered_set[samples=9]", "sum_and_sample[samples=9]", "rao_blackwell[summed=8]"])
def test_more_values_than_there_are(name):
    """Estimators with distinct values refuse nodes that have fewer, by name."""
    with pytest.raises(NotApplicableError, match="'z' has only 8"):
        gradient(load_estimator(name), Bernoulli(LOGITS["bits"]))


@pytest.mark.parametrize(
    "name",
    [
        "vargrad[samples=1]", "double_cv[samples=1]", "rodeo[samples=1]", "arms[samples=1]", "carms[samples=1]",
        "unordered_set[samples=11]", "sum_and_sample[samples=1]", "rao_blackwell[summed=0]", "gumbel_rao[noises=-1]",
        "spsa[pairs=0]", "evolution_strategies[pairs=0]", "augmented_reinforce[samples=0]", "gst[gap=0.0]",
        "imle[strength=0.0]", "finite_differences[step=0.0]", "straight_through[derivative=no]",
        "disarm_categorical[construction=no]", "gumbel_softmax[rate=-1.0]", "gumbel_softmax[rate=1.0,floor=2.0]",
    ],
)  # fmt: skip
def test_options_that_make_no_sense(name):
    """Each is refused with what was received."""
    with pytest.raises(ValueError, match=r"got|input"):
        load_estimator(name)


def test_the_catalogue_is_complete():
    """The page on the estimators has each of them, and none that there is not."""
    page = (ROOT / "docs" / "reference" / "estimators.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    built_in = [name for name, plugin in discover("estimator").plugins.items() if plugin.origin == "built-in"]
    assert sorted(listed) == sorted(built_in), "`make enter` enters the missing ones"


@pytest.mark.parametrize("logit", [-3.0, 0.4, 12.0])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_exact_gumbel_rao_has_the_expectation_of_straight_through_gumbel_softmax(logit, temperature):
    """Its two values, weighted by the probabilities of a bit, sum to an integral over the noise by adaptive rules."""
    from scipy import integrate, special, stats

    def slope(z):
        soft = special.expit(z / temperature)
        return 2 * ((z > 0) - 0.3) * soft * (1 - soft) / temperature * stats.logistic.pdf(z - logit)

    edges = [-60, -1, -0.1, 0, 0.1, 1, 10, 15, 60]
    expected = sum(integrate.quad(slope, *pair, epsabs=1e-14)[0] for pair in itertools.pairwise(edges))
    estimator, found = load_estimator("gumbel_rao", noises=0, temperature=temperature).double(), {}
    for value in (0.0, 1.0):
        leaf = torch.tensor([[logit]], dtype=torch.float64, requires_grad=True)
        node = Bernoulli(leaf)
        object.__setattr__(node, "sample", lambda value=value: torch.tensor([[value]], dtype=torch.float64))
        estimator(lambda sample, node=node: ((sample("b", node)[0] - 0.3) ** 2).sum(-1)).backward()
        found[value] = leaf.grad.item()
    p = special.expit(logit)
    assert p * found[1.0] + (1 - p) * found[0.0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_exact_gumbel_rao_of_classes_says_what_it_can_do():
    """The mean over the noise has no closed form for several classes."""
    node = Categorical(torch.zeros(1, 1, 3))
    with pytest.raises(NotApplicableError, match="exact mean for Bernoulli nodes only; set noises for 'd'"):
        load_estimator("gumbel_rao", noises=0)(lambda sample: sample("d", node)[0].sum((-1, -2)))
