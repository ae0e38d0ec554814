"""redge: the authors' functions for relaxed and straight-through samples."""

from functools import partial

import redge
from harness import Audited, main

from estbench import bridges


def of(name, own, exact=True, **options):
    make = partial(bridges.pathwise, getattr(redge, name), exact_samples=exact, **options)
    called = ", ".join(f"{key}={value}" for key, value in options.items())
    return Audited(f"{name}({called})", make, "biased", own)


main(
    "redge",
    [
        of("redge", "redge[steps=3,t_1=0.3]", exact=False, n_steps=3, t_1=0.3),
        of("redge", "redge[steps=5,t_1=0.5]", exact=False, n_steps=5, t_1=0.5),
        of("redge_cov", "", exact=False, n_steps=3, t_1=0.3),
        of("reinmax", "reinmax[temperature=1.3]", tau=1.3),
        of("gumbel_softmax", "st_gumbel_softmax[temperature=0.7]", tau=0.7),
        of("straight_through", "straight_through"),
    ],
)
