"""Stacked optimisers: one optimiser step for the parameters of many replicas."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from estbench.core.task import Trainer
from estbench.engine.training.random_tape import CannotTogetherError

# optimisers whose step is, entry by entry, the learning rate times a factor that does not depend on it
LINEAR = (torch.optim.Adam, torch.optim.RAdam, torch.optim.SGD, torch.optim.RMSprop)


class StackedTrainer:
    r"""Trains replicas together, with the same steps as their own trainers.

    The parameters of a group of an optimiser are stacked into one tensor with a row per replica. The optimiser itself
    is torch's, with a learning rate of 1 on a tensor of zeros; the result is the step up to each replica's learning
    rate.

    .. math:: \theta_r \leftarrow \theta_r + \eta_r \, \Delta(g_r)

    Args:
        trainers: one for each replica; they are not changed before ``unstack``.
        names: names of the parameters of each replica, by their ``id``.

    Attributes:
        leaves: the parameters that are trained, ``(replicas, ...)``, by their names.

    Raises:
        CannotTogetherError: the trainers differ in more than learning rates, or their steps are not of this form.
    """

    def __init__(self, trainers: Sequence[Trainer], names: Sequence[Mapping[int, str]]) -> None:
        _refuse(trainers)
        self._trainers, self._names = trainers, names
        self._groups = [
            _Group([(trainer.optimizers[i], j) for trainer in trainers], names)
            for i, optimizer in enumerate(trainers[0].optimizers)
            for j in range(len(optimizer.param_groups))
        ]
        self.leaves = {name: leaf for group in self._groups for name, leaf in group.leaves.items()}
        # replicas with the same learning rates have the same schedules, so one of them suffices
        kinds: dict[str, list[int]] = {}
        for number, trainer in enumerate(trainers):
            schedules = [each.state_dict() for each in trainer.schedulers]
            kinds.setdefault(str((rates(trainer), schedules)), []).append(number)
        self._alike = list(kinds.values())

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """One step with the gradients of the leaves, without waiting for the device."""
        for group in self._groups:
            group.step(gradients)

    def schedule(self) -> None:
        """Updates learning rates by their schedules, after a step."""
        if not self._trainers[0].schedulers:
            return
        for alike in self._alike:
            # without gradients this step does nothing; it prevents torch's warning that the optimiser never stepped
            self._trainers[alike[0]].step()
        found = [rates(self._trainers[alike[0]]) for alike in self._alike]
        for number, group in enumerate(self._groups):
            each = zip(self._alike, found, strict=True)
            group.learn({replica: rate[number] for alike, rate in each for replica in alike})

    def unstack(self) -> None:
        """Copies each replica's parameters, and the state of its optimisers and schedules, back to its own trainer."""
        for group in self._groups:
            group.unstack()
        for alike in self._alike:
            first = self._trainers[alike[0]]
            for trainer in (self._trainers[number] for number in alike[1:]):
                for own, its in zip(trainer.schedulers, first.schedulers, strict=True):
                    own.load_state_dict(its.state_dict())
                for rate, optimizer_group in zip(rates(first), _param_groups(trainer), strict=True):
                    optimizer_group["lr"] = rate


