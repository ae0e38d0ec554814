"""The measure ``training``: the objective against steps and seconds.

Evaluation always uses exact samples, also if an estimator trains with relaxed ones.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from estbench.core import program
from estbench.core.task import Batch, Task
from estbench.engine.base import Bench, MakeEstimator, Measure, MeasurementError, Member, MemberOutcome, Row, verdict
from estbench.engine.checks import number_each
from estbench.engine.profiling.png import png
from estbench.engine.training.compatibility import alike
from estbench.engine.training.cost_model import replicas_that_fit, together_pays
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.run_group import Alone, Question, RunGroup, rows_at_once
from estbench.engine.training.training_run import TrainingRun
from estbench.errors import plain, reason, shorten
from estbench.measures.metrics.training import METRICS
from estbench.runtime.device import check_answers
from estbench.runtime.guard import pass_on
from estbench.runtime.memory import collect
from estbench.stats import Interval, normal_margin

T = TypeVar("T")
VALIDATION_SAMPLES = 100


class Training(Measure):
    """Trains a model from the same start on the same minibatches with each estimator.

    Args:
        steps: number of training steps; a larger number later continues from the kept state.
        evaluations: how often the objective is evaluated along the way, evenly spaced.
        samples: size of the multi-sample bound of an ELBO or NLL on the test images at the end; 0 leaves it out. On
            the validation images, where the bound only serves tuning, at most 100 are used.
        examples: number of training examples on which the objective is evaluated.
        pictures: number of test examples in the task's pictures at the end, if it makes any; 0 for none.
    """

    metrics = METRICS
    repeated = True
    tuned = True
    budgets = ("steps",)
    ensembles = True

    def __init__(
        self, steps: int = 1000, evaluations: int = 10, samples: int = 100, examples: int = 1000, pictures: int = 8
    ) -> None:
        if steps < 1 or evaluations < 1 or samples < 0 or examples < 1 or pictures < 0:
            raise ValueError(
                f"training needs at least 1 step, evaluation and example; got {steps=}, {evaluations=}, "
                f"{samples=}, {examples=}, {pictures=}"
            )
        self.steps, self.evaluations = steps, min(evaluations, steps)
        self.samples, self.examples, self.pictures = samples, examples, pictures

    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        for key, maker in makers.items():
            (found,) = self.together([Member(bench, key, maker)])
            if found.error is not None:
                raise found.error
            yield from ((key, row) for row in found.rows)

    def together(self, members: Sequence[Member]) -> list[MemberOutcome]:
        """Trains compatible runs as one batch, and each of the others alone."""
        found: dict[int, MemberOutcome] = {}
        runs: dict[int, TrainingRun] = {}
        for number, member in enumerate(members):
            try:
                runs[number] = self._training_run(member)
            except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
                pass_on(error)
                check_answers(member.bench.device, error)
                found[number] = MemberOutcome(error=error)
        for group in alike(list(runs.values())):
            numbers = [number for number, run in runs.items() if run in group]
            for some in _parts(numbers, replicas_that_fit(group[0])):
                own, chosen = [members[n] for n in some], [runs[n] for n in some]
                if len(some) == 1 < len(members):
                    # the other runs have advanced the generators that it shares with them
                    chosen = [self._training_run(own[0])]
                found |= zip(some, self._found(own, chosen), strict=True)
        return [found[number] for number in range(len(members))]

    def _found(self, members: Sequence[Member], runs: Sequence[TrainingRun], before: str = "") -> list[MemberOutcome]:
        """The outcomes of compatible runs; ``before`` says why the batch was split, if it was."""
        device = members[0].bench.device
        # on a GPU a single run is an ensemble too, so that it can use a CUDA graph
        if len(runs) == 1 and device.type != "cuda":
            return [self._alone(lambda: runs[0], before)]
        if members[0].auto and not together_pays(runs[0]):
            return list(self._each_alone(members, before))
        halve = False
        try:
            return self._as_one(runs, before)
        except BaseException as error:  # noqa: BLE001  (whatever it is, each may do better alone)
            pass_on(error)
            check_answers(device, error)
            halve = isinstance(error, torch.OutOfMemoryError) and len(members) > 1
            note = f"not in an ensemble of {len(members)}: {reason(error)}"
        # after the except block, the exception's frames hold no memory any more, which may have been what was lacking
        collect(device)
        note = shorten(note, 300)
        if halve:
            halves = _parts(members, -(-len(members) // 2))
            return [one for half in halves for one in self._found(half, list(map(self._training_run, half)), note)]
        return list(self._each_alone(members, note))

    def _as_one(self, runs: Sequence[TrainingRun], before: str) -> list[MemberOutcome]:
        group = Ensemble(runs)
        self._train(group)
        note = "; ".join(filter(None, (before, group.note)))
        return [MemberOutcome(self._shown(run), run.error, note) for run in runs]

    def _each_alone(self, members: Sequence[Member], note: str) -> Iterator[MemberOutcome]:
        for member in members:
            found = self._alone(functools.partial(self._training_run, member), note)
            if found.error is not None:
                check_answers(member.bench.device, found.error)
            yield found

    def _alone(self, make: Callable[[], TrainingRun], note: str) -> MemberOutcome:
        try:
            run = make()
            alone = Alone([run])
            self._train(alone)
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
            pass_on(error)
            return MemberOutcome(error=error, note=note)
        return MemberOutcome(self._shown(run), run.error, "; ".join(filter(None, (note, alone.note))))

    def _training_run(self, member: Member) -> TrainingRun:
        run = TrainingRun(member.bench, member.maker().to(member.bench.device), member.key)
        if earlier := member.bench.journal.furthest("step", self.steps):
            run.load(earlier)
        return run

    def _train(self, group: RunGroup) -> None:
        evaluated = group.runs[0].evaluated
        for stop in self._grid:
            if stop >= group.step and stop not in evaluated and group.alive:
                group.advance(stop)
                self._evaluate(group)
        group.keep(done=True)
        self._bounds(group)
        for _, run in group.alive:
            run.rows += [_of(run, self.steps, row) for row in self._pictures(run)]

    @property
    def _grid(self) -> list[int]:
        return [round(self.steps * k / self.evaluations) for k in range(self.evaluations + 1)]

    def _shown(self, run: TrainingRun) -> list[Row]:
        # a shorter run was evaluated at more steps: rows that one long run would not have are left out, unless there
        # are no others
        fits = run.evaluated.issuperset(self._grid)
        return [row for row in run.rows if row.step in self._grid or not fits]

    def _pictures(self, run: TrainingRun) -> Iterator[Row]:
        bench = run.bench
        if not self.pictures:
            return
        batch = tuple(x[: self.pictures] for x in bench.splits().test)
        try:
            with bench.aside("pictures"), torch.no_grad(), _evaluated(run.model):
                pictures = dict(bench.task.pictures(run.model, batch))
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything; what was trained is kept)
            pass_on(error)
            check_answers(bench.device, error)
            yield dataclasses.replace(verdict(error), metric="picture")
            return
        for title, images in pictures.items():
            yield _picture(title, images, len(batch[0]))

    def _evaluate(self, group: RunGroup) -> None:
        """The objective and the task's further metrics on each split."""
        task, splits = group.runs[0].bench.task, group.runs[0].bench.splits()
        question = functools.partial(_in_evaluation, functools.partial(_answers, task))
        named = {"train": self._few(group), "valid": [splits.valid], "test": [splits.test]}
        for split, data in named.items():
            size = rows_at_once(group.runs[0].bench.device)
            answers = group.ask(question, data, size, "evaluation", group.step, split)
            for number, run in group.alive:
                costs, *metrics = ((name, values[number]) for name, values in answers.items())
                # parameters may be NaN while the sampled cost used in training is still finite
                if not costs[1].isfinite().all():
                    what = f"{task.objective}_{split} is {costs[1].mean().item()}"
                    run.error = MeasurementError(f"{what} after {group.step} training steps")
                    continue
                rows = [_objective(task, f"{task.objective}_{split}", costs[1])]
                rows += [_row(f"{name}_{split}", values, "") for name, values in metrics]
                run.rows += [_of(run, group.step, row) for row in rows]

    def _few(self, group: RunGroup) -> list[Batch]:
        """The training examples on which each replica is evaluated, in their training view."""
        benches = [run.bench for run in group.runs]
        if type(benches[0].task).view is Task.view:
            return [tuple(x[: self.examples] for x in benches[0].splits().train)]
        some = tuple(x[: self.examples] for x in benches[0].on_cpu().train)
        return [bench.view(some, "view") for bench in benches]

    def _bounds(self, group: RunGroup) -> None:
        """The multi-sample bound at the end of training."""
        task, splits = group.runs[0].bench.task, group.runs[0].bench.splits()
        if not self.samples or task.objective == "loss" or not group.alive:
            return
        sizes = {"valid": min(self.samples, VALIDATION_SAMPLES), "test": self.samples}
        for split, samples in sizes.items():
            question = functools.partial(_in_evaluation, functools.partial(_bound, samples))
            size = max(1, rows_at_once(group.runs[0].bench.device) // samples)
            answers = group.ask(question, [getattr(splits, split)], size, "bound", self.steps, split)
            for number, run in group.alive:
                row = _objective(task, f"{bound_name(task.objective)}{samples}_{split}", answers["bound"][number])
                run.rows.append(_of(run, self.steps, row))


def _picture(title: str, images: Tensor, examples: int) -> Row:
    """The row of a picture; of one that cannot be drawn, a failed one, as the figures beside it hold."""
    try:
        return Row(f"picture/{title}", n=examples, picture=png(images))
    except BaseException as error:  # noqa: BLE001  (a plugin may give anything)
        pass_on(error)
        return dataclasses.replace(verdict(error), metric=f"picture/{plain(title)}")


def _parts(values: Sequence[T], most: int) -> list[Sequence[T]]:
    """Splits values into consecutive parts of at most ``most``."""
    size = min(most, len(values))
    return [values[start : start + size] for start in range(0, len(values), size)]


def bound_name(objective: str) -> str:
    """The name of the multi-sample bound of an objective in results, without the number of samples."""
    return "bound" if objective == "elbo" else objective


def _bound(samples: int, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The negative multi-sample bound of each example; with one sample, its cost."""
    cost, _ = program.run(model(*batch), program.repeat(program.draw, samples))
    return {"bound": math.log(samples) - (-cost).logsumexp(0)}


def _in_evaluation(question: Question, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Calls a question with the model in evaluation mode: without dropout, with running statistics from training."""
    with _evaluated(model):
        return question(model, batch)


@contextlib.contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode inside the context, and restores the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _answers(task: Task, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The cost of each example, exact if the task knows it, else at one exact sample; then the task's metrics."""
    exact = task.closed_form(model, batch)
    cost = program.run(exact, program.mean)[0] if exact else _bound(1, model, batch)["bound"]
    metrics = task.metrics(model, batch).items()
    return {"": cost} | {name: number_each(f"the task's metric {name!r}", each, len(cost)) for name, each in metrics}


def _objective(task: Task, metric: str, costs: Tensor) -> Row:
    values = -costs if task.objective == "elbo" else costs
    return _row(metric, values, "" if task.objective == "loss" else "nats")


def _row(metric: str, values: Tensor, unit: str) -> Row:
    values = values.double()
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else math.nan
    value, margin = values.mean().item(), normal_margin(error)
    interval = Interval(value, value - margin, value + margin)
    return Row(metric, *interval, unit=unit, n=len(values))


def _of(run: TrainingRun, step: int, row: Row) -> Row:
    """The row with the step, seconds and replicas of its training run."""
    return dataclasses.replace(row, step=step, seconds=run.seconds, replicas=run.replicas)
