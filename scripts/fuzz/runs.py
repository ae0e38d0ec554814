"""Comparisons with plugins at fault: what must hold whatever they do."""

import random
from pathlib import Path

import pandas as pd

from scripts.fuzz.outcome import Outcome, outcome
from scripts.fuzz.plugins import Faulty

TOY = "toy[units=3]"
TRAINING = "training[steps=60,evaluations=3]"
# RLOO's loss on the test set after these steps, seed 0
LOSS = 0.24452
# faults that end or stop the process on purpose: with the inline executor that process is the driver
DEADLY = ("abort", "segv", "kill", "terminate", "sigint", "interrupt", "stubborn", "alarm", "at_exit", "close")


def arguments(faulty: Faulty, executor: str, measure: str = TRAINING) -> list[str]:
    """A comparison in which a plugin at fault comes first, and RLOO on the toy after it."""
    tasks, estimators, measures = [TOY], ["rloo"], [measure]
    {"task": tasks, "estimator": estimators, "measure": measures}[faulty.kind].insert(0, faulty.name)
    words = ["compare", "-e", f"{faulty.name}.py", "--tasks", ",".join(tasks), "--estimators", ",".join(estimators)]
    words += ["--measures", ",".join(measures), "--seeds", "1", "--executor", executor, "--timeout", "8"]
    return [*words, "--out", "out", "--device", "cpu"]


def compare(faulty: Faulty, executor: str, folder: Path, measure: str = TRAINING) -> tuple[Outcome, list[str]]:
    """Runs it; what came of it, and what is wrong with that."""
    (folder / f"{faulty.name}.py").write_text(faulty.source, encoding="utf-8", errors="replace")
    found = outcome(arguments(faulty, executor, measure), folder)
    deadly = executor == "inline" and faulty.label.rpartition(": ")[2] in DEADLY
    return found, [] if deadly and found.code != 0 else [*found.wrong, *wrong(found, folder, measure)]


def wrong(found: Outcome, folder: Path, measure: str = TRAINING) -> list[str]:
    """What is wrong with what a comparison has left."""
    place = folder / "out" / "results.parquet"
    if not place.exists():
        return [] if found.code == 2 else [f"it ended with {found.code} and has no results"]
    rows, faults = pd.read_parquet(place), []
    failed = bool((rows["status"] == "failed").any())
    if found.code != int(failed):
        faults.append(f"it ended with {found.code}, and {'some' if failed else 'none'} of its cells have failed")
    texts = {text for name in ("metric", "unit", "error", "task", "estimator") for text in rows[name].astype(str)}
    if strange := [text[:40] for text in texts if not text.isprintable()]:
        faults.append(f"its results hold {strange[0]!r}")
    own = rows[(rows["estimator"] == "rloo") & (rows["task"] == TOY) & (rows["measure"] == measure.partition("[")[0])]
    if (own["status"] != "ok").any() or own.empty:
        faults.append(f"rloo has {sorted(set(own['status']))}: {sorted(set(own['error']))[:1]}")
    if measure == TRAINING and not own.empty:
        loss = own.loc[(own["metric"] == "loss_test") & (own["step"] == 60), "value"].round(5).tolist()
        if loss != [LOSS]:
            faults.append(f"rloo's loss is {loss}")
    names = ("index.html", "report.md", "results.csv", "environment.json")
    return faults + [f"there is no {name}" for name in names if not (folder / "out" / name).is_file()]


def shown(found: Outcome, folder: Path) -> str:
    """What came of a comparison in a line."""
    place = folder / "out" / "results.parquet"
    rows = pd.read_parquet(place) if place.exists() else pd.DataFrame()
    reasons = sorted(set(rows.loc[rows["status"] != "ok", "error"])) if len(rows) else found.err.splitlines()[-1:]
    return f"{found.code} {found.seconds:.1f}s {' | '.join(text[:150] for text in reasons[:2])}"


def drawn(draw: random.Random) -> str:
    """An executor; most are inline, as it starts no processes."""
    return "inline" if draw.random() < 0.9 else "local[workers=1]"
