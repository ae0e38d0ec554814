"""Replicas that are trained together have the numbers that they have alone."""

import dataclasses

import pytest
import scipy.stats
import torch
from torch import nn

from estbench.core.noise import NORMAL, UNIFORM
from estbench.core.task import Trainer
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.random_tape import CannotTogetherError, Tape
from estbench.engine.training.stacked_optimizer import StackedTrainer
from estbench.measures.training import Training
from estbench.plugins.registry import load_task
from tests.support.replicas import (
    BERNOULLI,
    CATEGORICAL,
    AsksForMultinomial,
    AsksTorch,
    Killed,
    Looks,
    Whispers,
    alone,
    calls,
    check,
    figures,
    kept,
    member,
    small,
    training_runs,
)
from tests.support.sweeps import sweep


@pytest.mark.parametrize(
    ("name", "latents"),
    sweep(
        [*((n, "bernoulli") for n in BERNOULLI), *((n, "categorical") for n in CATEGORICAL)],
        # a leave-one-out and a learned baseline, coupled samples, a learned control variate, a schedule, an enumeration
        [
            *(("rloo", "bernoulli"), ("nvil[normalise=true]", "bernoulli"), ("arms", "bernoulli")),
            *(("relax", "bernoulli"), ("gumbel_softmax[rate=0.1,every=1]", "categorical"), ("exact", "categorical")),
        ],
    ),
)
def test_a_replica_is_what_it_is_alone(name, latents):
    """Of two seeds and two learning rates each ends with its own values, in double precision to twelve digits."""
    pairs = [(0, 0.01), (1, 0.1), (1, 0.01)]
    members = [member(small(latents=latents, rate=rate), name, seed) for seed, rate in pairs]
    values = [figures(own.rows)["elbo_test", 4] for own in check(members, Training(4, 2, 3, 40))]
    assert len(set(values)) == len(members)


DIFFERENT = [
    (small(), ("gumbel_softmax[temperature=0.5]", "gumbel_softmax[temperature=2.0]")),
    (small(), ("nvil[decay=0.5]", "nvil[decay=0.9]")),
    (small(), ("rebar[temperature=0.1]", "rebar[scale=0.5]")),
    (small(), ("finite_differences[step=0.5]", "finite_differences[step=2.0]")),
    ("polynomial[units=4]", ("rloo",)),
    ("coins", ("disarm",)),
    ("feature_selection[hidden=5]", ("gumbel_rao",)),
    ("semi_supervised[width=2,gaussians=3]", ("gumbel_softmax",)),
    ("structured_prediction[units=4]", ("straight_through",)),
    ("gaussian[units=2]", ("lax[hidden=3]",)),
    ("gaussian[units=2]", ("measure_valued",)),
    ("coverage[hidden=4]", ("imle_subset[strength=0.5]", "imle_subset[strength=2.0]")),
    ("coins", ("imle[strength=0.5]", "imle[strength=2.0]")),
    ("coverage[hidden=4]", ("gumbel_top_k",)),
    ("travelling_salesman[hidden=4]", ("rloo",)),
]


@pytest.mark.parametrize(
    ("task", "names"),
    # options with a fraction, and tasks of every kind of node
    sweep(
        DIFFERENT,
        [
            *(case for case in DIFFERENT if case[0] == small() and case[1][0].startswith(("gumbel_softmax", "rebar"))),
            *(case for case in DIFFERENT if case[0].startswith(("semi_supervised", "coverage", "travelling"))),
            ("gaussian[units=2]", ("measure_valued",)),
        ],
    ),
)
def test_numbers_may_differ_between_replicas(task, names):
    """Options with a fraction are tensors in an ensemble; every task has its own data, views and metrics there."""
    members = [member(task, name, seed) for seed in (0, 1) for name in names]
    check(members, Training(3, 1, 2, 30), rtol=1e-6)


def test_a_hundred_steps_in_single_precision():
    """With the seeds' own minibatches, views and noise the objective is that of each alone to single precision."""
    task = "vae[units=20,binarisation=dynamic,optimizer=adam]"
    members = [member(task, "rloo", seed, torch.float32) for seed in (0, 1)]
    lone, together = training_runs(members), Ensemble(training_runs(members))
    for _ in range(100):
        losses = together.train()
        torch.testing.assert_close(losses, torch.stack([each.advance() for each in lone]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "radam", "sgd", "rmsprop"])
