"""Names as figures and headings show them: short, with what distinguishes one task from the others."""

import re
from collections import defaultdict
from collections.abc import Sequence

from estbench.report.model.rows import given_in


def display_names(tasks: Sequence[str]) -> dict[str, str]:
    """A short name for each task: without its options, if no other one has the same name; else with those that differ.

    ``vae[dataset=mnist,latents=bernoulli]`` is ``vae``, and ``vae (dataset=mnist)`` beside ``vae[latents=bernoulli]``.
    """
    groups = defaultdict[str, list[str]](list)
    for task in tasks:
        groups[task.partition("[")[0].partition(" on ")[0]].append(task)
    names = {task: _with_options(base, task, group) for base, group in groups.items() for task in group}
    taken = list(names.values())
    return {task: name if taken.count(name) == 1 else task for task, name in names.items()}


def _with_options(base: str, task: str, group: Sequence[str]) -> str:
    if len(group) == 1:
        return base
    every = [given_in(other) for other in group]
    own = given_in(task)
    keys = [key for key in own if len({options.get(key) for options in every}) > 1]
    # a task of several devices or dtypes says on which it was run
    place = re.search(r" on [^\]]*$", task)
    options = ", ".join(f"{key}={own[key]}" for key in keys)
    return f"{base}{f' ({options})' if options else ''}{place[0] if place else ''}"
