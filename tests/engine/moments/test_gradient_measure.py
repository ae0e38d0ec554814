import functools

import pytest
import torch
from scipy.stats import norm

from estbench import load_estimator, load_task
from estbench.core.estimator import NotApplicableError
from estbench.core.program import plate, run
from estbench.engine.base import Bench, MeasurementError
from estbench.engine.moments.gradient_metrics import compared
from estbench.engine.moments.moments import BATCHES, Moments, chunk_size, moments, working_set
from estbench.families.pathwise import Pathwise
from estbench.measures.gradient import Gradient
from estbench.measures.speed import Speed
from estbench.measures.training import Training, _bound


def bench(name, seed=0, dtype=torch.float32):
    task = load_task(name)
    oracle = (lambda m: load_estimator(task.oracle, samples=m)) if task.oracle else None
    baseline = functools.partial(load_estimator, task.baseline)
    return Bench(task, seed, torch.device("cpu"), dtype, baseline, oracle)


def measured(measure, where, *names):
    makers = {name: functools.partial(load_estimator, name) for name in names}
    return [(key, row) for key, row in measure.rows(where, makers)]


def figures(measure, where, name, step=0):
    return {row.metric: row for _, row in measured(measure, where, name) if row.step == step}


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_streamed_moments_are_those_of_all_replicates_together(chunk):
    """Chunks of any size give means and variances of the same replicates, to rounding."""
    torch.manual_seed(0)
    drawn = []

    def gradient():
        g = torch.randn(5, dtype=torch.float64) * torch.arange(1, 6) + 1e3
        drawn.append(g)
        return {"logits": g}

    found = moments(gradient, 32 * BATCHES, chunk)["logits"]
    assert found.n == 32 * BATCHES
    assert found.means.shape == (BATCHES, 5)
    assert found.variances.mean().item() == pytest.approx(55, rel=0.1)
    assert found.means.mean(0).sub(1e3).abs().max() < 1


def test_a_chunk_is_as_large_as_the_budget_allows_and_never_empty():
    """Memory bounds how many replicates are in flight; one always is."""
    cpu = torch.device("cpu")
    assert chunk_size(10, 100, cpu) == 8
    assert chunk_size(1000, 100, cpu) == 1
    assert 1 <= chunk_size(2**18, 0, cpu) <= 2**9
    assert working_set(lambda: {"logits": torch.zeros(100) + 1}) >= 800


def comparison(bias, dimensions=20, replicates=32, reference=0.5):
    """Moments simulated with a known bias against an estimated reference."""
    shift = torch.zeros(dimensions, dtype=torch.float64)
    shift[0] = bias
    noise = torch.randn(2, BATCHES, dimensions, dtype=torch.float64) / replicates**0.5
    freedom = torch.tensor(replicates - 1.0, dtype=torch.float64)
    spread = torch.distributions.Chi2(freedom).sample((BATCHES, dimensions)).sum(1) / freedom
    own = Moments(replicates * BATCHES, 1 + shift + noise[0], spread, 1e-16)
    return compared(own, Moments(0, 1 + reference * noise[1], spread, 1e-16))


FURTHER = ((0.0, 1), (0.05, 1), (0.05, 20), (1.0, 1), (1.0, 20))


@pytest.mark.parametrize(
    ("bias", "dimensions"),
    [(0.0, 20), (0.2, 1), (0.2, 20), *(pytest.param(*each, marks=pytest.mark.long) for each in FURTHER)],
)
def test_intervals_cover_the_truth(bias, dimensions):
    """Over 1,000 simulations 95 % intervals of bias, relative bias and variance cover 93 to 97 in 100."""
    torch.manual_seed(0)
    covered = [0, 0, 0]
    for _ in range(1000):
        simulated = comparison(bias, dimensions)
        truths = [bias**2, bias / dimensions**0.5, float(dimensions)]
        intervals = [simulated.squared_bias(), simulated.relative_bias(), simulated.variance()]
        for index, (interval, truth) in enumerate(zip(intervals, truths, strict=True)):
            covered[index] += interval.low <= truth <= interval.high
    assert 930 <= covered[0] <= 970
    # at no bias at all, an interval of a norm cannot end below it
    assert 930 <= covered[1] <= (970 if bias else 1000)
    assert 930 <= covered[2] <= 970


