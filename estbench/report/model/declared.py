"""What estimators declare of themselves: whether they are unbiased, and of what."""

from dataclasses import dataclass
from typing import Self

import pandas as pd


@dataclass(frozen=True)
class Declared:
    """What an estimator declares.

    Args:
        bias: ``unbiased``, ``biased``, or empty if it is not known.
        target: the objective whose gradient it estimates, if that is a multi-sample bound: ``2-sample bound``.
    """

    bias: str = ""
    target: str = ""

    @classmethod
    def of(cls, rows: pd.DataFrame) -> dict[str, Self]:
        """What each estimator declares, by label, from prepared rows."""
        found: dict[str, Self] = {}
        for label, text in rows[["label", "declared"]].drop_duplicates().itertuples(index=False):
            bias, _, target = str(text).partition(", ")
            if bias or label not in found:
                found[str(label)] = cls(bias, target)
        return found

    @property
    def words(self) -> str:
        """For a table: ``unbiased``, ``biased``, ``unbiased for the 2-sample bound``, or empty."""
        return f"{self.bias} for the {self.target}" if self.bias and self.target else self.bias
