"""Names that benchmarks have as parameters.

asv stores parameters by their position: the lists are append-only, so that history keeps its labels when plugins
come and go. A commit that lacks a name reports it as not available.
"""

ESTIMATORS = (
    "exact",
    "reinforce",
    "reinforce_moving_average",
    "nvil",
    "rloo",
    "vimco",
    "arm",
    "disarm",
    "muprop",
    "rebar",
    "relax",
    "gumbel_softmax",
    "st_gumbel_softmax",
    "straight_through",
    "reinmax",
)
TASKS = ("toy[units=5]", "sigmoid_belief_net", "vae")
