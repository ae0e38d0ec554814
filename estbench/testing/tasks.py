"""The checks of a task: its data stay the same, and its program broadcasts over leading dimensions of samples."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.core.program import Sites, draw, plate, repeat, replay, run
from estbench.core.task import Batch, Task
from estbench.plugins.registry import discover, load_estimator
from estbench.testing.verdict import Verdict, one_line

EXAMPLES = 3


def check_task(task: Task) -> None:
    """Checks a task.

    Raises:
        AssertionError: the task does not fulfil its contract; the message says why.
    """
    for check in CHECKS.values():
        with _seeded():
            check(task)


def run_task_checks(task: Task) -> Iterator[Verdict]:
    """Checks a task: one verdict per check, as soon as there is one.

    Args:
        task: the task.

    Example:
        >>> from estbench import load_task
        >>> [str(verdict) for verdict in run_task_checks(load_task("toy"))][:2]
        ['declarations: passed', 'data: passed']
    """
    for name, check in CHECKS.items():
        try:
            with _seeded():
                check(task)
        except AssertionError as error:
            yield Verdict(name, "failed", reason=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may raise anything)
            yield Verdict(name, "failed", reason=one_line(error))
        else:
            yield Verdict(name, "passed")


@contextmanager
def _seeded() -> Iterator[None]:
    """Seeds the generators inside the context, and restores their state afterwards."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _declarations(task: Task) -> None:
    objectives = ("elbo", "nll", "loss")
    _demand(task.objective in objectives, f"'objective' is one of {objectives}; got {task.objective!r}")
    known = discover("estimator").plugins
    for name in filter(None, (task.baseline, task.oracle)):
        _demand(name.partition("[")[0] in known, f"it names the estimator {name!r}, which does not exist")


def _data(task: Task) -> None:
    first, second = task.splits(), task.splits()
    for one, other in zip(first, second, strict=True):
        _demand(len({len(x) for x in one}) == 1, "the tensors of a split must have equally many examples")
        _demand(all(map(torch.equal, one, other)), "splits must be the same at every call")


def _batch(task: Task) -> Batch:
    """A small minibatch."""
    batch = next(task.minibatches(task.splits().train, torch.Generator().manual_seed(0)))
    return tuple(x[:EXAMPLES] for x in batch)


def _broadcasts(task: Task) -> None:
    """The program returns one cost per example, and for several samples at once the cost that each has alone."""
    batch = _batch(task)
    program, examples = task.model()(*batch), len(batch[0])
    cost, _ = run(program, draw)
    _demand(cost.shape == (examples,), f"the cost must have shape ({examples},); got {tuple(cost.shape)}")
    cost, sites = run(program, repeat(draw, 2))
    _demand(
        cost.shape == (2, examples),
        f"for 2 samples the cost must be (2, {examples}); got {tuple(cost.shape)}",
    )
    for k in range(2):
        alone, _ = run(program, replay({name: site.value[k] for name, site in sites.items()}, draw))
        _demand(
            torch.allclose(alone, cost[k], rtol=1e-4, atol=1e-5),
            "the cost of one of several samples must be what it is alone; does the program broadcast, and "
            "leave all randomness to sample?",
        )
    if len(sites) <= 4:
        full, _ = run(program, plate(_pair))
        _demand(
            full.shape[-1] == examples and full.ndim == 1 + len(sites),
            f"with a dimension per node the cost must have {1 + len(sites)}; got {tuple(full.shape)}",
        )


def _pair(_name: str, node: Node, _sites: Sites) -> Tensor:
    """Two samples."""
    return torch.stack([node.sample(), node.sample()])


def _differentiates(task: Task) -> None:
    model, batch = task.model(), _batch(task)
    estimator = load_estimator(task.baseline).prepare(model(*batch))
    estimator(model(*batch)).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    missing = [name for name, g in gradients.items() if g is None]
    _demand(not missing, f"the baseline's gradient reaches every parameter but {missing}")
    broken = [name for name, g in gradients.items() if g is not None and not g.isfinite().all()]
    _demand(not broken, f"the baseline's gradient is not finite for {broken}")


# each raises AssertionError with a message that says what it found
CHECKS: Mapping[str, Callable[[Task], None]] = {
    "declarations": _declarations,
    "data": _data,
    "program": _broadcasts,
    "gradient": _differentiates,
}
