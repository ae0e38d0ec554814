"""Nodes: vectors of random variables, and the functions that estimators use beside them.

Plugins import them from here; each kind of node is defined in a module of its own.
"""

from estbench.core.base_node import Node
from estbench.core.bernoulli import Bernoulli
from estbench.core.categorical import Categorical
from estbench.core.functional import log_softmax, softmax, softplus
from estbench.core.normal import Normal
from estbench.core.one_hot import one_hot
from estbench.core.permutation import Permutation
from estbench.core.subset import Subset

__all__ = [
    "Bernoulli",
    "Categorical",
    "Node",
    "Normal",
    "Permutation",
    "Subset",
    "log_softmax",
    "one_hot",
    "softmax",
    "softplus",
]
