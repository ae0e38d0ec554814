"""The interface of measures, and the bench that a measure receives."""

import abc
import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import nn

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.making import Recorded
from estbench.core.metrics import Metric
from estbench.core.task import Batch, Splits, Task
from estbench.engine.checks import described, real, whole
from estbench.engine.journal import Journal, NoJournal
from estbench.errors import LONGEST, plain, reason, shorten
from estbench.runtime import shared_generators
from estbench.runtime.device import moved
from estbench.runtime.guard import pass_on

T = TypeVar("T")
STATUSES = ("ok", "not applicable", "failed", "unresolved")
MakeEstimator: TypeAlias = Callable[[], Estimator]


@dataclass(frozen=True)
class Row:
    """One value of one metric: a row of the results.

    Args:
        metric: the key of a metric that the measure declares, such as ``step_time``.
        value: the value; ``low`` and ``high`` are its 95 % interval.
        unit: ``nats``, ``s``, ``B`` or empty.
        n: number of replicates, blocks or examples from which it was computed.
        step: number of training steps after which the parameters were measured.
        seconds: training time up to that step; for replicas trained together, the total time divided by their number.
        replicas: how many runs were trained together; only with 1 do the seconds say how long a step takes.
        status: ``ok``, ``not applicable``, ``failed``, or ``unresolved`` if there were too few replicates for a value.
        error: the reason if the status is not ``ok``; otherwise a remark on how the value was measured.
        picture: a PNG in base64, for a metric that is a picture.
    """

    metric: str = ""
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    unit: str = ""
    n: int = 0
    step: int = 0
    seconds: float = float("nan")
    status: str = "ok"
    error: str = ""
    picture: str = ""
    replicas: int = 1

    def __post_init__(self) -> None:
        """Checks that a table can hold it, whoever made it.

        Raises:
            TypeError: what is to be a number or a text is something else.
            ValueError: it is no status, or a whole number beyond 64 bits.
        """
        for name in ("value", "low", "high", "seconds"):
            object.__setattr__(self, name, real(f"a row's {name}", getattr(self, name)))
        for name in ("n", "step", "replicas"):
            object.__setattr__(self, name, whole(f"a row's {name}", getattr(self, name)))
        for name in ("metric", "unit", "status", "error", "picture"):
            if not isinstance(text := getattr(self, name), str):
                raise TypeError(f"a row's {name} must be a text; got {described(text)}")
            object.__setattr__(self, name, _clean(name, text))
        if self.status not in STATUSES:
            raise ValueError(f"a row's status is one of {', '.join(STATUSES)}; got {self.status!r}")


def _clean(name: str, text: str) -> str:
    """A text as a table holds it: without control characters and halves of characters, and of bounded length."""
    return text if name == "picture" else shorten(plain(text), 200 if name in ("metric", "unit") else LONGEST)


class MeasurementError(RuntimeError):
    """A measurement failed; the message gives the full reason."""


def verdict(error: BaseException) -> Row:
    """The row of an estimator that could not be measured, with the reason in one line."""
    if isinstance(error, NotApplicableError):
        return Row(status="not applicable", error=shorten(plain(error)))
    if isinstance(error, SystemExit):
        return Row(status="failed", error=f"it tried to exit the interpreter, with {described(error.code)}")
    text = shorten(plain(error)) if isinstance(error, MeasurementError) else reason(error)
    return Row(status="failed", error=text)


