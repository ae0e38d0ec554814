"""An estimator that raises in its first line."""

from estbench.core.estimator import Estimator
from estbench.core.program import Program
from torch import Tensor

CAUGHT_BY = "runs"


class Raises(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 1

    def forward(self, program: Program) -> Tensor:
        raise KeyError("a plugin's own mistake")
