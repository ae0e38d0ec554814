"""Steps on a CPU as recorded operations: the same to the last bit, or as they are with a reason."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from estbench import Bernoulli, ScoreFunction
from estbench.engine.training import recorded_step
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.recorded_step import OTHER_DECISIONS, WARM_UP, RecordedStep
from estbench.engine.training.run_group import Alone
from tests.support.replicas import member, small, training_runs
from tests.support.sweeps import sweep


def held(run):
    """All that a run of training has changed."""
    moments = [
        x for o in run.trainer.optimizers for own in o.state.values() for x in own.values() if torch.is_tensor(x)
    ]
    return [*run.model.state_dict().values(), *run.estimator.state_dict().values(), *moments]


def both_ways(make, steps=9):
    """A recorded run after some steps, whose losses and state are those of the plain run to the last bit."""
    plain, recorded = Alone([make()], recorded=False), Alone([make()])
    for _ in range(steps):
        assert torch.equal(plain.train(), recorded.train())
    assert all(map(torch.equal, held(plain.runs[0]), held(recorded.runs[0])))
    return recorded


def run_of(task, name, make=None):
    (found,) = training_runs([member(task, name, dtype=torch.float32, make=make)])
    return found


@pytest.mark.parametrize(
    ("name", "optimizer"),
    sweep(
        itertools.product(["rloo", "rebar", "slope_annealed", "reinforce_moving_average"], ["adam", "sgd", "rmsprop"]),
        # every estimator and every optimiser
        [("rloo", "adam"), ("rebar", "sgd"), ("slope_annealed", "rmsprop"), ("reinforce_moving_average", "adam")],
    ),
)
def test_a_recorded_training_is_the_plain_one(name, optimizer):
    """Parameters, counters of estimators and moments of optimisers agree bit by bit after nine steps."""
    assert not both_ways(lambda: run_of(small(optimizer=optimizer), name)).note


def test_recorded_replicas_are_the_plain_ones():
    """In an ensemble too the replay gives the losses of the steps that it stands for, to the last bit."""
    members = [[member(small(), "rloo", seed) for seed in range(3)] for _ in range(2)]
    plain, recorded = Ensemble(training_runs(members[0]), graphs=False), Ensemble(training_runs(members[1]))
    for _ in range(8):
        assert torch.equal(plain.train(), recorded.train())
    assert not recorded.note


def test_a_replay_is_what_happens(monkeypatch):
    """After the trial the step's own code is not called any more."""
    run = run_of("toy[units=2]", "rloo")
    calls, forward = [], run.estimator.forward
    monkeypatch.setattr(run.estimator, "forward", lambda program: calls.append(1) or forward(program))
    alone = Alone([run])
    for _ in range(12):
        alone.train()
    assert len(calls) == WARM_UP + 2


class Counting(ScoreFunction):
    """Its value depends on a number of Python that changes from step to step."""

    accepts, unbiased, paper = (Bernoulli,), True, ""

    def __init__(self):
        super().__init__()
        self.count = 0

    def baseline(self, _name, _node, cost):
        return torch.zeros_like(cost)

    def forward(self, program):
        self.count += 1
        return super().forward(program) * self.count


class Closure(Counting):
    """The same out of sight."""

    def __init__(self):
        ScoreFunction.__init__(self)
        self.numbers = itertools.count()

    def forward(self, program):
        return ScoreFunction.forward(self, program) * next(self.numbers)


class FromNumpy(Counting):
    def forward(self, program):
        return ScoreFunction.forward(self, program) * float(np.random.rand())  # noqa: NPY002


class Reads(Counting):
    def forward(self, program):
        loss = ScoreFunction.forward(self, program)
        return loss * loss.detach().abs().item()


class FromTorch(Counting):
    def forward(self, program):
        return ScoreFunction.forward(self, program) * torch.multinomial(torch.ones(5), 1).squeeze()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Counting, "count changes from step to step"),
        (Closure, "gives other results"),
        (FromNumpy, "gives other results"),
        (Reads, "reads numbers"),
        (FromTorch, "multinomial draws from torch's generator"),
    ],
)
def test_what_cannot_be_recorded_runs_as_it_is(make, reason):
    """Such a training says why, and its plain steps have been taken once each."""
    recorded = Alone([run_of("toy[units=2]", "mine", make)])
    for _ in range(6):
        recorded.train()
    assert reason in recorded.note
    if make is not FromNumpy and make is not FromTorch:
        both_ways(lambda: run_of("toy[units=2]", "mine", make))


