"""Draws what GRPO multiplies the gradient of a prompt's success rate by: ``python scripts/group_baselines.py``.

For rewards of 0 and 1 the mean of its update is the gradient of the success rate times a factor, which is a sum over
the binomial number of other samples that succeed. The figure and the numbers of docs/explanation/group_baselines.md are
from here; tests/estimators/test_group_advantages.py checks the factor against an enumeration of all groups.
"""

# ruff: noqa: INP001, T201  (a script that prints what it computed)

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.stats import binom

mpl.use("Agg")
from matplotlib import pyplot as plt

SIZES = (2, 4, 8, 16, 32)
RATES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)


def factor(rate: np.ndarray | float, size: int) -> np.ndarray:
    """What GRPO multiplies the gradient of the success rate by, at epsilon 0.

    It is the mean advantage of a sample with reward 1 less that of one with reward 0.

    Args:
        rate: success rates, of any shape.
        size: number of samples of a group.

    Returns:
        The factors, in the shape of the rates.
    """
    others = np.arange(size)
    chance = binom.pmf(others, size - 1, np.asarray(rate)[..., None])
    return (chance * (_advantage(others + 1, size, 1) - _advantage(others, size, 0))).sum(-1)


def _advantage(successes: np.ndarray, size: int, reward: int) -> np.ndarray:
    """The advantage of a sample with this reward in a group with so many successes."""
    deviation = np.sqrt(successes * (size - successes) / (size * (size - 1)))
    return (reward - successes / size) / np.where(deviation > 0, deviation, np.inf)


def draw(path: Path) -> None:
    """The figure: the factor against the success rate, for each size of group and for infinitely many samples."""
    rates = np.linspace(0.005, 0.995, 199)
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for size, shade in zip(SIZES, plt.get_cmap("viridis")(np.linspace(0, 0.85, len(SIZES))), strict=True):
        axes.plot(rates, factor(rates, size), color=shade, label=f"K = {size}")
    axes.plot(rates, 1 / np.sqrt(rates * (1 - rates)), "k:", label="infinitely many")
    axes.set(xlabel="success rate of the prompt", ylabel="GRPO's mean / gradient of the success rate", ylim=(0, 7))
    axes.set_title("GRPO weights prompts by their success rate, and more so in larger groups", fontsize=10)
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.text(0.5, 1.05, "RLOO, ReMax: 1", color="grey", ha="center", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def table() -> str:
    """The factors of some success rates, as a table of Markdown."""
    rows: list[Sequence[object]] = [("success rate", *(f"K = {size}" for size in SIZES), "infinitely many")]
    rows.append(["---:"] * len(rows[0]))
    for rate in RATES:
        limit = 1 / np.sqrt(rate * (1 - rate))
        rows.append((rate, *(f"{factor(rate, size):.3f}" for size in SIZES), f"{limit:.3f}"))
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main() -> None:
    """Prints the table and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/grpo_factor.png"))
    options = parser.parse_args()
    print(table())
    draw(options.out)


if __name__ == "__main__":
    main()
