"""A device that is pretended: tensors of the CPU that say they are on a GPU, where there is none.

Operations that mix devices fail as they would there, and what makes the host wait for the device is noted.
"""

import contextlib
import itertools
import traceback
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.core import logits
from estbench.engine.training import cuda_graph

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten

FACTORIES = frozenset(
    getattr(torch, name)
    for name in (
        *("arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "ones", "rand", "randint"),
        *("randn", "randperm", "tensor", "tril_indices", "triu_indices", "zeros"),
    )
)
TELLS = {
    Tensor.device.__get__: lambda place: place,
    Tensor.is_cuda.__get__: lambda place: place == CUDA,
    Tensor.is_cpu.__get__: lambda place: place == CPU,
}
# what they are given lies on the host
FROM_VALUES = frozenset({torch.tensor, torch.as_tensor})
# results are values, or as many as values say
PARSED = torch._C._nn._parse_to
READS = frozenset(
    {
        *(aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten.bincount),
        *(aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.multinomial, aten.linalg_cholesky),
        *(aten._linalg_solve_ex, aten._linalg_det, aten.histc),
    }
)
# a CPU tensor among their arguments is only looked at
INDEXED = frozenset({aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index})


class MixedDevicesError(RuntimeError):
    """An operation has arguments on two devices."""


# between the seeds of generators on the two devices, which as on a GPU give other numbers
OTHER_NUMBERS = 0x5DEECE66D


class Generator(torch.Generator):
    """A generator that says where it is; on the GPU it gives other numbers than on the CPU."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    def manual_seed(self, seed):
        """Begins anew."""
        return super().manual_seed(seed ^ OTHER_NUMBERS if self.place.type == "cuda" else seed)

    @property
    def device(self):
        return self.place


class Pretended:
    """Where tensors are, and what has waited.

    Attributes:
        waits: where the host waited for the device, with the line of the project.
    """

    def __init__(self):
        self.waits = Counter()
        self._places, self._alive = {}, []

    def place(self, x):
        """The device of a tensor; None if nobody has said."""
        return self._places.get(_storage(x)._cdata)

    def put(self, x, place):
        """Has a tensor be on a device."""
        storage = _storage(x)
        # as long as it lives, no other tensor has its address
        self._alive.append(storage)
        self._places[storage._cdata] = place

    def wait(self, what):
        """Notes that the host waits."""
        beside = ("/torch/", __file__, "random_routing.py")
        lines = [each for each in traceback.extract_stack() if not any(name in each.filename for name in beside)]
        self.waits[f"{what} at {Path(lines[-1].filename).name}:{lines[-1].lineno}"] += 1


def _storage(x):
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x.untyped_storage()


class _Calls(TorchFunctionMode):
    """Python's calls: where tensors are made and moved, and what they say of their device."""

    def __init__(self, where):
        super().__init__()
        self._where = where

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in TELLS:
            return TELLS[func](self._where.place(args[0]) or CPU)
        if func in FACTORIES:
            return self._made(func, args, kwargs)
        if func == Tensor.new_tensor:
            return self._made(
                torch.tensor, args[1:], {"device": self._where.place(args[0]), "dtype": args[0].dtype, **kwargs}
            )
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self._moved(func, args, kwargs)
        if func in (Tensor.tolist, Tensor.numpy, Tensor.__array__) and self._where.place(args[0]) == CUDA:
            self._where.wait(resolve_name(func))
        wanted = kwargs.pop("device", None)
        if (generator := kwargs.get("generator")) is not None:
            given = next(tensors_in(args), None)
            place = _device(wanted) if wanted is not None else given is not None and self._where.place(given)
            _check(generator, place, func)
        result = func(*args, **kwargs)
        if wanted is not None:
            self._where.put(result, _device(wanted))
        return result

    def _made(self, func, args, kwargs):
        place = _device(kwargs.pop("device", None) or CPU)
        kwargs.pop("pin_memory", None)
        _check(kwargs.get("generator"), place, func)
        result = func(*args, **kwargs)
        if func in FROM_VALUES and place == CUDA:
            self._where.wait(resolve_name(func))
        self._where.put(result, place)
        return result

    def _moved(self, func, args, kwargs):
        x, *rest = args
        if func is not Tensor.to:
            device, dtype, non_blocking = (CUDA if func is Tensor.cuda else CPU), None, False
        elif rest and isinstance(rest[0], Tensor):
            device, dtype, non_blocking = self._where.place(rest[0]), rest[0].dtype, False
        else:
            copy = kwargs.pop("copy", False)
            device, dtype, non_blocking, _ = PARSED(*rest, **kwargs)
            x = x.clone() if copy else x
        x = x if dtype is None else func.__get__(x)(dtype) if func is Tensor.to else x.type(dtype)
        if device is None or _device(device) == (self._where.place(x) or CPU):
            return x
        if not non_blocking:
            self._where.wait("a copy between host and device")
        x = x.clone()
        self._where.put(x, _device(device))
        return x


class _Operations(TorchDispatchMode):
    """Operations, those of derivatives too: their arguments are on one device, and so is what they return."""

    def __init__(self, where):
        super().__init__()
        self._where = where

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = list(tensors_in(itertools.chain(args, kwargs.values())))
        places = {self._where.place(x) for x in tensors} - {None}
        self._look(func._overloadpacket, args, kwargs, tensors, places)
        result = func(*args, **kwargs)
        place = CUDA if CUDA in places else CPU
        for x in tensors_in([result]) if places else ():
            if self._where.place(x) is None:
                self._where.put(x, place)
        return result

    def _look(self, packet, args, kwargs, tensors, places):
        if packet in READS and CUDA in places:
            self._where.wait(str(packet))
        if packet in INDEXED and CUDA in places:
            indices = [x for x in args[1] if x is not None]
            if any(x.dtype == torch.bool or self._where.place(x) == CPU for x in indices):
                self._where.wait(f"{packet} by values")
            tensors = [x for x in tensors if not any(x is index for index in indices)]
        if packet is aten.copy_ and len(places) > 1:
            if not (args[2] if len(args) > 2 else kwargs.get("non_blocking")):
                self._where.wait("a copy between host and device")
            return
        if CUDA in places and any(self._where.place(x) == CPU and x.ndim for x in tensors):
            found = ", ".join(f"{tuple(x.shape)} on {(self._where.place(x) or CUDA).type}" for x in tensors)
            raise MixedDevicesError(f"{packet} of {found}")


def tensors_in(values):
    """The tensors among arguments, in lists too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def _device(text):
    place = torch.device(text)
    return CUDA if place.type == "cuda" else CPU


def _check(generator, place, func):
    if generator is not None and place and _device(generator.device) != place:
        raise MixedDevicesError(f"{resolve_name(func)} on {place} with a generator on {generator.device}")


@contextlib.contextmanager
def pretended(monkeypatch):
    """Inside, there seems to be a GPU; yields what it notes."""
    monkeypatch.setattr(torch, "Generator", Generator)
    # of fork_rng
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, *_: torch.set_rng_state(state))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**30, 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 0)
    where = Pretended()

    def parsed(*args, **kwargs):
        # of Module.to, which asks in C++
        device, *others = PARSED(*args, **kwargs)
        return (where.place(args[0]) if isinstance(args[0], Tensor) else device, *others)

    looked = logits.extremes

    def extremes(x):
        # in the backward pass of an autograd.Function no mode is on, and tensors say that they are on the CPU
        return None if where.place(x) == CUDA else looked(x)

    monkeypatch.setattr(logits, "extremes", extremes)
    monkeypatch.setattr(torch._C._nn, "_parse_to", parsed)
    with _Calls(where), _Operations(where):
        yield where


def without_streams(monkeypatch):
    """Has graphs be made where there are none: what was captured is done at every replay."""

    def captured(step, inputs, device):
        output = torch.empty(0, dtype=torch.float64, device=device)

        def replay():
            found = step(inputs)
            output.resize_(found.shape).copy_(found)

        return replay, output

    monkeypatch.setattr(cuda_graph, "aside", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cuda_graph, "unwaiting", contextlib.nullcontext)
    monkeypatch.setattr(cuda_graph, "captured", captured)
