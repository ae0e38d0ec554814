"""storchastic: every method that samples discrete variables."""

from functools import partial

import storch
from harness import Audited, main
from storch.method import (
    ARM,
    REBAR,
    DisARM,
    Expect,
    GumbelSoftmax,
    Infer,
    ScoreFunction,
    ScoreFunctionWOR,
    UnorderedSetEstimator,
)
from torch.distributions import Bernoulli, OneHotCategorical

from estbench import bridges


def surrogate(cost, logits, make, kind):
    """Storchastic's loss for one stochastic node with a plate for the batch."""
    storch.reset()
    batch = logits.shape[: logits.ndim - (1 if kind is Bernoulli else 2)]
    event = logits.shape[len(batch) :]
    rows = storch.denote_independent(logits.reshape(-1, *event), 0, "batch")
    z = make()(kind(logits=rows))

    def costs(z):
        # sequences of samples have the plate of the batch first, and others last
        first = z.ndim > 1 + len(event) and z.shape[0] == len(rows._tensor) != z.shape[-1 - len(event)]
        z = z.movedim(0, -1 - len(event)) if first else z
        found = cost(z.reshape(*z.shape[: z.ndim - 1 - len(event)], *batch, *event)).flatten(-len(batch))
        return found.movedim(-1, 0) if first else found

    storch.add_cost(storch.deterministic(costs)(z), "cost")
    loss = storch.inference.surrogate_loss()
    return loss._tensor if isinstance(loss, storch.Tensor) else loss


def of(name, make, own="", declared="unbiased", kinds=(Bernoulli, OneHotCategorical), detached=True, calls=100):
    for kind in kinds:
        dim = int(kind is not Bernoulli)
        bridge = partial(bridges.surrogate, surrogate, make=make, kind=kind, event_dim=dim, detached=detached)
        yield Audited(f"{name} of {kind.__name__}", bridge, declared, own, width=128, calls=calls)


BITS, CLASSES = (Bernoulli,), (OneHotCategorical,)
main(
    "storchastic",
    [
        # its samples are all values, which stand for no draw
        *of("Expect", lambda: Expect("z"), "exact", detached=False),
        *of("ScoreFunction", lambda: ScoreFunction("z", n_samples=1, baseline_factory="None"), "reinforce"),
        *of(
            "ScoreFunction(batch_average, 2 samples)",
            lambda: ScoreFunction("z", n_samples=2, baseline_factory="batch_average"),
            "rloo[samples=2]",
        ),
        *of("ARM", lambda: ARM("z", n_samples=1), "arm", kinds=BITS),
        *of("DisARM", lambda: DisARM("z", n_samples=1), "disarm", kinds=BITS),
        *of("REBAR", lambda: REBAR("z", n_samples=1), "rebar", detached=False),
        *of(
            "UnorderedSetEstimator(k=2)",
            lambda: UnorderedSetEstimator("z", k=2),
            "",
            kinds=CLASSES,
            detached=False,
            calls=600,
        ),
        *of(
            "ScoreFunctionWOR(k=2), biased by default",
            lambda: ScoreFunctionWOR("z", k=2),
            declared="biased",
            kinds=CLASSES,
            detached=False,
        ),
        *of(
            "ScoreFunctionWOR(k=2, biased=False)",
            lambda: ScoreFunctionWOR("z", k=2, biased=False),
            kinds=CLASSES,
            detached=False,
        ),
        *of("GumbelSoftmax", lambda: GumbelSoftmax("z", n_samples=1), "", declared="biased", detached=False),
        *of("Infer", lambda: Infer("z", Bernoulli), "", kinds=BITS, declared="not said", detached=False),
    ],
)
