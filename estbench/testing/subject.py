"""An estimator under test: how it is prepared, and the measurements that several checks share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

import torch
from torch import Tensor, nn

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.engine.base import MakeEstimator
from estbench.runtime import shared_generators
from estbench.testing.inference import (
    TOLERANCE,
    Judgement,
    RunningCovariance,
    Scale,
    needed,
    resolution,
    zero_mean_test,
)
from estbench.testing.mapping import obstacle
from estbench.testing.oracle import truth
from estbench.testing.programs import GROUPS, RECIPES, Estimate, Recipe
from estbench.testing.replicates import CHUNK, replicates, value_replicates
from estbench.testing.verdict import Fault, Inapplicable

FIRST_LOOK = 2 * CHUNK
LEAST = 8 * CHUNK
# number of values for the test of the value, which needs no gradients
VALUES = 32 * CHUNK
# the number of replicates of each sample in a comparison of two samples
PAIR = CHUNK
# the share of a check's level that its first look has, which stops early if something is clearly wrong
FIRST_SHARE = 0.1
# if replicates are drawn one after another, there are fewer by this factor
SPARSER = 16


class Subject:
    """An estimator under test.

    Args:
        make: makes the estimator with the options to be tested.
        seed: seed of all random numbers in the checks.
        most: the largest number of replicates that are drawn for one program.
        values: the number of replicates of the value on one program, if a bias of the gradient shows early.
        pair: the number of replicates of each sample, where a check compares two samples.
    """

    def __init__(
        self, make: MakeEstimator, seed: int = 0, most: int = 2**22, values: int = VALUES, pair: int = PAIR
    ) -> None:
        self.make, self.seed, self.most, self.values, self.pair = make, seed, most, values, pair
        self._studies: dict[str, MeanErrors | Exception] = {}
        self._refusals: dict[str, str | None] = {}

    @cached_property
    def declared(self) -> Estimator:
        """An instance to read declarations from."""
        return self.make()

    @cached_property
    def obstacle(self) -> str:
        """The reason why vmap cannot draw its replicates, so that a loop draws them; empty if vmap can."""
        found = []
        with suppress(Inapplicable, Fault), self.seeded(6):
            found = [(obstacle(self._fresh(recipe)), recipe) for recipe in self.applicable()]
        return next((f"{reason} ({recipe.name})" for reason, recipe in found if reason), "")

    def fewer(self, replicates: int) -> int:
        """This number of replicates, or the smaller number that a loop can draw in the same time."""
        return replicates // SPARSER if self.obstacle else replicates

    @contextmanager
    def seeded(self, *stream: int) -> Iterator[None]:
        """Seeds torch, NumPy and Python for this block, and leaves their states as they were afterwards."""
        # if there are several GPUs, torch has to be told which one
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices), shared_generators.restored():
            number = hash((self.seed, *stream)) % 2**63
            # without a GPU, torch.manual_seed would only take its time, to note from where it was called
            seed = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed
            seed(number)
            shared_generators.seed(number)
            yield

    @property
    def recipes(self) -> list[Recipe]:
        """The nets with which it is checked, whose nodes it declares to accept."""
        return [recipe for recipe in RECIPES if recipe.meant_for(self.declared.accepts)]

    def applicable(self) -> Iterator[Recipe]:
        """The nets that it accepts and does not refuse for another reason.

        Raises:
            Inapplicable: the checks have no program with nodes that it accepts.
            Fault: it refuses all of them.
        """
        if not self.recipes:
            raise Inapplicable("the checks have no program of the nodes that it accepts")
        refusals = []
        for recipe in self.recipes:
            refusal = self._refusal(recipe)
            if refusal is None:
                yield recipe
            else:
                refusals.append(refusal)
        if len(refusals) == len(self.recipes):
            raise Fault(f"it runs on no program: {refusals[0]}")

    def _refusal(self, recipe: Recipe) -> str | None:
        """Why it refuses a net that its declarations accept, asked once; None where it takes it."""
        if recipe.name not in self._refusals:
            try:
                self._fresh(recipe)
            except NotApplicableError as error:
                self._refusals[recipe.name] = str(error)
            else:
                self._refusals[recipe.name] = None
        return self._refusals[recipe.name]

    def bench(
        self,
        recipe: Recipe,
        dtype: torch.dtype = torch.float64,
        batch: tuple[int, ...] = (2,),
        device: str = "cpu",
        around: Callable[[nn.Module], nn.Module] = lambda net: net,
    ) -> Estimate:
        """A new net with a prepared estimator in evaluation mode; ``around`` may wrap the net.

        The estimator has gone through a few training steps, so that running statistics are not zero. Its parameters
        are moved a little from their initial values, so that networks that are zero at the start have an effect.
        """
        bench = self._fresh(recipe, dtype, batch, device, around)
        bench.looped = bool(self.obstacle)
        return bench

    def _fresh(
        self,
        recipe: Recipe,
        dtype: torch.dtype = torch.float64,
        batch: tuple[int, ...] = (2,),
        device: str = "cpu",
        around: Callable[[nn.Module], nn.Module] = lambda net: net,
    ) -> Estimate:
        with self.seeded(1):
            model = around(recipe.net(batch).to(device, dtype))
            estimator = self.make().to(device, dtype).prepare(model())
            for _ in range(3):
                estimator.train()(model())
            with torch.no_grad():
                for parameter in estimator.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape, dtype=torch.float64).to(parameter))
        return Estimate(model, estimator.eval())

    def study(self, recipe: Recipe, alpha: float) -> "MeanErrors":
        """Replicates on a net, enough to detect a relative bias of 1 %; they are drawn once and kept."""
        if recipe.name not in self._studies:
            try:
                with self.seeded(2, RECIPES.index(recipe)):
                    self._studies[recipe.name] = MeanErrors(self, recipe, alpha)
            except Exception as error:  # noqa: BLE001  (whatever a plugin raises, every check that asks is told)
                self._studies[recipe.name] = error
        found = self._studies[recipe.name]
        if isinstance(found, Exception):
            raise found
        return found


class MeanErrors:
    """The mean error of value and gradient over replicates on one net, in two looks.

    The first look stops early if something is clearly wrong, and its covariance determines the number of replicates of
    the last look.

    Args:
        subject: the estimator.
        recipe: the net.
        alpha: level of the test of the gradient, for both looks together.
    """

    def __init__(self, subject: Subject, recipe: Recipe, alpha: float) -> None:
        bench = subject.bench(recipe, torch.float32)
        self.value, gradients = truth(recipe, subject.declared.bound)
        self.scale = scale_of(gradients)
        self.alpha = alpha
        self._drawn = RunningCovariance(len(self.scale.truth)), RunningCovariance(1)
        first, least = subject.fewer(FIRST_LOOK), subject.fewer(LEAST)
        self._draw(bench, first)
        self.biased = self.judge().p < alpha * FIRST_SHARE
        if not self.biased:
            wanted = needed(self._drawn[0], self.scale, self.level)
            most = min(subject.most, 2 * least) if subject.obstacle else subject.most
            self._draw(bench, min(most, max(wanted, least if self.noisy else 0)) - first)
            self.biased = self.judge().p < self.level
        if self.biased:
            # the error of the gradient was detected early, and that of the value may be smaller
            for values in value_replicates(bench, subject.fewer(subject.values) - self.values.n):
                self.values.add(values.double()[:, None] - self.value)

    @property
    def bias(self) -> str:
        """The mean error of the group that is furthest off, in words."""
        lengths = {
            GROUPS[int(self.scale.groups[mine][0])]: float(self._drawn[0].mean[mine].norm())
            for mine in self.scale.members()
        }
        worst = max(lengths, key=lambda name: lengths[name])
        return f"{lengths[worst]:.1%} off in {worst}"

    @property
    def level(self) -> float:
        """The level of the last look."""
        return self.alpha * (1 - FIRST_SHARE)

    @property
    def noisy(self) -> bool:
        """Whether there is any variance."""
        return float(self._drawn[0].covariance.diagonal().max()) > TOLERANCE**2

    @property
    def resolution(self) -> float:
        """The relative bias that would have been detected."""
        return resolution(self._drawn[0], self.scale, self.level / 2)

    def _draw(self, bench: Estimate, n: int) -> None:
        for values, gradients in replicates(bench, n):
            self._drawn[0].add((gradients.double() - self.scale.truth) / self.scale.unit)
            self._drawn[1].add(values.double()[:, None] - self.value)

    @property
    def gradients(self) -> RunningCovariance:
        """The mean and covariance of the gradient's error, in relative units."""
        return self._drawn[0]

    @property
    def values(self) -> RunningCovariance:
        """The mean and covariance of the value's error."""
        return self._drawn[1]

    def judge(self) -> Judgement:
        """The two tests of the gradient."""
        mine = self._drawn[0]
        return zero_mean_test(mine.mean, mine.covariance / mine.n, mine.n, self.scale.directions)


def scale_of(gradients: dict[str, Tensor]) -> Scale:
    """The units of a net's gradient, flattened in the order of its parameters."""
    groups = [torch.full((g.numel(),), GROUPS.index(name.partition(".")[0])) for name, g in gradients.items()]
    return Scale(torch.cat(groups), torch.cat([g.flatten() for g in gradients.values()]))
