"""Plugins made at random: each does one thing wrong in one place."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.fuzz.faults import HEAD, STATEMENTS, VALUES

ESTIMATOR = '''"""At fault."""
{head}
{at_import}


class {name}({base}):
    """At fault."""

    unbiased = {unbiased}
    differentiates = {differentiates}
    couples_examples = {couples_examples}
    accepts = {accepts}
    paper = {paper}
    {in_class}

    def __init__(self{option}):
        super().__init__()
        {in_constructor}

    def build(self, name, node):
        {in_build}

    def prepare(self, program):
        {in_prepare}
        return super().prepare(program)

    def baseline(self, name, node, cost):
        {in_hook}
        return {hook}

    def evaluations(self, nodes):
        {in_evaluations}
        return {evaluations}

    def state_dict(self, *given, **named):
        {in_state}
        return super().state_dict(*given, **named)

    def parameters(self, recurse=True):
        {in_parameters}
        return super().parameters(recurse)

    def forward(self, program):
        {in_forward}
        return {forward}
'''
TASK = '''"""At fault."""
{head}
{at_import}


class {name}(Task):
    """At fault."""

    objective = {objective}
    baseline = {baseline}
    oracle = {oracle}
    batch_size = {batch_size}
    optimizer = {optimizer}
    learning_rate = {learning_rate}
    {in_class}

    def __init__(self{option}):
        {in_constructor}
        self._toy = Toy(units=3)

    def model(self):
        {in_model}
        return {model}

    def splits(self):
        {in_splits}
        return {splits}

    def view(self, batch, generator):
        {in_view}
        return {view}

    def supplement(self, batch, train, generator):
        {in_supplement}
        return {supplement}

    def metrics(self, model, batch):
        {in_metrics}
        return {metrics}

    def closed_form(self, model, batch):
        {in_closed_form}
        return {closed_form}

    def effective(self):
        {in_effective}
        return {effective}

    def pictures(self, model, batch):
        {in_pictures}
        return {pictures}

    def refusal(self, estimator):
        {in_refusal}
        return {refusal}

    def optimizers(self, model):
        {in_optimizers}
        return {optimizers}

    def schedulers(self, optimizers):
        {in_schedulers}
        return {schedulers}

    def minibatches(self, train, generator):
        {in_minibatches}
        return {minibatches}
'''
MEASURE = '''"""At fault."""
{head}
{at_import}


class {name}(Measure):
    """At fault."""

    metrics = {metrics}
    joint = {joint}
    tuned = {tuned}
    repeated = {repeated}
    budgets = {budgets}
    {in_class}

    def __init__(self{option}):
        {in_constructor}

    def rows(self, bench, makers):
        for key in makers:
            {in_rows}
            yield {yields}
        {in_end}
'''
# for each kind its source, and what stands in its slots where nothing is wrong
KINDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "estimator": (
        ESTIMATOR,
        {
            "base": "ScoreFunction", "unbiased": "True", "differentiates": "False", "couples_examples": "False",
            "accepts": "(Bernoulli, Categorical)", "paper": "''", "option": "", "hook": "torch.full_like(cost, 0.5)",
            "evaluations": "1", "forward": "super().forward(program)",
        },
    ),
    "task": (
        TASK,
        {
            "objective": "'loss'", "baseline": "'rloo'", "oracle": "None", "batch_size": "4", "optimizer": "'adam'",
            "learning_rate": "1e-3", "option": "", "model": "self._toy.model()", "splits": "self._toy.splits()",
            "view": "batch", "supplement": "batch", "metrics": "{}", "closed_form": "None", "effective": "{}",
            "pictures": "{}", "refusal": "''", "optimizers": "super().optimizers(model)", "schedulers": "[]",
            "minibatches": "super().minibatches(train, generator)",
        },
    ),
    "measure": (
        MEASURE,
        {
            "metrics": "(Metric('one', 'One'),)", "joint": "False", "tuned": "False", "repeated": "False",
            "budgets": "()", "option": "", "yields": "key, Row('one', 1.0)",
        },
    ),
}  # fmt: skip
PLACES = {
    "estimator": "at_import in_class in_constructor in_build in_prepare in_hook in_evaluations in_state in_parameters "
    "in_forward",
    "task": "at_import in_class in_constructor in_model in_splits in_view in_supplement in_metrics in_closed_form "
    "in_effective in_pictures in_refusal in_optimizers in_schedulers in_minibatches",
    "measure": "at_import in_class in_constructor in_rows in_end",
}
# wrong values that fit a slot better than any
FITTING = {
    "metrics": ("()", "(Metric('one', 'One'), Metric('one', 'Two'))", "(Metric('a b', ''),)", "{'odd': None}",
                "{'odd': torch.ones(3)}", "{'\\x1b[31m=1+1': torch.ones(len(batch[0]))}",
                "{3: torch.ones(len(batch[0]))}",
                "{'x' * 5000: torch.ones(len(batch[0]))}"),
    "yields": ("key, Row('', 1.0)", "key, Row('one', 1.0, unit='\\x1b[31m')", "key, Row('\\x1b[31mred\\n=1+1', 1.0)",
               "'nobody', Row('one', 1.0)", "key, None", "3", "key, Row('one', 'x')", "key, Row('one', step=-1)",
               "key, Row('x' * 10_000, 1.0)", "key, Row('one', picture='no png', metric='picture/x')",
               "key, Row('one', float('inf'))", "key, Row('one', error='\\u202e<script>')"),
    "pictures": ("{'a': torch.ones(2, 2)}", "{'a': 2 * torch.ones(1, 1, 2, 2)}", "{3: torch.ones(1, 1, 2, 2)}",
                 "{'\\x1b[31m/../..': torch.ones(1, 1, 2, 2)}"),
    "splits": ("Splits(*[(torch.ones(0, 3),)] * 3)", "self._toy.splits()._replace(test=())",
               "Splits(*[(float('nan') * x[0],) for x in self._toy.splits()])",
               "Splits((torch.ones(4, 3),), (torch.ones(4, 2),), (torch.ones(4, 3),))"),
    "option": (", f=lambda x: x", ", where=Path('.')", ", names=frozenset({'a'})", ", thing=object()", ", needed",
               ", x: 'Nowhere' = 1", ", x: int = 'text'", ", *args, **more", ", x: float = float('nan')",
               ", x=10**400", ", x: 'list[' = ()", ", x={1: {2}}", ", x=b'bytes'", ", x='\\x1b[31m'"),
    "baseline": ("'rlo'", "'rloo[samples='", "'straight_through'", "''"),
    "oracle": ("'exac'", "'rloo'", "''"),
    "objective": ("'elb'", "'elbo'", "'nll'"),
    "batch_size": ("10**9", "2.5"),
    "learning_rate": ("1e30", "'fast'"),
    "base": ("Estimator", "Pathwise", "object", "torch.nn.Module", "Task"),
    "effective": ("{'learning_rate': lambda x: x}", "{3: object()}", "{'x': Text('x')}",
                  "{'learning_rate': float('nan')}"),
}  # fmt: skip


@dataclass(frozen=True)
class Faulty:
    """A plugin with one fault.

    Args:
        kind: estimator, task or measure.
        name: the name of its file.
        label: what is wrong and where.
        source: its text.
    """

    kind: str
    name: str
    label: str
    source: str


def made(kind: str, name: str, place: str, fault: str) -> Faulty:
    """A plugin with a statement or a value in one of its places.

    Args:
        kind: estimator, task or measure.
        name: of the file.
        place: where.
        fault: the name of a statement, or a value.
    """
    template, fine = KINDS[kind]
    slots = dict.fromkeys(PLACES[kind].split(), "pass") | dict(fine) | {place: STATEMENTS.get(fault, fault)}
    if place == "in_class" and slots[place] != "pass":
        slots[place] = f"x = [0 for _ in range(1)]; {slots[place]}"
    title = "".join(part.title() for part in name.split("_"))
    return Faulty(kind, name, f"{kind} {place}: {fault}", template.format(head=HEAD, name=title, **slots))


def drawn(draw: random.Random, name: str) -> Faulty:
    """A plugin at random."""
    kind = draw.choice(list(KINDS))
    if draw.random() < 0.6:
        return made(kind, name, draw.choice(PLACES[kind].split()), draw.choice(list(STATEMENTS)))
    slot = draw.choice(list(KINDS[kind][1]))
    return made(kind, name, slot, draw.choice((*VALUES, *FITTING.get(slot, ()), *FITTING.get(slot, ()))))
