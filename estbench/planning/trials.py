"""Trials: the training runs by which tuned options are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estbench.planning.cell import Cell
from estbench.planning.plan import Plan
from estbench.planning.resolved import Pair, ResolvedSuite
from estbench.planning.task_facts import task_facts


@dataclass(frozen=True)
class Trials:
    """The candidates of a suite's tuning: trained with the first seed, for a fraction of the steps.

    Args:
        plan: all cells.
        groups: the cells by task and estimator without tuned options.
        metrics: the metric that decides in each group, if not the objective.
        objectives: the objective of each group's task.
    """

    plan: Plan
    groups: Mapping[Pair, Sequence[Cell]]
    metrics: Mapping[Pair, str]
    objectives: Mapping[Pair, str]


def trials(suite: ResolvedSuite) -> Trials | None:
    """The candidates of a suite's tuning; None if it tunes nothing.

    Raises:
        UserError: there are no candidates, or no measure to choose by.
    """
    groups: dict[Pair, list[Cell]] = {}
    metrics: dict[Pair, str] = {}
    for comparison in suite.comparisons:
        if (tune := comparison.suite.tune) is not None:
            found = comparison.candidates(tune)
            groups |= found
            metrics |= dict.fromkeys(found, tune.metric)
    if not groups:
        return None
    plan = Plan.of((cell for cells in groups.values() for cell in cells), suite.plugins)
    objectives = {key: task_facts(suite.plugins, cells[0].task).objective for key, cells in groups.items()}
    return Trials(plan, groups, metrics, objectives)
