"""Cells: measurements that can be done independently of each other."""

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from estbench.plugins.spec import Spec


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Args:
        task: the task.
        estimators: one, or all of them for a joint measure.
        measure: the measure.
        seed: the run's seed.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``float32``, ``float64``, ``tf32`` or ``bf16``.
        joint: whether the measure is joint; such cells run last, one at a time.
        tuned: names of options of the task or the estimator that were chosen on validation: results name what was
            chosen, and the rest of the options as usual.
        budgets: options of the measure that say how much is measured.
    """

    task: Spec
    estimators: tuple[Spec, ...]
    measure: Spec
    seed: int
    device: str
    dtype: str
    joint: bool = False
    tuned: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()

    def __str__(self) -> str:
        who = str(self.estimators[0]) if len(self.estimators) == 1 else f"{len(self.estimators)} estimators"
        return f"{self.measure.name} of {who} on {self.task}, seed {self.seed}"

    @property
    def used(self) -> dict[str, tuple[str, ...]]:
        """The names of the plugins that it uses, by kind."""
        estimators = tuple(spec.name for spec in self.estimators)
        return {"task": (self.task.name,), "estimator": estimators, "measure": (self.measure.name,)}

    @property
    def budget(self) -> dict[str, int]:
        """How much is measured."""
        return {name: self.measure.options[name] for name in self.budgets}

    @property
    def about(self) -> dict[str, Any]:
        """A short description for users."""
        return {
            "task": str(self.task),
            "estimators": [str(spec) for spec in self.estimators],
            "measure": self.measure.name,
            "seed": self.seed,
            "device": self.device,
            "dtype": self.dtype,
            "alone": self.joint,
            "budget": self.budget,
        }

    @functools.cached_property
    def identity(self) -> str:
        """A hash of the measurement without budgets; together with the seed, it determines the random numbers."""
        measure = {name: value for name, value in self.measure.options.items() if name not in self.budgets}
        return hashed(
            [self.task.name, self.task.options],
            [[spec.name, spec.options] for spec in self.estimators],
            [self.measure.name, measure],
            self.seed,
            self.device.partition(":")[0],
            self.dtype,
        )


def hashed(*parts: Any) -> str:
    """A hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
