"""Writes the table of all audits from ``audits/results``.

``python audits/report.py > reports/library-audit-2026-12.md``
"""

import csv
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
HEAD = """# Audit of libraries, December 2026

Estimators of other libraries against enumeration, by the bridges of estbench ([how](../docs/how-to/bridges.md)), on
two programs of estbench's own checks: a net with one layer of 3 bits and one with 2 variables of 3 classes, whose
cost is nonlinear and has log q in it, as an ELBO has. The gradient is that for the logits.

`make audit LIBRARY=storchastic` installs `audits/storchastic/requirements.txt` in an environment of its own, runs
`audits/storchastic/audit.py`, which shows how each estimator is called, and writes `audits/results/storchastic.csv`;
so for every folder of `audits`.

- *declared*: what the library's documentation says.
- *size*: the mean gradient's part along the true gradient, relative to it, with a 95 % interval; 1 is right.
- *off*: the distance of the mean gradient to the true one, relative to its length; it includes what is left of the
  noise.
- *variance*: relative to that of estbench's estimator of the same formula, by 100 calls (a standard error of 20 %).
- *time*: forward and backward pass, relative to estbench's own, bridge included.
- *verdict*: biased if an entry of the mean gradient, or its size, is more than 3.9 standard errors off.

A loss that keeps the score of log q, as torch's and pyro's do, has more variance than estbench's estimator, which
leaves it out. Where an estimator is off, the rows above or below it are of the same library in the same program,
called in the same way.

| library | estimator | declared | program | size | off | variance | time | verdict |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def rows() -> list[dict[str, str]]:
    """The rows of all libraries."""
    found: list[dict[str, str]] = []
    for path in sorted(RESULTS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            found += csv.DictReader(file)
    return found


def line(row: dict[str, str]) -> str:
    """A row of the table."""
    size = f"{row['size']} ({row['low']} to {row['high']})" if row["size"] else ""
    cells = [f"{row['library']} {row['version']}", row["estimator"], row["declared"], row["program"], size]
    return "| " + " | ".join([*cells, row["off"], row["variance"], row["time"], row["verdict"]]) + " |"


if __name__ == "__main__":
    found = rows()
    print(HEAD + "\n".join(map(line, found)) + "\n")
    names = {(row["library"], row["estimator"]) for row in found}
    biased = {(row["library"], row["estimator"]) for row in found if row["verdict"] == "biased"}
    refused = {(row["library"], row["estimator"]) for row in found if row["verdict"].startswith("raises")}
    right = len(names) - len(biased | refused)
    print(
        f"Of {len(names)} implementations {right} are what they declare, {len(biased)} are not, {len(refused)} raise."
    )
