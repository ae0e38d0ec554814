"""A run: its results as tables, sentences, tests and figures."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from estbench.api import arguments, html
from estbench.api.frames import with_options
from estbench.core.metrics import Metrics
from estbench.errors import UserError, nearest
from estbench.store.run_folder import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from estbench.report.model.study import Study


@dataclass(frozen=True, eq=False)
class Run:
    """The results of a comparison.

    Args:
        results: a row for each figure, with the columns of docs/reference/results.md.
        info: what is known of the run: versions, machine, seeds, options.

    Example:
        >>> import tempfile, estbench
        >>> what = "toy[units=2]", "rloo,reinforce", "training[steps=2,samples=0]", 1
        >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
        >>> run
        Run(2 estimators on toy[units=2]; 18 rows)
    """

    results: pd.DataFrame
    info: RunInfo

    @functools.cached_property
    def _study(self) -> "Study":
        from estbench.report.model.study import Study  # noqa: PLC0415  (slow)

        return Study.of(
            self.results, self.info.families, self.info.options, metrics=self._metrics, planned=self.info.planned
        )

    @property
    def _metrics(self) -> Metrics:
        return Metrics.from_json(self.info.metrics)

    @property
    def tasks(self) -> list[str]:
        """The tasks, with their options.

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> run.tasks
            ['toy[units=2]']
        """
        return self._study.tasks

    @property
    def estimators(self) -> list[str]:
        """The estimators, with their options.

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> run.estimators
            ['rloo', 'exact']
        """
        return self._study.labels

    def frame(self) -> pd.DataFrame:
        """The results with a column for each option, for pandas.

        Beside the columns of docs/reference/results.md: ``label``, the estimator with its options; ``task_OPTION`` and
        ``estimator_OPTION``, missing where a plugin has no such option; and ``final``, whether a row is the last of its
        training or trajectory. Group the rows with ``final`` to get the figures of the report:
        ``frame[frame.final].groupby(["task", "label", "metric"]).value.mean()``.

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> frame = run.frame()
            >>> final = frame[frame["final"] & (frame["metric"] == "loss_test")]
            >>> final["step"].tolist(), final["task_units"].tolist()
            ([2, 2], [2, 2])
        """
        # the label of the report names the device where there are several; this one does not
        return with_options(self.results, self._study.rows["label"], self.info.options)

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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> run.table().loc["exact", ["loss_test_mark", "status"]].tolist()
            ['reference', 'ok']
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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> all(sentence.endswith(".") for sentence in run.answers())
            True
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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> run.tests(metric="loss_test").columns.tolist()
            ['estimator', 'other', 'difference', 'seeds', 'p']
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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> len(run.figure("training").axes)
            2
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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> run.report(tempfile.mkdtemp()).name
            'index.html'
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

        Example:
            >>> import tempfile, estbench
            >>> what = "toy[units=2]", "rloo,exact", "training[steps=2,samples=0]", 1
            >>> run = estbench.compare(*what, store=tempfile.mkdtemp(), executor="inline")
            >>> dict(run.to_xarray().sizes)
            {'task': 1, 'label': 2, 'seed': 1}
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
            known = ", ".join(self.tasks) or "it has none"
            raise UserError(f"name one of the tasks of this run: {known}; got {task!r}")
        return task

    def _repr_html_(self) -> str:
        """The main table of each task, and the sentences, for a notebook."""
        from estbench.report.text import tables  # noqa: PLC0415  (slow)

        return html.page({task: (tables.table(self._study, task), self.answers(task)) for task in self.tasks})

    def __repr__(self) -> str:
        several = "s" if len(self.estimators) != 1 else ""
        on = ", ".join(self.tasks) or "no task"
        return f"Run({len(self.estimators)} estimator{several} on {on}; {len(self.results)} rows)"
