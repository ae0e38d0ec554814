"""REBAR that tunes its temperature and scale up the slope of the variance."""

import torch
from estbench.core.estimator import silent
from estbench.families.control_variate import Relaxed, WhatIf
from torch import Tensor, nn

CAUGHT_BY = "tuning"


class WrongTemperatureGradient(Relaxed):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        return self.scale * what_if(relaxed)

    def _tuned(self, gradients, sites):
        estimates, tuning = super()._tuned(gradients, sites)
        return estimates, silent(-tuning) if isinstance(tuning, Tensor) else tuning
