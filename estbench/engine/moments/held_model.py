"""Held models: models whose own random numbers and state are fixed, so that runs differ only in the samples."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from estbench.core.node import Node
from estbench.core.program import Program, Sample, draw, repeat, replay, run
from estbench.core.task import Batch
from estbench.core.transforms import transformed
from estbench.engine.model_state import ModelState
from estbench.engine.moments.model_noise import CannotHoldError, ModelNoise
from estbench.runtime import shared_generators

# relative difference of two costs in float32 that rounding can explain
ROUNDING = 1e-3


class HeldModel:
    """A model on a minibatch, with its own state and random numbers fixed to those of one run.

    Numbers that the model draws before the program runs come from a fixed seed, as do those from NumPy and Python.
    Under a transform of ``torch.func``, where a seed would give each replicate different numbers, recorded numbers are
    replayed instead. Numbers that the model draws while the program runs are always replayed, the same for all samples.
    Batch norms that run in the program use their running statistics: those of a batch would join its samples, so that a
    sample would have no cost of its own.

    Args:
        model: the model.
        batch: the minibatch.
        seed: seed of the model's random numbers.
        free: whether the model draws new numbers in every run; its state is fixed in any case.

    Attributes:
        draws: whether the model draws random numbers of its own.
        norms: whether batch norms with running statistics run in the program.

    Raises:
        CannotHoldError: a second run differs from the first.
    """

    def __init__(self, model: nn.Module, batch: Batch, seed: int, *, free: bool = False) -> None:
        self._model, self._batch, self._seed, self._free = model, batch, seed, free
        self._before, self._during = ModelNoise(inside=False), ModelNoise(inside=True)
        self._state = ModelState(model)
        cost, values = self._look()
        self.draws = bool(self._before.drawn or self._before.strange or self._during.drawn or self._numbers)
        self.still = not (self.draws or self._state.changes)
        if not free:
            self._look_again(cost, values)

    def _look(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The costs and samples of a first run, which is recorded."""
        with torch.no_grad(), self._seeded(), self._state.watched():
            with self._before.noting():
                program = self._model(*self._batch)
            between = shared_generators.state()
            self._numbers = between != self._started
            with self._during.noting(), self._state.alone(), self._state.noting_norms() as norms:
                cost, sites = run(_without(self._during, program), draw)
            self.norms = bool(norms)
            strange = {*self._during.strange, *(["NumPy or Python"] if shared_generators.state() != between else [])}
            if strange and not self._free:
                raise CannotHoldError(
                    f"while its program runs, the model draws random numbers by {', '.join(sorted(strange))}, which "
                    f"cannot be held from run to run"
                )
            self._numbers |= bool(strange)
        return cost, {name: site.value for name, site in sites.items()}

    def _look_again(self, cost: Tensor, values: dict[str, Tensor]) -> None:
        """Checks that the cost depends on the samples only, also if several samples are evaluated at once."""
        with torch.no_grad(), torch.random.fork_rng(_devices(self._batch)):
            program = self.program()
            again = run(program, replay(values, draw))[0]
            if not _same(again, cost):
                raise CannotHoldError(
                    "the model's costs differ between two runs with the same parameters, minibatch, samples and seed: "
                    "it draws random numbers or keeps state out of reach, so that no gradient is defined at a point"
                )
            if self.still:
                return
            both, sites = run(program, repeat(draw, 2))
            alone = run(program, replay({name: site.value[0] for name, site in sites.items()}, draw))[0]
            if not _same(alone, both[0]):
                raise CannotHoldError(
                    "while its program runs, the model has layers that join several samples, such as a batch norm, so "
                    "that the cost of a sample is not what it is alone and no expected cost is defined"
                )
        if self._during.drawn:
            self._look_back()

    def _look_back(self) -> None:
        """Checks that the backward pass draws no random numbers, as a recomputed checkpointed block would."""
        watch = ModelNoise(inside=True)
        with torch.enable_grad(), torch.random.fork_rng(_devices(self._batch)):
            before = self.program()
            cost = run(before, draw)[0].mean()
            leaves = [p for p in self._model.parameters() if p.requires_grad]
            with watch.noting():
                if cost.requires_grad:
                    torch.autograd.backward(cost)
            for leaf in leaves:
                leaf.grad = None
        if watch.drawn or watch.strange:
            raise CannotHoldError(
                "while its program runs, the model draws random numbers in a checkpointed block, which draws them "
                "again on the way back, so that they cannot be held"
            )

    @property
    def draws_inside(self) -> bool:
        """Whether the model draws random numbers while its program runs."""
        return bool(self._during.drawn or self._during.strange)

    def program(self) -> Program:
        """The program of the minibatch."""
        found = self.running(lambda: self._model(*self._batch))
        assert found is not None
        return found

    def running(self, make: Callable[[], Program | None]) -> Program | None:
        """Wraps a program made from the model, so that it runs under the same fixed conditions."""
        if self.still:
            return make()
        with self._state.held(), self._same_as_before():
            program = make()
            after = self._state.taken()
        if program is None:
            return None

        def held(sample: Sample) -> Tensor:
            during = contextlib.nullcontext() if self._free else self._during.again()
            with self._state.held(after), self._state.alone(), during:
                return program(sample) if self._free else _without(self._during, program)(sample)

        return held

    def _same_as_before(self) -> contextlib.AbstractContextManager[object]:
        if self._free or not self.draws:
            return contextlib.nullcontext()
        if not transformed():
            return self._seeded()
        if self._before.strange:
            what = ", ".join(sorted(self._before.strange))
            raise CannotHoldError(f"the model draws by {what}, which cannot be given again under torch.func.vmap")
        return self._both()

    @contextlib.contextmanager
    def _both(self) -> Iterator[None]:
        with self._numbers_seeded(), self._before.again():
            yield

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        with torch.random.fork_rng(_devices(self._batch)), self._numbers_seeded():
            torch.manual_seed(self._seed)
            yield

    @contextlib.contextmanager
    def _numbers_seeded(self) -> Iterator[None]:
        """Seeds the global generators of NumPy and Python, and restores them afterwards."""
        with shared_generators.restored():
            shared_generators.seed(self._seed)
            self._started = shared_generators.state()
            yield


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING * float(other.abs().max()), equal_nan=True)


def _devices(batch: Sequence[Tensor]) -> list[torch.device]:
    return [*{x.device for x in batch if x.device.type == "cuda"}]


def _without(noise: ModelNoise, program: Program) -> Program:
    """A program whose own random numbers are recorded or replayed, except those of its samples."""

    def run_by_itself(sample: Sample) -> Tensor:
        def paused(name: str, node: Node) -> tuple[Tensor, Tensor]:
            with noise.paused():
                value, log_q = sample(name, node)
            # numbers are drawn for each example, even if all examples share their values
            batch = torch.broadcast_shapes(log_q.shape, node.logits.shape[: node.batch_ndim])
            return value.expand(*batch, *node.event_shape) if noise.drawn else value, log_q

        return program(paused)

    return run_by_itself
