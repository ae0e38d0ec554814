"""Compatibility: which training runs can be trained as one batch, and in which floats they differ."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from estbench.core.making import KEPT_AS
from estbench.engine.base import same_data
from estbench.engine.training.stacked_optimizer import kind
from estbench.engine.training.training_run import TrainingRun

# attributes that every module has, whose hooks do not matter here; and how an estimator or a task was made
_OF_MODULES = (frozenset(vars(nn.Module())) - {"training"}) | {KEPT_AS}

_PLAIN = (bool, int, float, str, list, tuple, dict, set, type(None))


class Number(NamedTuple):
    """An attribute in which replicas differ.

    Args:
        owner: the object of the first replica.
        name: name of the attribute.
        values: the value of each replica.
    """

    owner: Any
    name: str
    values: tuple[float, ...]


def alike(runs: Sequence[TrainingRun]) -> list[list[TrainingRun]]:
    """Groups of runs that can be trained together, in order: they differ only in seeds, learning rates and floats."""
    groups: list[list[TrainingRun]] = []
    for run in runs:
        fitting = (group for group in groups if _fit(group[0], run))
        if (group := next(fitting, None)) is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def _fit(first: TrainingRun, other: TrainingRun) -> bool:
    places = (first.step, first.evaluated) == (other.step, other.evaluated)
    return places and kind(first.trainer) == kind(other.trainer) and _structure(first, other) and _data(first, other)


def _structure(first: TrainingRun, other: TrainingRun) -> bool:
    ours, theirs = _owners(first), _owners(other)
    if [name for name, _ in ours] != [name for name, _ in theirs]:
        return False
    pairs = zip(ours, theirs, strict=True)
    return all(_same_owner(one, another) for (_, one), (_, another) in pairs)


def _same_owner(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or _attributes(one).keys() != _attributes(other).keys():
        return False
    if isinstance(one, nn.Module) and _shapes(one) != _shapes(other):
        return False
    pairs = ((value, _attributes(other)[name]) for name, value in _attributes(one).items())
    return all(type(a) is type(b) and (isinstance(a, float) or _equal(a, b)) for a, b in pairs)


def _shapes(module: nn.Module) -> list[tuple[Any, ...]]:
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return [(name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in own]


def _equal(one: Any, other: Any) -> bool:
    """Whether values are equal; values that cannot be compared are equal only if they are the same object."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    with contextlib.suppress(Exception):
        return bool(one is other or one == other)
    return False


def _data(first: TrainingRun, other: TrainingRun) -> bool:
    """Whether both have the same data."""
    return same_data(first.bench.on_cpu(), other.bench.on_cpu())


def _owners(run: TrainingRun) -> list[tuple[str, Any]]:
    """The objects whose attributes are compared: the task, and the modules of model and estimator."""
    wholes = _wholes(run)
    modules = [(f"{which}.{name}", module) for which, whole in wholes for name, module in whole.named_modules()]
    return [("task", run.bench.task), *modules]


def _wholes(run: TrainingRun) -> tuple[tuple[str, nn.Module], ...]:
    return ("model", run.model), ("estimator", run.estimator)


def _attributes(owner: Any) -> Mapping[str, Any]:
    return {name: value for name, value in vars(owner).items() if name not in _OF_MODULES}


def numbers(runs: Sequence[TrainingRun]) -> list[Number]:
    """The attributes in which compatible runs differ."""
    found: list[Number] = []
    for place, (_, owner) in enumerate(_owners(runs[0])):
        others = [_owners(run)[place][1] for run in runs]
        for name, value in _attributes(owner).items():
            values = tuple(vars(other)[name] for other in others)
            if isinstance(value, float) and len(set(values)) > 1:
                found.append(Number(owner, name, values))
    return found


def plain_attributes(run: TrainingRun) -> dict[str, str]:
    """The attributes of task, model and estimator that are not tensors, as text, by name."""
    return {
        f"{place.rstrip('.')}.{name}": repr(value)
        for place, owner in _owners(run)
        for name, value in _attributes(owner).items()
        if isinstance(value, _PLAIN)
    }


@contextlib.contextmanager
def instead(attributes: Sequence[Number], values: Sequence[Tensor]) -> Iterator[None]:
    """Replaces floats by tensors inside the context."""
    before = [vars(number.owner)[number.name] for number in attributes]
    try:
        for number, value in zip(attributes, values, strict=True):
            vars(number.owner)[number.name] = value
        yield
    finally:
        for number, value in zip(attributes, before, strict=True):
            vars(number.owner)[number.name] = value
