"""What planning asks of a task: the estimators that it names, and the values that its options stand for."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from estbench.errors import UserError, plain, reason
from estbench.plugins import values
from estbench.plugins.options import ConstructionError
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.runtime.guard import pass_on
from estbench.runtime.process_state import unchanged


@dataclass(frozen=True)
class TaskFacts:
    """What a task says of itself.

    Args:
        named: the names of its baseline and of its oracle, if it has one.
        effective: options with the value that theirs stands for.
        objective: ``elbo``, ``nll`` or ``loss``.
    """

    named: tuple[str, ...] = ()
    effective: Mapping[str, values.Plain] = field(default_factory=dict)
    objective: str = "loss"


def task_facts(plugins: Plugins, spec: Spec) -> TaskFacts:
    """The facts of a task; empty ones if it is known not to be made, since its cells then say why.

    Raises:
        ConstructionError: its constructor fails, or it cannot say which values its options stand for.
        UserError: it names no estimator that is well formed.
    """
    if spec in plugins.tasks.faults:
        return TaskFacts()
    if not plugins.tasks[spec.name].foreign:
        return _asked(plugins, spec)
    # what a task changes where it is made or asked must not be there for the next one
    with unchanged():
        return _asked(plugins, spec)


@functools.lru_cache(maxsize=1024)
def _asked(plugins: Plugins, spec: Spec) -> TaskFacts:
    made = plugins.tasks.make(spec)
    try:
        effective = {plain(key): values.as_plain(value) for key, value in made.effective().items()}
    except UserError:
        raise
    except BaseException as error:
        pass_on(error)
        raise ConstructionError(f"{spec} cannot say what its options stand for: {reason(error)}") from error
    named = [plugins.baseline(made).name, *([made.oracle] if made.oracle else [])]
    return TaskFacts(tuple(dict.fromkeys(named)), effective, made.objective)