class _Group:
    """A parameter group of an optimiser, for all replicas.

    Args:
        homes: each replica's optimiser, and the index of the group in it.
        names: names of the parameters of each replica, by their ``id``.
    """

    def __init__(self, homes: Sequence[tuple[torch.optim.Optimizer, int]], names: Sequence[Mapping[int, str]]) -> None:
        self._homes = homes
        self._parameters: list[list[nn.Parameter]] = [optimizer.param_groups[j]["params"] for optimizer, j in homes]
        first = self._parameters[0]
        self._names = [names[0][id(parameter)] for parameter in first]
        flat = [torch.cat([parameter.detach().flatten() for parameter in own]) for own in self._parameters]
        self._flat = torch.stack(flat)
        self._gradient = torch.zeros_like(self._flat)
        self._delta = nn.Parameter(torch.zeros_like(self._flat))
        sizes = [parameter.numel() for parameter in first]
        ends = list(itertools.accumulate(sizes))
        self._spans = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.leaves = {
            name: self._flat[:, span].view(len(homes), *parameter.shape).detach().requires_grad_()
            for name, span, parameter in zip(self._names, self._spans, first, strict=True)
        }
        self._known = [[optimizer.param_groups[j]["lr"]] for optimizer, j in homes]
        self._rates = self._flat.new_tensor(self._known)
        self._optimizer = _unit(*homes[0], self._delta)
        self._take_over()

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        replicas = len(self._flat)
        torch.cat([gradients[name].reshape(replicas, -1) for name in self._names], 1, out=self._gradient)
        self._delta.grad = self._gradient
        self._delta.zero_()
        with _exact_count(self._optimizer):
            self._optimizer.step()
        self._flat.addcmul_(self._delta, self._rates)

    def learn(self, rates: Mapping[int, float]) -> None:
        new = [[rates[replica]] for replica in range(len(rates))]
        if new != self._known:
            self._known = new
            # with pinned memory, the host does not wait for the copy
            pinned = torch.tensor(new, dtype=self._rates.dtype, pin_memory=self._rates.is_cuda)
            self._rates.copy_(pinned, non_blocking=True)

    @torch.no_grad()
    def unstack(self) -> None:
        state = self._optimizer.state.get(self._delta, {})
        for replica, ((optimizer, _), parameters) in enumerate(zip(self._homes, self._parameters, strict=True)):
            for span, parameter in zip(self._spans, parameters, strict=True):
                parameter.copy_(self._flat[replica, span].view_as(parameter))
                optimizer.state[parameter] = {
                    key: value[replica, span].view_as(parameter).clone()
                    if _entries(key, value)
                    else _count(value, optimizer, parameter)
                    for key, value in state.items()
                    if value is not None
                }

    def _take_over(self) -> None:
        """The stacked state of the replicas' optimisers."""
        states = [
            [optimizer.state.get(parameter, {}) for parameter in own]
            for (optimizer, _), own in zip(self._homes, self._parameters, strict=True)
        ]
        every = [state for own in states for state in own]
        if not any(every):
            return
        counts = [str({key: value for key, value in state.items() if not _entries(key, value)}) for state in every]
        if len(set(counts)) > 1:
            raise CannotTogetherError("its optimiser has taken other numbers of steps for some parameters")
        self._optimizer.state[self._delta] = {
            key: torch.stack([torch.cat([state[key].flatten() for state in own]) for own in states])
            if _entries(key, value)
            else _count(value, self._optimizer, self._delta)
            for key, value in every[0].items()
            if value is not None
        }


def _count(value: Tensor, optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor:
    """A copy of a step counter, in the dtype and on the device of an optimiser's own counter."""
    group = optimizer.param_groups[0]
    there = bool(group.get("capturable") or group.get("fused"))
    dtype = torch.float64 if _counts_exactly(optimizer) else torch.float32
    return value.to(parameter.device if there else "cpu", dtype, copy=True)


def _counts_exactly(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser computes with its step counter on the device, in the counter's dtype.

    In float32, RAdam would compute the difference of two numbers near 2,000, with an error of its steps of half a
    percent. Fused kernels require the counter in float32, and compute in float64 internally.
    """
    group = optimizer.param_groups[0]
    return bool(group.get("capturable") and not group.get("fused"))


@contextlib.contextmanager
def _exact_count(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside the context, an optimiser that starts to count steps on the device counts in float64.

    At their first step, torch's optimisers use the default dtype for the counter.
    """
    if optimizer.state or not _counts_exactly(optimizer):
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _entries(key: str, value: Any) -> bool:
    """Whether an entry of an optimiser's state has the shape of its parameter."""
    return isinstance(value, Tensor) and key != "step"


def _unit(optimizer: torch.optim.Optimizer, number: int, delta: nn.Parameter) -> torch.optim.Optimizer:
    """An optimiser of the same kind with a learning rate of 1, on a GPU one that can be captured in a graph."""
    options = _hyperparameters(optimizer.param_groups[number])
    if delta.is_cuda and "capturable" in options:
        options = {**options, "capturable": True}
    kind: Any = type(optimizer)
    return kind([delta], **options, lr=1.0)


def _hyperparameters(group: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in group.items() if key not in ("params", "lr", "initial_lr")}


def _param_groups(trainer: Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]


def rates(trainer: Trainer) -> list[float]:
    """The learning rate of each group of parameters."""
    return [group["lr"] for group in _param_groups(trainer)]


def kind(trainer: Trainer) -> tuple[Any, ...]:
    """The properties in which the trainers of an ensemble must agree."""
    return (
        [type(optimizer) for optimizer in trainer.optimizers],
        [_hyperparameters(group) for group in _param_groups(trainer)],
        [len(group["params"]) for group in _param_groups(trainer)],
        [type(scheduler) for scheduler in trainer.schedulers],
    )


def _refuse(trainers: Sequence[Trainer]) -> None:
    for optimizer in trainers[0].optimizers:
        if type(optimizer) not in LINEAR:
            raise CannotTogetherError(f"{type(optimizer).__name__} is not known to be linear in its learning rate")
        if any(group["weight_decay"] for group in optimizer.param_groups):
            raise CannotTogetherError("its optimiser decays weights")
    if any(kind(trainer) != kind(trainers[0]) for trainer in trainers):
        raise CannotTogetherError("their optimisers differ in more than learning rates")
