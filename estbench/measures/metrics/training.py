"""The metrics of the measure ``training``: objectives by the data they are evaluated on, and what tasks add."""

from collections.abc import Iterator
from functools import partial

from estbench.core.metrics import RESULT, Better, Metric

_training = partial(Metric, interval="seeds", told=False, tracked=False)
_SPLITS = {"train": "Training", "valid": "Validation", "test": "Test"}
_BOUND = "The logarithm of the mean of {samples} likelihoods: another quantity than the one-sample objective."
# the end of a key with a number of samples, its title, the better direction and whether it is an objective
_OBJECTIVES: tuple[tuple[str, str, Better], ...] = (
    ("elbo{samples:d}", "{samples}-sample ELBO", "higher"),
    ("bound{samples:d}", "{samples}-sample bound", "higher"),
    ("nll{samples:d}", "{samples}-sample NLL", "lower"),
    ("elbo", "ELBO", "higher"),
    ("nll", "NLL", "lower"),
    ("loss", "loss", "lower"),
)
# what tasks add beside the objective; errors and costs are told by the beginning of their names
_ADDED: tuple[tuple[str, str, Better], ...] = (
    *((name, name, "lower") for name in ("error", "cost")),
    *((f"{name}_{{kind}}", f"{name} {{kind}}", "lower") for name in ("error", "cost")),
    ("{metric}", "{metric}", "higher"),
)


def _on(split: str) -> Iterator[Metric]:
    """The metrics on one split of the data."""
    declare = partial(_training, show={"train": "none", "valid": "page", "test": "main"}[split])
    for names, result in ((_OBJECTIVES, split == "test"), (_ADDED, False)):
        for key, title, better in names:
            about = f"At the end of training: mean over seeds, Student's interval; {better} is better."
            about += f" {_BOUND}" if "samples" in key else ""
            yield declare(f"{key}_{split}", f"{_SPLITS[split]} {title}", better=better, about=about,
                          told=split == "test" and not result,
                rank=RESULT if result else 0, tracked=result)  # fmt: skip


METRICS = (
    _training("picture/{title}", "{title}", show="none", interval="none"),
    *_on("train"),
    *_on("valid"),
    *_on("test"),
)  # fmt: skip
