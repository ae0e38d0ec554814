"""What the tables show of each estimator, and how it follows from the results."""

from dataclasses import dataclass

import pandas as pd

from estbench.report.model.intervals import averaged, product, root_mean_square, student
from estbench.report.model.rows import measured
from estbench.stats import SIGNIFICANCE, combined, holm

# figures whose interval may begin at 0, and then is a bound
BIASES = ("relative_bias", "bias", "relative_bias_encoder")
# what the names of metrics begin with that were measured along an estimator's own training
OWN = "own/"
_LOWER = ("nll", "loss", "error", "cost")


@dataclass(frozen=True)
class Quantity:
    """A column of the tables.

    Args:
        key: its name in the summary.
        title: its heading.
        about: one sentence for those who hover over the heading.
        measure: the measure it comes from.
        better: ``lower`` or ``higher``, or empty where neither is better.
        unit: ``s``, ``B``, ``Hz``, ``FLOP``, ``%``, or empty.
        shown: whether the page shows it before it is asked to.
    """

    key: str
    title: str
    about: str
    measure: str
    better: str = "lower"
    unit: str = ""
    shown: bool = True


RELATIVE_BIAS = Quantity(
    "relative_bias",
    "Relative bias",
    "Distance of the mean gradient from the exact one, over the length of the exact one.",
    "gradient",
    unit="%",
)
VARIANCE = Quantity("variance", "Variance", "Trace of the covariance of one gradient estimate.", "gradient")
WORK = Quantity(
    "work_variance",
    "Variance × time",
    "Variance times the seconds of one gradient: the variance of a second's work.",
    "gradient",
)
EVALUATION_VARIANCE = Quantity(
    "evaluation_variance",
    "Variance × evaluations",
    "Variance times the evaluations of the cost: the variance at equal evaluations.",
    "gradient",
    shown=False,
)
STEPS_TO_TARGET = Quantity(
    "steps_to_target",
    "Steps to target",
    "Training steps until the objective first reaches the target: mean over seeds, Student's interval.",
    "training",
    shown=False,
)
SECONDS_TO_TARGET = Quantity(
    "seconds_to_target",
    "Time to target",
    "Seconds of training until the objective first reaches the target: mean over seeds, Student's interval.",
    "training",
    unit="s",
    shown=False,
)
STEP_TIME = Quantity("step_time", "Time per step", "Median time of one training step.", "speed", unit="s")
CLOCK = Quantity(
    "clock",
    "Clock rate",
    "Of the processor or GPU while times were taken: median over blocks.",
    "speed",
    better="",
    unit="Hz",
    shown=False,
)
FIXED = (
    RELATIVE_BIAS,
    Quantity("bias", "Bias", "Distance of the mean gradient from the exact one.", "gradient", shown=False),
    VARIANCE,
    Quantity("mse", "Mean squared error", "Variance plus squared bias.", "gradient", shown=False),
    Quantity("snr", "Signal to noise", "Length of the mean gradient over the root of the variance.",
             "gradient", "higher", shown=False),
    Quantity("cosine", "Cosine", "Between the mean gradient and the exact one.",
             "gradient", "higher", shown=False),
    Quantity("evaluations", "Evaluations", "Evaluations of the cost per example and estimate.",
             "gradient", shown=False),
    EVALUATION_VARIANCE,
    WORK,
    Quantity("relative_bias_encoder", "Relative bias, encoder", "The same of the encoder's parameters.",
             "gradient", unit="%", shown=False),
    Quantity("variance_encoder", "Variance, encoder", "The same of the encoder's parameters.",
             "gradient", shown=False),
    STEP_TIME,
    Quantity("step_time_ratio", "Step, ratio", "Time of a step over that of the task's baseline estimator.",
             "speed"),
    Quantity("gradient_time", "Time per gradient", "Median time of one gradient.", "speed",
             unit="s", shown=False),
    Quantity("forward_time", "Forward", "Median time of the forward pass of a training step.", "speed",
             unit="s", shown=False),
    Quantity("backward_time", "Backward", "Median time of the backward pass of a training step.", "speed",
             unit="s", shown=False),
    Quantity("optimizer_time", "Optimiser", "Median time of the optimiser in a training step.", "speed",
             unit="s", shown=False),
    Quantity("peak_memory", "Peak memory", "Most memory in use at once.", "speed", unit="B"),
    Quantity("peak_resident", "Resident memory", "Most resident memory that one gradient adds to a fresh process.",
             "speed", unit="B", shown=False),
    Quantity("flops", "Operations", "Floating-point operations of matrix products and convolutions in one gradient.",
             "speed", unit="FLOP", shown=False),
    Quantity("threads", "Threads", "Threads of torch while times were taken.", "speed", "", shown=False),
    CLOCK,
    STEPS_TO_TARGET,
    SECONDS_TO_TARGET,
)  # fmt: skip


def better(metric: str) -> str:
    """Which way an objective is better, by its name."""
    return "lower" if metric.startswith(_LOWER) else "higher"


def objective(metric: str) -> Quantity:
    """The column of a training metric such as ``elbo_test``."""
    name, _, split = metric.rpartition("_")
    stem = name.rstrip("0123456789")
    count = f"{int(name.removeprefix(stem)):,}" if stem != name else ""
    short = (f"{count}-sample " if count else "") + {"elbo": "ELBO", "nll": "NLL"}.get(stem, stem)
    about = f"At the end of training: mean over seeds, Student's interval; {better(metric)} is better."
    if count:
        about += f" The logarithm of the mean of {count} likelihoods: another quantity than the one-sample objective."
    data = {"valid": "Validation", "test": "Test"}.get(split, split)
    return Quantity(metric, f"{data} {short}", about, "training", better(metric))


