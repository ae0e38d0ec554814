"""Model state: buffers and attributes of a model other than its parameters, restored after every run."""

import collections
import contextlib
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

# attributes of torch.nn.Module itself, which are not part of the state
_ITSELF = frozenset({"_parameters", "_modules", "_buffers"})
_CONTAINERS = (list, dict, set, collections.deque)


class ModuleState(NamedTuple):
    """The state of a module at some time.

    Args:
        own: its attributes.
        buffers: its buffers.
    """

    own: dict[str, Any]
    buffers: dict[str, Any]


class ModelState:
    """The attributes of a model's modules, including the contents of their containers and generators.

    Running statistics of norms are kept constant by switching their tracking off. Other tensors that change are
    replaced by clones during a run, so that only the clones change.

    Args:
        model: the model.

    Attributes:
        changes: whether any run so far changed anything.
        parameters: whether a run changed parameters; they are then written back after each run.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules, self._own_parameters = [*model.modules()], [*model.parameters()]
        self._norms = [m for m in self._modules if isinstance(m, _NormBase) and m.training and m.track_running_stats]
        self._joining = [norm for norm in self._norms if isinstance(norm, _BatchNorm)]
        # the tensors that change, by number of the module and name; None until this is known
        self._changing: set[tuple[int, str]] | None = None
        self.changes, self.parameters = bool(self._norms), True

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Finds out what a run inside the context changes, and restores it afterwards."""
        parameters = [p.detach().clone() for p in self._own_parameters]
        with self.held() as clones:
            before, contents = self.taken(), [*_contents(self._modules)]
            versions = {place: clone._version for place, (_, clone) in clones.items()}  # noqa: SLF001  (torch has no public name for it)
            yield
            written = {
                place
                for place, (tensor, clone) in clones.items()
                # writing through .data does not change a tensor's version counter
                if clone._version != versions[place] or not _same(tensor, clone)  # noqa: SLF001
            }
            moved = any(not _same(p, value) for p, value in zip(self._own_parameters, parameters, strict=True))
            others = _differ(before, self.taken()) or any(not _alike(_content(each), then) for each, then in contents)
        self._changing, self.parameters = written, moved
        self.changes = bool(self._norms or written or moved or others)

    @contextlib.contextmanager
    def held(self, start: list[ModuleState] | None = None) -> Iterator[dict[tuple[int, str], tuple[Tensor, Tensor]]]:
        """Restores the model's state at the end of the context.

        Args:
            start: the state at the beginning; by default the current one.

        Yields:
            The tensors that are replaced by a clone, each with its clone, by number of the module and name.
        """
        before, contents = self.taken(), [*_contents(self._modules)]
        values = [p.detach().clone() for p in self._own_parameters] if self.parameters else []
        try:
            if start is not None:
                self._put(start)
            for norm in self._norms:
                norm.track_running_stats = False
            yield self._clone()
        finally:
            self._put(before)
            for holder, content in contents:
                _refill(holder, content)
            for parameter, value in zip(self._own_parameters, values, strict=bool(values)):
                parameter.data.copy_(value)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Makes batch norms use their running statistics inside the context, so that they do not join samples."""
        for norm in self._joining:
            norm.training = False
        try:
            yield
        finally:
            for norm in self._joining:
                norm.training = True

    @contextlib.contextmanager
    def noting_norms(self) -> Iterator[list[nn.Module]]:
        """Collects the batch norms that run inside the context, out of those that ``alone`` changes."""
        called: list[nn.Module] = []
        hooks = [norm.register_forward_pre_hook(lambda norm, _: called.append(norm)) for norm in self._joining]
        try:
            yield called
        finally:
            for hook in hooks:
                hook.remove()

    def taken(self) -> list[ModuleState]:
        """The current state of all modules."""
        return [
            ModuleState(
                {name: value for name, value in vars(module).items() if name not in _ITSELF},
                dict(module._buffers),  # noqa: SLF001
            )
            for module in self._modules
        ]

    def _put(self, kept: list[ModuleState]) -> None:
        for module, (own, buffers) in zip(self._modules, kept, strict=True):
            for name in vars(module).keys() - own.keys() - _ITSELF:
                del vars(module)[name]
            vars(module).update(own)
            module._buffers.clear()  # noqa: SLF001
            module._buffers.update(buffers)  # noqa: SLF001

    def _clone(self) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
        """Replaces the tensors that change by clones; all tensors, until it is known which change."""
        made: dict[int, Tensor] = {}
        clones: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        for number, module in enumerate(self._modules):
            for holder in (vars(module), module._buffers):  # noqa: SLF001
                for name, value in holder.items():
                    place = number, name
                    if isinstance(value, Tensor) and (self._changing is None or place in self._changing):
                        # a tensor that occurs in two places has the same clone in both
                        clone = made.setdefault(id(value), value.detach().clone())
                        holder[name], clones[place] = clone, (value, clone)
        return clones


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one.detach().nan_to_num(), other.detach().nan_to_num()))


def _differ(before: list[ModuleState], after: list[ModuleState]) -> bool:
    """Whether attributes of the modules were replaced by other objects."""
    pairs = [pair for both in zip(before, after, strict=True) for pair in zip(*both, strict=True)]
    return any(
        one.keys() != other.keys() or any(value is not other[name] for name, value in one.items())
        for one, other in pairs
    )


def _contents(modules: list[nn.Module]) -> Iterator[tuple[Any, Any]]:
    """The containers and generators among the attributes, with their contents."""
    for module in modules:
        for name, value in vars(module).items():
            if name not in _ITSELF and (type(value) in _CONTAINERS or _generates(value)):
                yield value, _content(value)


def _generates(value: Any) -> bool:
    return isinstance(value, (np.random.Generator, np.random.RandomState, random.Random, torch.Generator))


def _content(holder: Any) -> Any:
    if isinstance(holder, np.random.Generator):
        return holder.bit_generator.state
    if isinstance(holder, (np.random.RandomState, torch.Generator)):
        return holder.get_state()
    return holder.getstate() if isinstance(holder, random.Random) else holder.copy()


def _refill(holder: Any, content: Any) -> None:
    if isinstance(holder, np.random.Generator):
        holder.bit_generator.state = content
    elif isinstance(holder, (np.random.RandomState, torch.Generator)):
        holder.set_state(content)
    elif isinstance(holder, random.Random):
        holder.setstate(content)
    else:
        holder.clear()
        (holder.extend if isinstance(holder, (list, collections.deque)) else holder.update)(content)


def _alike(one: Any, other: Any) -> bool:
    """Whether contents are equal; those of containers are compared object by object."""
    if isinstance(one, (list, collections.deque)):
        return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
    if type(one) is dict and all(type(key) is not str or not isinstance(one[key], dict) for key in one):
        return one.keys() == other.keys() and all(value is other[name] for name, value in one.items())
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return repr(one) == repr(other)