def test_a_bias_that_is_not_found_has_a_bound_above_zero():
    """Batches whose errors happen to cancel, so that the squared bias is far below 0, still bound it by the noise."""
    torch.manual_seed(0)
    noise = torch.randn(BATCHES, 1000, dtype=torch.float64)
    own = Moments(32 * BATCHES, 1 + noise - noise.mean(0), torch.ones(BATCHES, dtype=torch.float64), 1e-16)
    found = compared(own, Moments.exact(torch.ones(1000, dtype=torch.float64)))
    assert found.squared_bias().high < 0
    assert (found.bias().value, found.bias().low) == (0, 0)
    # the pairs' inner products have a standard deviation of about the root of the dimensions
    assert 0 < found.bias().high ** 2 < 5 * (2 * 1000 / BATCHES**2) ** 0.5
    assert 0 < found.relative_bias().high < 1


def test_noise_does_not_inflate_the_bias():
    """Of an unbiased estimate, the mean squared bias over 500 simulations is within 5 standard errors of 0."""
    torch.manual_seed(0)
    found = torch.tensor([comparison(0.0).squared_bias().value for _ in range(500)])
    assert abs(found.mean()) < 5 * found.std() / 500**0.5


def test_gradient_of_the_oracle_has_neither_bias_nor_variance():
    """Exact enumeration against itself gives zeros, not rounding errors."""
    rows = figures(Gradient(64, 64, after=0), bench("sigmoid_belief_net"), "exact")
    for metric in ("bias/logits", "bias/encoder", "variance/logits", "variance/encoder"):
        assert (rows[metric].value, rows[metric].low, rows[metric].high) == (0, 0, 0)


def test_gradient_tells_a_biased_estimator_from_an_unbiased_one():
    """On a two-layer net straight-through is found biased and DisARM is not, with the variances in order."""
    where = bench("sigmoid_belief_net")
    measure = Gradient(2048, 64, after=0)
    biased, fair, noisy = (figures(measure, where, n) for n in ("straight_through", "disarm", "reinforce"))
    assert biased["bias/logits"].low > 0
    assert fair["bias/logits"].low == 0
    assert fair["variance/logits"].high < noisy["variance/logits"].low
    assert fair["evaluations"].value == 4


def test_gradient_agrees_with_known_variances():
    """On the scalar toy the measured variances of ARM and RLOO hold the exact ones in their intervals."""
    where, measure = bench("toy"), Gradient(8192, 64, after=0)
    for name, variance in (("arm", 0.1**2 / 48), ("rloo", 0.1**2 / 16)):
        row = figures(measure, where, name)["variance/logits"]
        assert row.low <= variance <= row.high


def test_an_estimated_reference_is_used_where_none_is_exact():
    """On a VAE too large to enumerate, Gumbel-Softmax is found biased and RLOO is not."""
    where, measure = bench("vae[units=24,batch_size=10]"), Gradient(512, 4096, after=0)
    assert figures(measure, where, "gumbel_softmax")["bias/logits"].low > 0
    assert figures(measure, where, "rloo")["bias/logits"].low == 0


def test_a_bound_without_reference_has_a_variance_and_says_why_no_bias():
    """VIMCO's bias on a large VAE is not applicable rather than measured against the wrong objective."""
    rows = figures(Gradient(64, 64, after=0), bench("vae[units=24,batch_size=10]"), "vimco")
    assert rows["variance/logits"].value > 0
    assert rows["bias/logits"].status == "not applicable"
    assert "no reference" in rows["bias/logits"].error


def test_a_bound_is_measured_against_its_own_gradient():
    """Where it can be enumerated VIMCO is unbiased for its bound."""
    rows = figures(Gradient(4096, 64, after=0), bench("sigmoid_belief_net"), "vimco")
    assert rows["bias/encoder"].low == 0