def quantities(estimates: pd.DataFrame) -> list[Quantity]:
    """The columns for which there are estimates, in the order of the tables."""
    known = {quantity.key: quantity for quantity in FIXED}
    found = list(dict.fromkeys(estimates["quantity"]))
    splits = {"valid": 0, "test": 1}
    trained = sorted(set(found) - set(known), key=lambda key: (splits.get(key.rpartition("_")[2], 2), key))
    return [known[key] for key in known if key in found] + [objective(key) for key in trained]


def estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a task, estimator and quantity: its value and interval over all seeds."""
    gradient = _gradient(rows)
    speed = averaged(_speed(rows))
    variance, evaluations, seconds = (
        table[table["quantity"] == key]
        for table, key in ((gradient, "variance"), (gradient, "evaluations"), (speed, "gradient_time"))
    )
    work = product(variance, seconds, WORK.key)
    even = product(variance, evaluations, EVALUATION_VARIANCE.key)
    tables = [table for table in (gradient, even, work, speed, student(final(rows))) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else gradient


def logits_group(rows: pd.DataFrame, *, own: bool = False) -> pd.DataFrame:
    """The gradient's rows about logits (or about the first group where a task has none), by ``quantity``.

    Those at points of the common run, or at points of each estimator's own.
    """
    rows = _grouped(rows, own=own)
    named = rows[rows["group"] != ""]
    first = named.groupby("task")["group"].min()
    have = set(named.loc[named["group"] == "logits", "task"])
    wanted = rows["task"].map(lambda task: "logits" if task in have else first.get(task, ""))
    return rows[(rows["group"] == wanted) | (rows["group"] == "")]


def _grouped(rows: pd.DataFrame, *, own: bool = False) -> pd.DataFrame:
    """The gradient's rows by ``quantity`` and ``group`` of parameters."""
    rows = measured(rows, "gradient")
    rows = rows[rows["metric"].str.startswith(OWN) == own]
    split = [metric.removeprefix(OWN).partition("/") for metric in rows["metric"]]
    return rows.assign(quantity=[part[0] for part in split], group=[part[2] for part in split])


def last_step(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at each task's last step at which as many estimators as at any were measured."""
    counts = rows.groupby(["task", "step"])["label"].nunique().reset_index()
    chosen = counts.sort_values(["label", "step"]).groupby("task")["step"].last()
    return rows[rows["step"] == rows["task"].map(chosen)]


def _gradient(rows: pd.DataFrame) -> pd.DataFrame:
    chosen, every = logits_group(rows), _grouped(rows)
    evaluations = _kept(chosen[chosen["group"] == ""], ["evaluations"])
    found = [_moments(chosen[chosen["group"] != ""]), averaged(evaluations)]
    encoder = _moments(every[(every["group"] == "encoder") & ~every.index.isin(chosen.index)])
    # for the rest of the parameters the main two
    kept = _kept(encoder, ["relative_bias", "variance"])
    return pd.concat(
        [*found, kept.assign(quantity=[f"{name}_encoder" for name in kept["quantity"]])], ignore_index=True
    )


def _moments(rows: pd.DataFrame) -> pd.DataFrame:
    """Bias, variance and what follows from them for one group of parameters, at the last common step."""
    last = last_step(rows)
    biases = last["quantity"].isin(["bias", "relative_bias"])
    found = _unconfirmed(root_mean_square(last[biases]), _kept(last, ["unbiased_p"]))
    plain = _kept(last[~biases], ["variance", "mse", "snr", "cosine"])
    return pd.concat([found, averaged(plain)], ignore_index=True)


def _unconfirmed(biases: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Biases, their intervals down to 0 where the test of none does not reject, Holm-corrected over a task.

    Among many unbiased estimators the interval of one or the other ends above 0 by chance.
    """
    for task, found in tests.groupby("task"):
        p = {str(label): combined(each["value"].to_numpy(dtype=float)) for label, each in found.groupby("label")}
        adjusted = dict(zip(p, holm([*p.values()]), strict=True))
        none = biases["label"].map(adjusted).ge(SIGNIFICANCE) & biases["task"].eq(task)
        biases.loc[none, "low"] = 0.0
    return biases


def _kept(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return rows[rows["quantity"].isin(names)]


def _speed(rows: pd.DataFrame) -> pd.DataFrame:
    rows = measured(rows, "speed")
    found = _kept(rows.assign(quantity=rows["metric"]), [q.key for q in FIXED if q.measure == "speed"])
    # least and most of the blocks, which are no interval
    ranges = found["quantity"].eq(CLOCK.key)
    return found.assign(low=found["low"].mask(ranges), high=found["high"].mask(ranges))


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """Each seed's objectives at its last step; training curves (``…_train``) are no result."""
    rows = measured(rows, "training")
    rows = rows.assign(quantity=rows["metric"])
    rows = rows[~rows["metric"].str.endswith("_train")].sort_values("step", kind="stable")
    return rows.groupby(["task", "label", "quantity", "seed"], sort=False).tail(1)
