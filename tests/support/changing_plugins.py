"""Plugins that change the process that runs them, wherever they are asked; sources, shared by tests of what stays."""

# what careless code does; each line alone changed the figures of others or made them fail
CHANGE = """
import os, random, signal, sys
import numpy as np, torch
import estbench.store.files

def change():
    torch.optim.Adam.step = lambda self, *arguments: None
    torch.optim.Adam.zero_grad = lambda self, *arguments: None
    torch.randn = torch.rand
    torch.Tensor.sum = torch.Tensor.mean
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    random.random = lambda: 0.5
    estbench.store.files.digest = str
    np.seterr(all="raise")
    os.environ.clear()
    os.chdir("/")
    sys.path.clear()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_default_device("meta")
"""
ESTIMATOR = '''
from estbench import ScoreFunction
{change}
{at_import}

class {name}(ScoreFunction):
    """REINFORCE with a constant baseline."""

    unbiased = True

    def __init__(self):
        super().__init__()
        {in_constructor}

    def prepare(self, program):
        {in_prepare}
        return super().prepare(program)

    def baseline(self, name, node, cost):
        {in_hook}
        return torch.full_like(cost, 0.5)
'''
TASK = '''
from estbench import Splits, Task
from estbench.tasks.toy import Toy
{change}

class {name}(Task):
    """The toy, in a process that is changed."""

    objective = "loss"
    baseline = "rloo"
    batch_size = 4

    def model(self):
        made = Toy(units=3).model()
        {in_model}
        return made

    def splits(self):
        found = Toy(units=3).splits()
        {in_splits}
        return found

    def metrics(self, model, batch):
        {in_metrics}
        return {{}}
'''
MEASURE = '''
from estbench import Measure, Metric, Row
{change}

class {name}(Measure):
    """Changes the process."""

    metrics = (Metric("one", "One"),)

    def rows(self, bench, makers):
        change()
        for key in makers:
            yield key, Row("one", 1.0)
'''
ESTIMATORS = ("at_import", "in_constructor", "in_prepare", "in_hook")
TASKS = ("in_model", "in_splits", "in_metrics")


def write(folder):
    """Writes a file for each place of each kind of plugin; returns them."""
    for source, places in ((ESTIMATOR, ESTIMATORS), (TASK, TASKS), (MEASURE, ("in_measure",))):
        for place in places:
            calls = {each: "change()" if each == place else "pass" for each in places}
            text = source.format(change=CHANGE, name=place.title().replace("_", ""), **calls)
            (folder / f"{place}.py").write_text(text)
    return [str(folder / f"{place}.py") for place in (*ESTIMATORS, *TASKS, "in_measure")]