def test_all_estimators_are_measured_at_the_same_trained_point():
    """What an estimator learns alongside does not move the trajectory of the model."""
    where = bench("sigmoid_belief_net")
    measure = Gradient(64, 64, after=20)
    learning, plain = (
        [point for point, _ in measure._points(where, functools.partial(load_estimator, name))]
        for name in ("relax", "rloo")
    )
    assert [point.step for point in learning] == [0, 20]
    for a, b in zip(learning[1].model.parameters(), plain[1].model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_estimator_that_does_not_apply_says_so():
    """DisARM on categorical latents raises the reason that the run records."""
    with pytest.raises(NotApplicableError, match="takes Bernoulli"):
        measured(Gradient(64, 64, after=0), bench("vae[latents=categorical]"), "disarm")


def test_training_is_reproducible_and_starts_alike():
    """The same seed gives the same rows but for the seconds, and estimators start from the same objective."""
    measure = Training(steps=20, evaluations=2, samples=5, examples=50, pictures=0)
    one, two = (figures(measure, bench("vae[units=8]"), "rloo", step=20) for _ in range(2))
    assert {k: r.value for k, r in one.items()} == {k: r.value for k, r in two.items()}
    assert set(one) == {"elbo_train", "elbo_valid", "elbo_test", "bound5_valid", "bound5_test"}
    starts = [figures(measure, bench("vae[units=8]"), n)["elbo_test"].value for n in ("disarm", "relax")]
    assert starts[0] == starts[1]


def test_training_tells_what_the_task_tells_of_each_example():
    """Accuracy has a row for each split, the share of right examples with its interval, beside the objective."""
    name = "semi_supervised[width=4,batch_size=20]"
    rows = figures(Training(steps=3, evaluations=1, samples=0, examples=50, pictures=0), bench(name), "rloo", step=3)
    objectives = {f"{metric}_{split}" for metric in ("elbo", "accuracy") for split in ("train", "valid", "test")}
    assert set(rows) == objectives
    row = rows["accuracy_test"]
    error = (row.value * (1 - row.value) / 299) ** 0.5
    assert (row.n, row.unit) == (300, "")
    assert 300 * row.value == pytest.approx(round(300 * row.value), abs=1e-6)
    assert row.high - row.low == pytest.approx(2 * norm.ppf(0.975) * error)


def test_training_raises_the_elbo_and_the_bound_is_above_it():
    """After 200 steps the ELBO is higher than at the start, and the 20-sample bound higher still."""
    rows = measured(
        Training(steps=200, evaluations=1, samples=20), bench("vae[learning_rate=0.01,optimizer=adam]"), "disarm"
    )
    by = {(row.metric, row.step): row.value for _, row in rows}
    assert by["elbo_test", 200] > by["elbo_test", 0] + 1
    assert by["bound20_test", 200] > by["elbo_test", 200]


def test_the_bound_tends_to_the_log_likelihood():
    """With 20,000 samples the bound of an enumerable model is its log-likelihood to 0.02 nats."""
    where = bench("sigmoid_belief_net[units=2]", dtype=torch.float64)
    data = where.splits().test[0][:8]
    model = where.model()

    def everything(_name, node, _sites):
        return node.enumerate_support()

    with torch.no_grad():
        cost, sites = run(model(data), plate(everything))
        log_q = sum(node.log_prob(value) for node, value in sites.values())
        expected = (log_q - cost).flatten(0, 1).logsumexp(0)
        found = -_bound(20_000, model, (data,))["bound"]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_the_bound_weighs_each_sample_whatever_divergence_is_trained_with():
    """Models trained with the sampled and the analytic divergence have the same bound where they are the same."""
    measure = Training(steps=1, evaluations=1, samples=50, examples=50, pictures=0)
    sampled, analytic = (
        figures(measure, bench(f"vae[units=8,kl={kl},learning_rate=1e-12]"), "rloo", step=1)["bound50_test"].value
        for kl in ("sampled", "analytic")
    )
    assert analytic == pytest.approx(sampled, abs=1e-5)


class Diverges(Pathwise):
    """An estimator whose value is NaN."""

    unbiased = False
    hard = True
    paper = ""

    def sample(self, name, node):
        return node.mean * float("nan")


def test_a_training_that_diverges_fails_with_the_step():
    """A NaN objective is a failure, not a row."""
    with pytest.raises(MeasurementError, match="objective is nan after 10 training steps"):
        list(Training(steps=20, evaluations=2).rows(bench("toy"), {"nan": Diverges}))


def test_speed_times_all_estimators_against_the_baseline():
    """Each has a median with an interval around it, a ratio to the baseline, and a peak of memory."""
    rows = measured(Speed(blocks=6, seconds=0.001), bench("toy[units=5]"), "rloo", "relax", "exact")
    by = {(key, row.metric): row for key, row in rows}
    for name in ("rloo", "relax", "exact"):
        row = by[name, "gradient_time"]
        assert 0 < row.low <= row.value <= row.high
        assert by[name, "step_time"].unit == "s"
        assert by[name, "peak_memory"].value > 0
        # how large a ratio is depends on what else the machine does
        ratio = by[name, "gradient_time_ratio"]
        assert 0 < ratio.low <= ratio.value <= ratio.high


def test_speed_of_one_that_fails_costs_the_others_nothing():
    """An estimator that does not apply or raises has its row, the rest are timed."""

    def broken():
        raise RuntimeError("broken on purpose")

    makers = {
        "rloo": functools.partial(load_estimator, "rloo"),
        "arm": functools.partial(load_estimator, "arm"),
    }
    where = bench("toy[latents=categorical]")
    rows = list(Speed(blocks=6, seconds=0.001).rows(where, {**makers, "broken": broken}))
    by = {key: row for key, row in rows if row.status != "ok"}
    assert by["arm"].status == "not applicable"
    assert (by["broken"].status, by["broken"].error) == ("failed", "RuntimeError: broken on purpose")
    assert any(key == "rloo" and row.metric == "step_time" for key, row in rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gradient(replicates=1), "at least 64 replicates; got"),
        (lambda: Gradient(after=-1), "cannot be negative; got"),
        (lambda: Gradient(points=1), "at least 2 points, its start and its end; got points=1"),
        (lambda: Gradient(minibatches=10), "at least 64 minibatches, or 0 for none; got minibatches=10"),
        (lambda: Gradient(precision=-0.1), "a relative width below 1, such as 0.05; got precision=-0.1"),
        (lambda: Speed(blocks=2), "at least 6 blocks; got 2"),
        (lambda: Training(steps=0), "at least 1 step"),
    ],
)
def test_measures_refuse_sizes_that_give_no_figure(make, message):
    """Too few replicates, blocks or steps are refused with what was received."""
    with pytest.raises(ValueError, match=message):
        make()


