r"""The statistics of the checks: tests of a mean, with their false-alarm rate and their power.

All values are in units of the norm of the true gradient of the group that a coordinate belongs to, so that a
length of 0.01 is a relative bias of 1 %. Two tests share a level :math:`\alpha` evenly:

- :math:`\max |z|` over all coordinates and over the projections on each group's true gradient, by Bonferroni;
- Hotelling's :math:`T^2`, by its F distribution, over the directions that have any variance.

``TOLERANCE`` is added to every standard error to allow for rounding; it is far below what the tests can resolve.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from scipy.stats import chi2, f, ncx2, norm
from torch import Tensor

FALSE_ALARMS = 1e-3
RESOLUTION = 0.01
POWER = 0.95
TOLERANCE = 3e-5


class RunningCovariance:
    """Running mean and covariance of vectors.

    Args:
        size: the length of the vectors.
    """

    def __init__(self, size: int) -> None:
        self.n = 0
        self._sum = torch.zeros(size, dtype=torch.float64)
        self._outer = torch.zeros(size, size, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Adds vectors, ``(n, size)``."""
        rows = rows.double()
        self.n += len(rows)
        self._sum += rows.sum(0)
        self._outer += rows.T @ rows

    @property
    def mean(self) -> Tensor:
        """The mean, ``(size,)``."""
        return self._sum / self.n

    @property
    def covariance(self) -> Tensor:
        """The covariance of one vector, ``(size, size)``."""
        return (self._outer - self.n * torch.outer(self.mean, self.mean)) / (self.n - 1)


@dataclass(frozen=True)
class Scale:
    """The units of a gradient's coordinates.

    Args:
        groups: for each coordinate the number of its group, ``(size,)``.
        truth: the true gradient, ``(size,)``.
    """

    groups: Tensor
    truth: Tensor

    def members(self) -> Iterator[Tensor]:
        """The coordinates of each group, as masks."""
        for group in self.groups.unique():
            yield self.groups == group

    @property
    def unit(self) -> Tensor:
        """For each coordinate, the norm of the true gradient of its group."""
        norms = torch.zeros_like(self.truth)
        for mine in self.members():
            norms[mine] = self.truth[mine].norm()
        return norms

    @property
    def directions(self) -> Tensor:
        """The true gradient of each group, of length one, ``(groups, size)``."""
        relative = self.truth / self.unit
        return torch.stack([torch.where(mine, relative, 0.0) for mine in self.members()])


@dataclass(frozen=True)
class Judgement:
    """The outcome of the two tests.

    Args:
        n: number of replicates.
        t2: p-value of Hotelling's test.
        max_z: the largest absolute z.
        p_z: p-value of ``max_z``, corrected for the number of coordinates and directions.
        rank: rank of the covariance.
    """

    n: int
    t2: float
    max_z: float
    p_z: float
    rank: int

    @property
    def p(self) -> float:
        """The p-value of both tests together."""
        return min(1.0, 2 * min(self.t2, self.p_z))

    def __str__(self) -> str:
        return f"T2 p = {self.t2:.2g}, max|z| = {self.max_z:.1f} of {self.n:,}"


def zero_mean_test(error: Tensor, covariance: Tensor, n: int, directions: Tensor | None = None) -> Judgement:
    """Tests whether a mean error is zero.

    Args:
        error: the mean error, ``(size,)``.
        covariance: covariance of that mean, ``(size, size)``.
        n: number of replicates of which it is the mean.
        directions: further directions that are tested, ``(directions, size)``.
    """
    spread, axes = torch.linalg.eigh(covariance)
    rank = max(1, int((spread > TOLERANCE**2).sum()))
    squares = (axes.T @ error).square() / (spread.clamp_min(0) + TOLERANCE**2)
    look = torch.eye(len(error), dtype=error.dtype)
    look = look if directions is None else torch.cat([look, directions])
    variance = ((look @ covariance) * look).sum(1).clamp_min(0) + TOLERANCE**2
    max_z = float(((look @ error).abs() / variance.sqrt()).max())
    p_z = min(1.0, len(look) * 2 * float(norm.sf(max_z)))
    t2 = float(f.sf(float(squares.sum()) * (n - rank) / (rank * (n - 1)), rank, n - rank))
    return Judgement(n, t2, max_z, p_z, rank)


def noncentrality(alpha: float, rank: int, power: float = POWER) -> float:
    """The noncentrality at which a chi-squared test of this level and rank rejects with this probability."""
    critical = chi2.isf(alpha, rank)
    return float(brentq(lambda shift: ncx2.sf(critical, rank, shift) - power, 1e-3, 1e5))


def resolution(moments: RunningCovariance, scale: Scale, alpha: float) -> float:
    """The relative bias that Hotelling's test detects with probability ``POWER`` in any direction of any group."""
    covariance = moments.covariance
    judged = zero_mean_test(moments.mean, covariance / moments.n, moments.n)
    worst = max(float(torch.linalg.eigvalsh(covariance[mine][:, mine])[-1]) for mine in scale.members())
    return math.sqrt(noncentrality(alpha, judged.rank) * max(worst, 0.0) / moments.n)


def needed(moments: RunningCovariance, scale: Scale, alpha: float) -> int:
    """The number of replicates at which the resolution is ``RESOLUTION``."""
    return math.ceil(moments.n * (resolution(moments, scale, alpha) / RESOLUTION) ** 2)