def test_one_step_for_all_is_the_step_of_each(optimizer):
    """Parameters and states are those of torch's optimisers, with other learning rates and falling ones."""
    task = load_task(f"vae[optimizer={optimizer}]")
    generator = torch.Generator().manual_seed(0)

    def trained(rate):
        model = nn.ParameterDict({"a": torch.ones(3, 2), "b": torch.ones(4)})
        optimizers = [task.optimizer_of([model["a"], model["b"]], rate)]
        return model, Trainer(optimizers, [torch.optim.lr_scheduler.StepLR(optimizers[0], 3, 0.5)])

    rates = (0.1, 0.01, 0.1)
    single, stacked = [trained(rate) for rate in rates], [trained(rate) for rate in rates]
    names = [{id(p): name for name, p in model.named_parameters()} for model, _ in stacked]
    trainer = StackedTrainer([each for _, each in stacked], names)
    for _ in range(10):
        gradients = {name: torch.randn(x.shape, generator=generator) for name, x in trainer.leaves.items()}
        trainer.step(gradients)
        trainer.schedule()
        for number, (model, each) in enumerate(single):
            for name, parameter in model.named_parameters():
                parameter.grad = gradients[name][number].clone()
            each.step()
    trainer.unstack()
    for (ours, own), (theirs, other) in zip(stacked, single, strict=True):
        torch.testing.assert_close(dict(ours), dict(theirs), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(
            own.state_dict()["optimizers"], other.state_dict()["optimizers"], rtol=1e-6, atol=1e-7
        )
        assert own.schedulers[0].last_epoch == other.schedulers[0].last_epoch == 10


def test_other_optimisers_do_not_stack():
    """One that decays weights, or is of another kind, is refused with a reason."""
    parameter = nn.Parameter(torch.zeros(2))
    for optimizer in (torch.optim.AdamW([parameter]), torch.optim.Adam([parameter], weight_decay=0.1)):
        with pytest.raises(CannotTogetherError, match=r"AdamW|decays"):
            StackedTrainer([Trainer([optimizer])], [{id(parameter): "p"}])


def test_a_replica_that_diverges_fails_alone():
    """The one whose learning rate is too high is a failure, in the words of a single run; others are unharmed."""
    members = [member(small(rate=rate, optimizer="sgd"), "reinforce") for rate in (0.01, 1e200, 0.001)]
    training = Training(6, 3, 2, 20)
    good, bad, other = training.together(members)
    with pytest.raises(type(bad.error), match=str(bad.error)):
        alone(training, members[1])
    for own, one in ((good, members[0]), (other, members[2])):
        assert own.error is None
        assert figures(own.rows) == pytest.approx(alone(training, one), rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_killed_ensemble_goes_on(optimizer, tmp_path):
    """Each replica leaves a state of its own: together or alone it goes on from there, to the same values."""
    tasks = [small(optimizer=optimizer, view="dynamic", rate=rate) for rate in (0.01, 0.001)]
    members = [kept(tmp_path, member(task, "nvil"), number) for number, task in enumerate(tasks)]
    training, whole = (
        Training(12, 3, 2, 20),
        Training(12, 3, 2, 20).together(
            [
                m._replace(bench=dataclasses.replace(m.bench, journal=member(small(), "rloo").bench.journal))
                for m in members
            ]
        ),
    )
    keep, left = members[1].bench.journal.keep, iter(range(7))

    def keep_or_die(state, *, done=False):
        if next(left, None) is None:
            raise Killed
        keep(state, done=done)

    members[1].bench.journal.keep = keep_or_die
    with pytest.raises(Killed):
        training.together(members)
    members[1].bench.journal.keep = keep
    # the first was kept once more than the second, so they go on one by one; then both from the end
    for _ in range(2):
        for own, before in zip(training.together(members), whole, strict=True):
            assert figures(own.rows) == pytest.approx(figures(before.rows), rel=1e-9)
    more = Training(16, 4, 2, 20).together([kept(tmp_path, one, number, 16) for number, one in enumerate(members)])
    assert {row.replicas for own in more for row in own.rows if row.step == 16} == {2}


def test_numbers_of_a_tape_depend_on_seed_step_and_place_alone():
    """Neighbours, earlier steps and other places change nothing; seeds, steps and places do."""
    shape, kind = (100,), (torch.float32, torch.device("cpu"))

    def read(streams, steps, laws):
        tape, found = Tape(streams, torch.device("cpu")), []
        for step in steps:
            tape.begin(step)
            found = [tape.draw(law, shape, *kind) for law in laws]
        return found[-1]

    here = read([5], [7], [UNIFORM, NORMAL])
    assert torch.equal(here, read([5, 9], [0, 3, 7], [UNIFORM, NORMAL]))
    others = (read([6], [7], [UNIFORM, NORMAL]), read([5], [8], [UNIFORM, NORMAL]), read([5], [7], [NORMAL]))
    assert not any(torch.equal(here, other) for other in others)
    assert scipy.stats.kstest(torch.cat([here, *others]).numpy(), "norm").pvalue > 1e-4


def test_what_asks_torch_for_random_numbers_has_its_own():
    """An estimator that calls torch.rand and the like has in an ensemble the numbers that it has alone."""
    check([member(small(), "x", seed, make=AsksTorch) for seed in (0, 1)], Training(4, 2, 2, 20))


def test_what_no_tape_holds_is_the_same_in_distribution():
    """Of 24 seeds together and 24 alone the final objectives are not told apart (false alarms: 1 in 1,000)."""
    members = [member("toy[units=5]", "x", seed, torch.float32, make=AsksForMultinomial) for seed in range(24)]
    training = Training(40, 1, 0, 1, 0)
    together = [figures(own.rows)["loss_test", 40] for own in training.together(members)]
    apart = [alone(training, one)["loss_test", 40] for one in members]
    assert together != pytest.approx(apart, rel=1e-3)
    assert scipy.stats.ks_2samp(together, apart).pvalue > 1e-3


@pytest.mark.parametrize(("kind", "reason"), [(Looks, "data-dependent"), (Whispers, "gradients change under vmap")])
def test_what_cannot_be_mapped_is_trained_alone_with_a_reason(kind, reason):
    """A plugin that looks at values, or behaves otherwise under vmap, has the values that it has alone."""
    members, training = [member(small(), "x", seed, make=kind) for seed in (0, 1)], Training(3, 1, 2, 20)
    for own, one in zip(training.together(members), members, strict=True):
        assert reason in own.note
        assert {row.replicas for row in own.rows} == {1}
        assert figures(own.rows) == alone(training, one)


def test_a_step_of_many_launches_what_a_step_of_one_does():
    """Sixty-four replicas ask as much of torch as one does, and look at values as seldom.

    On a CPU an estimator looks at the extremes of the logits. That on a GPU nothing waits for a value is tested in
    tests/gpu/test_pretended.py.
    """
    one, many = calls(1), calls(64)
    assert len(many) == pytest.approx(len(one), rel=0.02)
    for look in ("aten::item", "aten::_local_scalar_dense", "aten::nonzero"):
        assert many.count(look) == one.count(look)
