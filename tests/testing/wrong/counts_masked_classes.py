"""DARN for classes with the uniform distribution over all of them as centre, also over masked ones."""

from estbench.core.estimator import silent
from estbench.core.node import Categorical, Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "masks"


class CountsMaskedClasses(Pathwise):
    accepts = (Categorical,)
    unbiased = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        along = silent(node.score(value).detach() * node.logits).sum(-1, keepdim=True)
        return value + (value - 1 / value.shape[-1]) * along
