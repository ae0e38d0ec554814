"""The estimator ``function[path=...]``, and the option ``--function`` of ``estbench check``."""

import pytest
import torch
from torch.nn import functional

from estbench import UserError, compare, discover, load_estimator
from estbench.bridges import pathwise, surrogate
from estbench.cli.main import app
from estbench.cli.parsing import run
from tests.bridges import compared

MINE = '''
import torch
from torch.distributions import OneHotCategorical

number = 3

def looks(logits, scale=1.0):
    """Reads a value, which torch.func.vmap cannot map."""
    float(logits.detach().sum())
    return torch.nn.functional.gumbel_softmax(logits * scale, 0.7)

def constant(logits):
    return torch.zeros_like(logits)

def reinforce(cost, logits):
    q = OneHotCategorical(logits=logits)
    z = q.sample()
    found = cost(z)
    return (q.log_prob(z).sum(-1) * found.detach() + found).mean()
'''


FIXED = """
import numpy as np
import torch

class Perturbed:
    def __init__(self, seed=135):
        self.noise = np.random.RandomState(seed)

    def __call__(self, logits):
        return (logits + torch.as_tensor(self.noise.gumbel(size=tuple(logits.shape)))).softmax(-1).to(logits)

def sample(logits):
    return Perturbed()(logits)
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_path_has_the_gradient_of_the_bridge(mine):
    """With one seed the estimator of a path gives what the bridge gives: options are those of function and bridge."""
    pairs = [
        ({"path": "torch.nn.functional:gumbel_softmax", "tau": 0.7}, pathwise(functional.gumbel_softmax, tau=0.7)),
        ({"path": f"{mine}:reinforce", "kind": "surrogate"}, surrogate(load(mine)["reinforce"])),
    ]
    for options, bridge in pairs:
        torch.manual_seed(1)
        found = compared.gradients(load_estimator("function", **options), "bits", 4)
        torch.manual_seed(1)
        assert (found == compared.gradients(bridge, "bits", 4)).all()


def load(path):
    found = {}
    exec(path.read_text(), found)
    return found


def test_functions_are_compared(mine, tmp_path):
    """A mapped function and one that takes a loop have the variance of estbench's Gumbel-Softmax, and stay apart.

    Intervals are of 95 % and from 512 replicates; a right one is further off than twice their widths in 1 of 10,000.
    """
    functions = [f"function[path={mine}:looks]", "function[path=torch.nn.functional:gumbel_softmax,tau=0.7]"]
    found = compare(
        tasks="toy[units=3]",
        estimators=[*functions, "gumbel_softmax[temperature=0.7]"],
        measures="gradient[after=0,replicates=512,groups=logits]",
        store=tmp_path / "store",
        executor="inline",
    ).frame()
    rows = [row for row in found.itertuples() if row.metric == "variance/logits"]
    (own,) = (row for row in rows if row.estimator == "gumbel_softmax")
    assert len(rows) == 3
    for one in rows:
        assert abs(one.value - own.value) < 2 * (one.high - one.low + own.high - own.low)
    notes = found[found.metric == "note"]
    assert [path.rpartition(":")[2] for path in notes.estimator_path] == ["looks"]
    assert "replicates are drawn by a loop" in notes.error.iloc[0]


def test_a_fixed_seed_is_a_failed_row(tmp_path):
    """Replicates that are equal since a library seeds its own generator are told, in place of a variance of 0."""
    path = tmp_path / "fixed.py"
    path.write_text(FIXED)
    found = compare(
        tasks="toy[units=3]",
        estimators=f"function[path={path}:sample]",
        measures="gradient[after=0,replicates=64,groups=logits]",
        store=tmp_path / "store",
        executor="inline",
    ).frame()
    assert (found.status == "failed").any()
    assert "generator with a fixed seed" in found.error[found.status == "failed"].iloc[0]
    assert not (found.metric.str.startswith("variance") & (found.status == "ok")).any()


def test_a_path_can_be_checked(mine, capsys):
    """``--function`` and ``--options`` name what is checked; a wrong declaration is found."""
    code = run(app, ["check", "--function", f"{mine}:constant"])
    assert code == 2
    assert "has no derivative" in capsys.readouterr().err


PATHS = [
    ("nomodule:x", "there is no module 'nomodule' here"),
    ("torch.nn.functional:gumbel_sofmax", "did you mean 'gumbel_softmax'"),
    ("torch.nn:functional", "is no function; got a module"),
    ("torch", "module:function or file.py:function; got 'torch'"),
    ("none.py:x", "there is no file none.py, from which to take x"),
]


@pytest.mark.parametrize(("path", "message"), PATHS)
def test_a_wrong_path_is_one_line(path, message):
    """The line says which part of the path names nothing."""
    with pytest.raises(UserError, match=message.replace(".", r"\.")) as error:
        load_estimator("function", path=path)
    assert "\n" not in str(error.value)


def test_the_estimator_is_not_listed():
    """Patterns do not mean the estimator of a function, which is nothing without a path."""
    assert "function" not in discover("estimator").plugins
    assert "function" in discover("estimator")
