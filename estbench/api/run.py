"""A run: its results as tables, sentences, tests and figures."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from estbench.api import arguments
from estbench.core.metrics import Metrics
from estbench.errors import UserError, nearest
from estbench.store.run_folder import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from estbench.report.model.study import Study

_CELL = ["task", "label", "seed", "device", "dtype", "measure", "metric"]


@dataclass(frozen=True, eq=False)
class Run:
    """The results of a comparison.

    Args:
        results: a row for each figure, with the columns of docs/reference/results.md.
        info: what is known of the run: versions, machine, seeds, options.

    Example:
        >>> import tempfile
        >>> from estbench import compare
        >>> what = "toy[units=2]", "rloo,reinforce", "training[steps=4,samples=0]", 1
        >>> run = compare(*what, store=tempfile.mkdtemp(), executor="inline")
        >>> frame = run.frame()
        >>> final = frame[frame["final"] & (frame["metric"] == "loss_test")]
        >>> final["label"].tolist() == run.estimators == run.table().index.tolist()
        True
        >>> run.tests(metric="loss_test").columns.tolist()
        ['estimator', 'other', 'difference', 'seeds', 'p']
        >>> len(run.figure("training").axes)
        2
        >>> list(run.to_xarray().sizes)
        ['task', 'label', 'seed']
    """

    results: pd.DataFrame
    info: RunInfo

    @functools.cached_property
    def _study(self) -> "Study":
        from estbench.report.model.study import Study  # noqa: PLC0415  (slow)

        return Study.of(self.results, self.info.families, self.info.options, metrics=self._metrics)

    @property
    def _metrics(self) -> Metrics:
        return Metrics.from_json(self.info.metrics)

    @property
    def tasks(self) -> list[str]:
        """The tasks, with their options."""
        return self._study.tasks

    @property
    def estimators(self) -> list[str]:
        """The estimators, with their options."""
        return self._study.labels

    def frame(self) -> pd.DataFrame:
        """The results with a column for each option, for pandas.

        Beside the columns of docs/reference/results.md: ``label``, the estimator with its options; ``task_OPTION`` and
        ``estimator_OPTION``, missing where a plugin has no such option; and ``final``, whether a row is the last of its
        training or trajectory. Group the rows with ``final`` to get the figures of the report:
        ``frame[frame.final].groupby(["task", "label", "metric"]).value.mean()``.
        """
        frame = self.results.drop(columns="picture", errors="ignore").reset_index(drop=True)
        # without the device that the report adds where there are several
        frame.insert(2, "label", self._study.rows["label"].to_numpy())
        last = frame.groupby(_CELL, dropna=False)["step"].transform("max")
        frame.insert(3, "final", frame["step"].isna() | (frame["step"] == last))
        known = self.info.options
        tasks = frame["task"].map(lambda task: _prefixed("task", known.get("task", {}).get(task, {})))
        estimators = frame["label"].map(lambda label: _prefixed("estimator", known.get("estimator", {}).get(label, {})))
        chosen = frame.get("chosen", pd.Series("{}", frame.index)).map(_chosen)
        options = [_merged(*parts) for parts in zip(tasks, estimators, chosen, strict=True)]
        return pd.concat([frame, pd.DataFrame(options, frame.index, dtype=object).apply(_typed)], axis=1)

    def table(self, task: str | None = None) -> pd.DataFrame:
        """The report's main table of a task, as numbers: a row an estimator.

        Args:
            task: one of ``tasks``; may be left out where there is one only.

        Returns:
            For each quantity (``variance``, ``step_time``, ``elbo_test``, ...) its value over seeds, ``…_low`` and
            ``…_high`` of its 95 % interval, and ``…_mark``: ``best``, ``tied``, ``reference`` or empty; and ``status``
            and ``error`` of what failed.

        Raises:
            UserError: there is no such task.
        """
        from estbench.report import summary  # noqa: PLC0415  (slow)

        found = summary(self.results, self._metrics)
        own = found[found["task"] == self._task(task)].drop(columns="task").set_index("estimator")
        return own.dropna(axis=1, how="all")

    def answers(self, task: str | None = None) -> list[str]:
        """What was found on a task, in sentences that follow from the tests.

        Args:
            task: as for ``table``.

        Raises:
            UserError: there is no such task.
        """
        from estbench.report.text import findings  # noqa: PLC0415  (slow)

        return findings.answers(self._study, self._task(task))

    def tests(self, task: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Tests between all pairs of estimators by where their trainings ended.

        Args:
            task: as for ``table``.
            metric: what they are compared by, such as ``elbo_test``; by default the task's objective.

        Returns:
            A row a pair: ``estimator``, ``other``, ``difference`` (the mean over the seeds that both have of the first
            less the second), ``seeds``, and ``p``, corrected over all pairs.

        Raises:
            UserError: there is no such task or metric.
        """
        task = self._task(task)
        runs = self._study.runs[self._study.runs["task"] == task]
        known = list(dict.fromkeys(runs["quantity"]))
        objective = self._study.objective(task)
        metric = metric or (objective.key if objective else "")
        if metric not in known:
            if not known:
                raise UserError(f"no estimator was trained on {task}, so that there is nothing to test")
            raise UserError(f"nothing was trained on {task} that has {metric!r}; {nearest(metric, known)}")
        paired = self._study.paired(task, metric)
        rows = []
        for place, one in enumerate(paired.labels):
            for other in paired.labels[place + 1 :]:
                gaps = paired.differences(one, other)
                difference = float(gaps.mean()) if len(gaps) else float("nan")
                rows.append((one, other, difference, len(gaps), paired.p(one, other)))
        return pd.DataFrame(rows, columns=["estimator", "other", "difference", "seeds", "p"])

    def figure(self, kind: str, *, style: str = "paper", width: float | None = None) -> "Figure":
        """A figure of the report, for a notebook or to be changed further.

        Args:
            kind: ``variance``, ``training``, ...: as ``estbench list charts`` names it.
            style: ``paper`` or ``talk``.
            width: inches; by default one column a task.

        Raises:
            UserError: there is no such kind or style, or these results hold nothing that it shows.
        """
        from estbench.api.notebook import show_figures  # noqa: PLC0415  (slow)
        from estbench.report.gallery import draw  # noqa: PLC0415  (slow)

        show_figures()
        try:
            return draw(kind, self._study, style=style, width=width)
        except ValueError as error:
            raise UserError(str(error)) from error

    def report(self, folder: Path | str) -> Path:
        """Writes the report into a folder; returns its page.

        Raises:
            UserError: the folder cannot be written.
        """
        from estbench.workflows.comparison import write_report  # noqa: PLC0415  (imports torch)

        place = arguments.folder("folder", folder)
        write_report(place, self.results, self.info)
        return place / "index.html"

    def to_xarray(self) -> Any:
        """The figures at the end of each training and trajectory as an ``xarray.Dataset``.

        A variable for each metric, with the dimensions ``task``, ``label`` and ``seed``.

        Raises:
            ModuleNotFoundError: xarray is not installed.
        """
        import xarray as xr  # noqa: PLC0415  (optional)

        frame = self.frame()
        final = frame[frame["final"] & (frame["status"] == "ok")]
        keys = ["task", "label", "seed"]
        tables = {
            str(metric): rows.drop_duplicates(keys).set_index(keys)["value"].to_xarray()
            for metric, rows in final.groupby("metric")
        }
        return xr.Dataset(tables)

    def _task(self, task: str | None) -> str:
        if task is None and len(self.tasks) == 1:
            return self.tasks[0]
        if task not in self.tasks:
            raise UserError(f"name one of the tasks of this run: {', '.join(self.tasks)}; got {task!r}")
        return task

    def _repr_html_(self) -> str:
        """The main table of each task, and the sentences, for a notebook."""
        from estbench.report.text import tables  # noqa: PLC0415  (slow)

        parts = []
        for task in self.tasks:
            table = tables.table(self._study, task)
            head = "".join(f"<th>{escape(text)}</th>" for text in ("estimator", *(h.title for h in table.headings)))
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in (row.title, *map(_marked, row.cells))) + "</tr>"
                for row in table.rows
            )
            sentences = "".join(f"<li>{escape(text)}</li>" for text in self.answers(task))
            parts.append(
                f"<h4>{escape(task)}</h4><ul>{sentences}</ul>"
                f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        return "".join(parts) or "<p>Nothing was measured.</p>"

    def __repr__(self) -> str:
        return (
            f"Run({len(self.estimators)} estimators on {', '.join(self.tasks) or 'no task'}; {len(self.results)} rows)"
        )


def _typed(column: pd.Series) -> pd.Series:
    """An option's values in their own type: where some rows have none, pandas makes whole numbers fractions."""
    kinds = {type(value) for value in column.dropna()}
    if kinds == {int}:
        return column.astype("Int64")
    return column.astype(float) if kinds and kinds <= {int, float} else column


def _marked(cell: Any) -> str:
    return str(cell.text) + {"best": " *", "tied": " ="}.get(cell.mark, "")


def _prefixed(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{kind}_{name}": tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _chosen(text: Any) -> dict[str, Any]:
    """What was chosen on validation."""
    return dict(json.loads(text)) if isinstance(text, str) and text else {}


def _merged(task: Mapping[str, Any], estimator: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a row; of one that was tuned what was chosen."""
    options = {**task, **estimator}
    for name, value in chosen.items():
        for kind in ("task", "estimator"):
            if f"{kind}_{name}" in options:
                options[f"{kind}_{name}"] = value
    return options
