"""Names that benchmarks have as parameters.

asv stores parameters by their position: all tables are append-only, so that history keeps its labels when plugins
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
    "arms",
    "arsm",
    "augmented_reinforce",
    "carms",
    "darn",
    "decoupled_straight_through",
    "disarm_categorical",
    "double_cv",
    "evolution_strategies",
    "finite_differences",
    "gst",
    "gumbel_rao",
    "imle",
    "local_expectation",
    "rao_blackwell",
    "rodeo",
    "slope_annealed",
    "spsa",
    "stochastic_ad",
    "sum_and_sample",
    "unordered_set",
    "vargrad",
    "zgr",
    "dr_grpo",
    "grpo",
    "james_stein",
    "opo",
    "passk",
    "remax",
    "redge",
    "reinmax_rao",
    "sfess",
    "simple",
    "gumbel_top_k",
    "imle_subset",
)

# tasks, with the replicates behind variance and error
TASKS = {
    "toy[units=5]": 131072,
    "sigmoid_belief_net": 16384,
    "vae": 256,
    "toy[latents=categorical]": 131072,
}

# the engine against a loop: model, group of the gradient and estimator
CASES = (
    "vae 784-200-784 | logits | gumbel_softmax",
    "vae 784-200-784 | logits | rloo",
    "vae 784-200-784 | logits | disarm",
    "vae 784-200-784 | encoder | gumbel_softmax",
    "vae 784-200-784 | encoder | rloo",
    "vae 784-200-784 | encoder | disarm",
    "toy, 200 units | logits | gumbel_softmax",
    "toy, 200 units | logits | rloo",
    "toy, 200 units | logits | disarm",
    "sigmoid_belief_net | logits | gumbel_softmax",
    "sigmoid_belief_net | logits | rloo",
    "sigmoid_belief_net | logits | disarm",
)
