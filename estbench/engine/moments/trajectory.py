"""Trajectories: the models at several steps of one training run."""

from collections.abc import Iterator, Sequence

from torch import nn

from estbench.core.estimator import Estimator
from estbench.engine.base import Bench
from estbench.engine.model_state import ModelState


def stops(after: int, points: int) -> list[int]:
    """Training steps at which gradients are measured: evenly spaced from 0 to ``after``, both included."""
    return sorted({round(after * k / (points - 1)) for k in range(points)})


def common(bench: Bench, at: Sequence[int], follower: Estimator | None) -> Iterator[nn.Module]:
    """The models at these steps of training with the baseline; a follower is trained on the same minibatches.

    Args:
        bench: the bench.
        at: the steps, in order, the first of them 0.
        follower: a prepared estimator, whose own parameters are trained alongside.
    """
    model, leader = bench.model(), bench.baseline().to(bench.device)
    yield _copy(bench, model)
    if at[-1] == 0:
        return
    minibatches = bench.minibatches()
    bench.sow("leader")
    with ModelState(model).held():
        leader.prepare(model(*next(bench.minibatches())))
    lead = bench.task.trainer(model, leader)
    follow = bench.task.trainer(None, follower) if follower is not None else None
    for step, batch in zip(range(at[-1]), minibatches, strict=False):
        if follower is not None and follow is not None:
            bench.sow("following", step, bench.cell)
            follow.zero_grad()
            follower(model(*batch)).backward()
            follow.step()
        # a follower consumes random numbers, on which the trajectory must not depend
        bench.sow("trajectory", step)
        lead.zero_grad()
        model.zero_grad()
        leader(model(*batch)).backward()
        lead.step()
        if step + 1 in at:
            yield _copy(bench, model)


def own(bench: Bench, at: Sequence[int], estimator: Estimator) -> Iterator[nn.Module]:
    """The models at these steps of training with an estimator, on the minibatches of the common run.

    Args:
        bench: the bench.
        at: the steps, in order, the first of them 0.
        estimator: a prepared estimator, which trains the model and its own parameters.
    """
    model = bench.model()
    yield _copy(bench, model)
    if at[-1] == 0:
        return
    minibatches, trainer = bench.minibatches(), bench.task.trainer(model, estimator)
    for step, batch in zip(range(at[-1]), minibatches, strict=False):
        # measurements between the steps consume random numbers
        bench.sow("own", step, bench.cell)
        trainer.zero_grad()
        estimator(model(*batch)).backward()
        trainer.step()
        if step + 1 in at:
            yield _copy(bench, model)


def _copy(bench: Bench, model: nn.Module) -> nn.Module:
    copy = bench.model()
    copy.load_state_dict(model.state_dict())
    return copy
