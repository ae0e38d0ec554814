"""How many replicates are drawn: a number, or until intervals are narrow enough."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from estbench.engine.moments.gradient_metrics import relative_half_width
from estbench.engine.moments.moments import BATCHES, Moments

Parts = Mapping[str, Moments]


@dataclass(frozen=True)
class Replication:
    """How many replicates.

    Args:
        replicates: how many; with a precision, how many at first.
        precision: half the width of the variance's interval, over the variance, at which they are enough; 0 to take
            the number as it is.
        most: with a precision, how many at most.
    """

    replicates: int
    precision: float = 0.0
    most: int = 0

    @property
    def limit(self) -> int:
        """The most replicates that there can be."""
        return max(self.replicates, self.most) if self.precision else self.replicates

    def goals(self) -> Iterator[int]:
        """The numbers of replicates after which it is judged whether they are enough."""
        goal = self.replicates
        while goal < self.limit:
            yield goal
            goal *= 2
        yield self.limit

    def draw(
        self,
        add: Callable[[int, Parts], Parts],
        judged: Callable[[Parts], Iterable[Moments]],
        known: Parts,
        resolved: Callable[[Parts], bool] = lambda _: True,
    ) -> Parts:
        """Moments of as many replicates as it takes.

        Args:
            add: adds replicates to moments, up to this number.
            judged: what the moments are judged by.
            known: moments of earlier replicates.
            resolved: whether moments are of enough replicates for their intervals to be right.
        """
        for goal in self.goals():
            n = next((found.n for found in known.values()), 0)
            # numbers that were passed on the way here were not enough; none that it stopped between them is judged
            if n >= goal + BATCHES:
                continue
            known = add(goal, known) if n < goal else known
            if self.precision and self.reached(judged(known)) and resolved(known):
                break
        return known

    def reached(self, judged: Iterable[Moments]) -> bool:
        """Whether all intervals are narrow enough."""
        return all(relative_half_width(moments) <= self.precision for moments in judged)
