"""A VAE, and its training losses written by hand in plain torch: what a step through estbench is set against.

Written as for one paper's experiment, this model and this estimator alone: binary cross entropies with logits, the
samples of RLOO and DisARM through the decoder in one batch, and of the graph no more than the gradient needs.
"""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Bernoulli


class VAE(nn.Module):
    """One layer of Bernoulli latents between linear maps, with a learned prior."""

    def __init__(self, pixels=784, units=200):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(pixels, units), nn.Linear(units, pixels)
        self.prior = nn.Parameter(torch.zeros(units))

    def forward(self, x):
        """The program, for estbench."""
        q, p = Bernoulli(self.encoder(x)), Bernoulli(self.prior)

        def program(sample):
            z, log_q = sample("z", q)
            return log_q - p.log_prob(z) - Bernoulli(self.decoder(z)).log_prob(x)

        return program


def log_bernoulli(logits, bits):
    return -F.binary_cross_entropy_with_logits(logits, bits.expand_as(logits), reduction="none").sum(-1)


def log_joint(vae, z, x):
    prior = (z * vae.prior).sum(-1) - F.softplus(vae.prior).sum()
    return prior + log_bernoulli(vae.decoder(z), x)


def logistic(logits):
    """Logistic noise in the shape of the logits."""
    return (
        torch.rand_like(logits).clamp_(torch.finfo(logits.dtype).tiny, 1 - torch.finfo(logits.dtype).eps / 2).logit_()
    )


class GumbelSoftmax(nn.Module):
    """Binary Concrete samples."""

    def __init__(self, temperature=1.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, vae, x):
        logits = vae.encoder(x)
        z = ((logits + logistic(logits)) / self.temperature).sigmoid()
        log_q = (z * logits - F.softplus(logits)).sum(-1)
        return (log_q - log_joint(vae, z, x)).mean()


class RLOO(nn.Module):
    """Two samples, each the other's baseline."""

    def forward(self, vae, x):
        logits = vae.encoder(x).expand(2, -1, -1)
        z = (torch.rand_like(logits) < logits.detach().sigmoid()).to(logits.dtype)
        log_q = log_bernoulli(logits, z)
        cost = log_q.detach() - log_joint(vae, z, x)
        excess = cost.detach() - cost.detach().flip(0)
        return (cost + excess * log_q).mean()


class DisARM(nn.Module):
    """One antithetic pair."""

    def forward(self, vae, x):
        logits = vae.encoder(x)
        with torch.no_grad():
            noise = logistic(logits)
            z = (logits + torch.stack([noise, -noise]) > 0).to(logits.dtype)
            log_q = log_bernoulli(logits.expand_as(z), z)
        cost = log_q - log_joint(vae, z, x)
        with torch.no_grad():
            slope = (cost[0] - cost[1])[:, None] * (z[0] - z[1]) * logits.abs().sigmoid() / 2
        return cost.mean() + (slope * logits).sum(-1).mean()


class REBAR(nn.Module):
    """With noise tied to the hard sample, as estbench has it."""

    def __init__(self, temperature=0.5, scale=1.0):
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, vae, x):
        logits = vae.encoder(x)
        fixed = logits.detach()
        noise = logistic(fixed)
        z = fixed + noise
        hard = (z > 0).to(z.dtype)
        log_q = log_bernoulli(fixed, hard)
        cost = log_q - log_joint(vae, hard, x)
        slope = self.slope(vae, x, fixed, z, hard, cost.detach())
        tuned = (self.scale, self.log_temperature)
        tuning = torch.autograd.grad(slope.square().sum(-1).mean(), tuned)
        own = self.scale * tuning[0] + self.log_temperature * tuning[1]
        return cost.mean() + own + (slope.detach() * logits).sum(-1).mean()

    def slope(self, vae, x, logits, z, hard, cost):
        z.requires_grad_()
        relaxed = (z / self.log_temperature.exp()).sigmoid()
        log_q = (relaxed * logits).sum(-1) - F.softplus(logits).sum(-1)
        control = self.scale * (log_q - log_joint(vae, relaxed, x))
        (by,) = torch.autograd.grad(control.sum(), z, create_graph=True)
        with torch.no_grad():
            gap = 1 + torch.expm1(-z.abs()) * torch.where(z > 0, logits, -logits).sigmoid()
            score = hard - logits.sigmoid()
        return (cost - control)[:, None] * score + gap * by


LOSSES = {"gumbel_softmax": GumbelSoftmax, "rloo": RLOO, "disarm": DisARM, "rebar": REBAR}
