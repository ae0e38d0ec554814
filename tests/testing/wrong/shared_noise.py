"""Noise that all examples of a batch share: fair for each of them, and undeclared."""

from estbench.core.estimator import Estimator, inject
from estbench.core.node import Node
from estbench.core.program import Program, Sites
from torch import Tensor

CAUGHT_BY = "examples"


class SharedNoise(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 1

    def forward(self, program: Program) -> Tensor:
        def shared(name: str, node: Node, sites: Sites) -> Tensor:
            noise = node.noise()
            return node.discretise(noise[:1].expand_as(noise) if node.batch_ndim else noise)

        cost, sites = self.interpret(program, shared)
        total = cost.mean()
        for node, value in sites.values():
            total = total + inject(node, node.lift(cost.detach()) * node.score(value))
        return total
