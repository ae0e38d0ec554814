"""How many replicates are drawn: a fixed number, or as many as it takes for intervals to be narrow enough."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from estbench.engine.moments.gradient_metrics import relative_half_width
from estbench.engine.moments.moments import BATCHES, Moments

Parts = Mapping[str, Moments]


@dataclass(frozen=True)
class Replication:
    """The rule for the number of replicates.

    Args:
        replicates: their number; with a precision, the number to begin with.
        precision: the requested half-width of the variance's interval relative to the variance; 0 for a fixed number.
        most: the largest number of replicates, if a precision is requested.
    """

    replicates: int
    precision: float = 0.0
    most: int = 0

    @property
    def limit(self) -> int:
        """The largest possible number of replicates."""
        return max(self.replicates, self.most) if self.precision else self.replicates

    def goals(self) -> Iterator[int]:
        """The numbers of replicates at which the rule checks whether they are enough."""
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
        """Draws replicates until there are enough, and returns their moments.

        Args:
            add: adds replicates to moments, up to this number.
            judged: selects the moments that the rule looks at.
            known: moments of earlier replicates.
            resolved: whether moments rest on enough replicates for their intervals to be valid.
        """
        for goal in self.goals():
            n = next((found.n for found in known.values()), 0)
            # smaller numbers were not enough before; the rule looks only at the numbers of its own schedule
            if n >= goal + BATCHES:
                continue
            known = add(goal, known) if n < goal else known
            if self.precision and self.reached(judged(known)) and resolved(known):
                break
        return known

    def reached(self, judged: Iterable[Moments]) -> bool:
        """Whether all intervals are narrow enough."""
        return all(relative_half_width(moments) <= self.precision for moments in judged)