@dataclass(frozen=True)
class Bench:
    """The setting of a measurement: a task, a device, a dtype and a seed.

    Args:
        task: the task.
        seed: the run's seed.
        device: torch device.
        dtype: dtype of parameters and data.
        baseline: makes the task's baseline estimator.
        oracle: makes the task's oracle for an m-sample bound; None if the task names none.
        memory: objects shared by the measurements of several estimators.
        cell: identifies the measurement among those of the seed, and thereby its own random streams.
        journal: keeps the states from which the measurement can be continued.
        recipe: makes the bench again in another process; None if the bench itself can be pickled.
    """

    task: Task
    seed: int
    device: torch.device
    dtype: torch.dtype
    baseline: MakeEstimator
    oracle: Callable[[int], Estimator] | None
    memory: dict[Hashable, Any] = field(default_factory=dict)
    cell: str = ""
    journal: Journal = field(default_factory=NoJournal)
    recipe: Callable[[], "Bench"] | None = None

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result of ``make``, which is called only once for each key."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def stream(self, *names: int | str) -> int:
        """The seed of the random stream with this name, which consists of numbers and words."""
        words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "little") for part in names]
        return int(np.random.SeedSequence([self.seed, *words]).generate_state(1, np.uint64)[0] >> 1)

    def sow(self, *names: int | str) -> None:
        """Seeds torch and the global generators of NumPy and Python with a random stream."""
        seed = self.stream(*names)
        torch.manual_seed(seed)
        shared_generators.seed(seed)

    @contextlib.contextmanager
    def aside(self, *names: int | str) -> Iterator[None]:
        """Uses a random stream inside the context, and then restores the generators of torch, NumPy and Python."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), shared_generators.restored():
            self.sow(*names)
            yield

    def generator(self, *names: int | str) -> torch.Generator:
        """A new generator for a random stream; it is on the CPU, so that its numbers do not depend on the device."""
        return torch.Generator().manual_seed(self.stream(*names))

    def model(self) -> torch.nn.Module:
        """A new model, initialised by the seed: the same for every estimator."""
        self.sow("model")
        model = self.task.model().to(self.device, self.dtype)
        if any(nn.parameter.is_lazy(parameter) for parameter in [*model.parameters(), *model.buffers()]):
            # lazy layers get their shapes from a minibatch, and their parameters from the same random stream
            with torch.no_grad():
                model(*next(self.minibatches()))
        return model

    def splits(self) -> Splits:
        """The data on the device; floating-point tensors in the bench's precision."""
        return self.once("splits", lambda: Splits(*(self._moved(split) for split in self.on_cpu())))

    def take_data(self, others: Iterable["Bench"]) -> None:
        """Shares the data of the first of these benches whose data are equal, so that a device holds a single copy."""
        fitting = (other for other in others if other.dtype == self.dtype and same_data(self.on_cpu(), other.on_cpu()))
        if (other := next(fitting, None)) is not None:
            self.memory["splits"] = other.splits()

    def on_cpu(self) -> Splits:
        """The data on the CPU, in the bench's dtype; orders and views are drawn there, with its random numbers."""
        return self.once("splits on the CPU", lambda: Splits(*(self._cast(split) for split in self.task.splits())))

    def minibatches(self, *names: int | str) -> Iterator[Batch]:
        """Training minibatches on the device; a seed gives the same ones on every device and for every estimator.

        Args:
            names: the name of the random stream; by default that of the order of training.
        """
        generator = self.generator(*(names or ("minibatches",)))
        return map(self._moved, self.task.minibatches(self.on_cpu().train, generator))

    def view(self, batch: Batch, *names: int | str) -> Batch:
        """The training view of examples that are on the CPU, moved to the device.

        Args:
            batch: the examples.
            names: the name of the random stream.
        """
        return self._moved(self.task.view(batch, self.generator(*names)))

    def _cast(self, batch: Batch) -> Batch:
        return tuple(x.to(self.dtype) if x.is_floating_point() else x for x in batch)

    def _moved(self, batch: Batch) -> Batch:
        return tuple(moved(x, self.device) for x in batch)


def same_data(ours: Splits, theirs: Splits) -> bool:
    """Whether two data sets have the same or equal tensors."""
    return all(
        len(one) == len(other)
        and all(a is b or (a.shape == b.shape and torch.equal(a, b)) for a, b in zip(one, other, strict=True))
        for one, other in zip(ours, theirs, strict=True)
    )


class Member(NamedTuple):
    """One of several measurements that may be made together.

    Args:
        bench: its setting.
        key: the estimator's key.
        maker: makes the estimator.
        auto: whether it may be measured together with others only if that is faster.
    """

    bench: Bench
    key: str
    maker: MakeEstimator
    auto: bool = False


@dataclass(frozen=True)
class MemberOutcome:
    """The outcome of one of several measurements.

    Args:
        rows: the rows that it yielded.
        error: the exception, if it failed.
        note: if it was not measured together with the others, the reason.
    """

    rows: list[Row] = field(default_factory=list)
    error: BaseException | None = None
    note: str = ""


class Measure(Recorded, abc.ABC):
    """A measure of estimators on a task; its constructor's parameters are its options.

    Attributes:
        metrics: declarations of its metrics: titles, units, better directions. The report, ``diff``, ``export``,
            ``track`` and ``gate`` read them; rows of a metric that is not declared are shown without a better
            direction.
        joint: whether all estimators of a task are measured together, interleaved in time, or each alone.
        repeated: whether it is made for every seed; otherwise only for the first one.
        tuned: whether each estimator is measured with the task's options that were tuned for it, such as a learning
            rate; otherwise all are measured on the same task.
        budgets: options that say how much is measured, not what; with larger values, a measurement continues from the
            states in the bench's journal.
        ensembles: whether ``together`` can measure several runs as one batch.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()
    joint: ClassVar[bool] = False
    tuned: ClassVar[bool] = False
    repeated: ClassVar[bool] = False
    budgets: ClassVar[tuple[str, ...]] = ()
    ensembles: ClassVar[bool] = False

    @abc.abstractmethod
    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        """Measures the estimators that ``makers`` make; yields rows with the key of their estimator."""

    def together(self, members: Sequence[Member]) -> list[MemberOutcome]:
        """Hook: measures runs of one task and estimator that differ only in seeds or float options.

        By default one after another; a measure that can train them as one batch overrides this.
        """
        return [found_alone(self, member) for member in members]


def found_alone(measure: Measure, member: Member) -> MemberOutcome:
    """The outcome of one measurement made on its own."""
    try:
        return MemberOutcome([row for _, row in measure.rows(member.bench, {member.key: member.maker})])
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
        pass_on(error)
        return MemberOutcome(error=error)