class Normed(nn.Module):
    """A model with running statistics, of which the schema of torch's operation does not say that it changes them."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))

    def forward(self, x):
        logits = self.encoder(x)

        def program(sample):
            z, _ = sample("z", Bernoulli(logits))
            return (z - 0.4).square().sum(-1)

        return program


def test_running_statistics_are_updated_once_a_step():
    """Statistics of a batch normalisation are those of the plain training, the trial of the replay included."""
    torch.manual_seed(0)
    models, steps, batches = [Normed(), Normed()], [RecordedStep(), None], torch.randn(7, 20, 3)
    models[1].load_state_dict(models[0].state_dict())
    for batch in batches:
        for model, recorded in zip(models, steps, strict=True):
            step = taking(model)
            _ = recorded(step, [batch]) if recorded else step([batch])
    assert not steps[0].reason
    assert all(map(torch.equal, models[0].state_dict().values(), models[1].state_dict().values()))


def taking(model):
    """A step of training of a model's mean cost, without random numbers."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(inputs):
        optimizer.zero_grad()
        loss = model(*inputs)(lambda _name, node: (node.mean, None)).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def deciding(weight, counter):
    """A step that goes another way if its input is large, after it has counted."""

    def step(inputs):
        counter.add_(1)
        other = bool(inputs[0].max() > 10)
        weight.sub_(inputs[0].sum() * (3.0 if other else 1.0))
        return weight.clone()

    return step


def test_another_decision_is_taken_as_it_is():
    """Where values decide otherwise than in the recording, nothing is changed twice; too often ends the graph."""
    large = [2, 5, 6]
    inputs = [torch.full((2,), 100.0 if number in large else float(number)) for number in range(9)]
    weight, counter = torch.zeros(()), torch.zeros(())
    own, plain_counter = torch.zeros(()), torch.zeros(())
    recorded, step, plain = RecordedStep(), deciding(weight, counter), deciding(own, plain_counter)
    # the third step is the recording: it must go the usual way
    inputs[WARM_UP] = torch.ones(2)
    for x in inputs:
        assert torch.equal(recorded(step, [x]), plain([x]))
    assert counter == plain_counter == len(inputs)
    assert not recorded.reason
    for _ in range(OTHER_DECISIONS):
        recorded(step, [torch.full((2,), 100.0)])
    assert "changes from step to step" in recorded.reason


def test_inputs_of_another_shape_run_as_they_are():
    """A minibatch that shrinks to one example is not replayed, nor broadcast."""
    recorded, total = RecordedStep(), torch.zeros(())
    step = lambda inputs: total.add_(inputs[0].sum()).clone()  # noqa: E731
    sizes = [4, 4, 4, 4, 1, 4]
    assert [float(recorded(step, [torch.ones(size)])) for size in sizes] == list(itertools.accumulate(sizes))
    assert not recorded.reason


def test_a_failing_step_fails_once():
    """What a step raises is raised, and it has changed what it changes once, not twice."""
    recorded, total = RecordedStep(), torch.zeros(())

    def step(inputs):
        total.add_(1)
        if inputs[0] > WARM_UP - 1:
            raise RuntimeError("not here")
        return total.clone()

    for number in range(WARM_UP):
        recorded(step, [torch.tensor(float(number))])
    with pytest.raises(RuntimeError, match="not here"):
        recorded(step, [torch.tensor(float(WARM_UP))])
    assert total == WARM_UP + 1


def test_large_steps_are_not_kept_in_memory(monkeypatch):
    """A step whose results take more than the limit runs as it is, without a remark."""
    monkeypatch.setattr(recorded_step, "MOST", 100)
    recorded = both_ways(lambda: run_of("toy[units=20]", "rloo"))
    assert not recorded.note


def test_a_new_learning_rate_is_recorded_anew():
    """A rate that someone else changes between two steps is the one with which the next step is taken."""
    plain, recorded = Alone([run_of("toy[units=2]", "rloo")], recorded=False), Alone([run_of("toy[units=2]", "rloo")])
    for number in range(14):
        for alone in (plain, recorded):
            alone.runs[0].trainer.optimizers[0].param_groups[0]["lr"] = 0.1 if number < 7 else 0.3
        assert torch.equal(plain.train(), recorded.train())
    assert all(map(torch.equal, held(plain.runs[0]), held(recorded.runs[0])))
