"""reinmax: the authors' function."""

from functools import partial

from harness import Audited, main
from reinmax import reinmax

from estbench import bridges

main(
    "reinmax",
    [
        Audited(
            f"reinmax(tau={tau})", partial(bridges.pathwise, reinmax, tau=tau), "biased", f"reinmax[temperature={tau}]"
        )
        for tau in (1.0, 1.3)
    ],
)