def test_evaluation_does_not_move_the_training():
    """The objective after 20 steps is the same however often it was evaluated on the way."""
    often, seldom = (
        figures(Training(steps=20, evaluations=n, samples=0), bench("vae[units=8]"), "rloo", step=20) for n in (10, 1)
    )
    assert often["elbo_test"].value == seldom["elbo_test"].value


def test_seeds_are_paired_across_estimators():
    """With one seed all estimators train from the same parameters on the same minibatches; another seed has others."""

    def seen(name, seed):
        where, found = bench("vae[units=8,batch_size=20]", seed), []
        make = where.task.model

        def model():
            built = make()
            parameters = list(built.parameters())
            built.register_forward_pre_hook(
                lambda _, batch: found.append((batch[0].clone(), torch.cat([p.detach().flatten() for p in parameters])))
            )
            return built

        where.task.model = model
        measured(Training(steps=3, evaluations=1, samples=0, examples=20, pictures=0), where, name)
        return [torch.stack(seen) for seen in zip(*[pair for pair in found if len(pair[0]) == 20], strict=True)]

    (batches, parameters), (same, others), (different, start) = seen("rloo", 0), seen("relax", 0), seen("rloo", 1)
    assert torch.equal(batches, same)
    assert len({batch.sum().item() for batch in batches}) > 3
    assert torch.equal(parameters[0], others[0])
    assert not torch.equal(parameters[-1], others[-1])
    assert not torch.equal(batches, different)
    assert not torch.equal(parameters[0], start[0])
