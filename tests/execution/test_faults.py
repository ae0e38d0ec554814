"""Plugins at fault, through the command: what they do stays with their own cells, which fail or are marked."""

import json
from pathlib import Path

import pandas as pd
import pytest

from estbench.runtime.process_state import ProcessState, settle
from tests.cli.test_wrong_commands import outcome
from tests.support import changing_plugins

TRAINING = "training[steps=60,evaluations=3]"
FRAME = '''
import ctypes, os, sys, time
import torch
from estbench import {base}, Metric, Row, Splits
from estbench.tasks.toy import Toy


class Odd(Exception):
    def __str__(self):
        {text}


class {name}({base}):
    """At fault."""

{body}
'''
BASELINE = (
    "    unbiased = True\n\n    def baseline(self, name, node, cost):\n        return torch.full_like(cost, 0.5)\n"
)
TOY = """    objective = "loss"
    baseline = "rloo"

    def model(self):
        return Toy(units=3).model()

    def splits(self):
        return Toy(units=3).splits()

"""
LATE = """    unbiased = True
    calls = 0

    def baseline(self, name, node, cost):
        self.calls += 1
        if self.calls > 4:
            raise {error}
        return torch.full_like(cost, 0.5)
"""


@pytest.fixture
def compare(tmp_path, monkeypatch, svg_only):
    """Compares in a folder of its own; exit code, stderr and the rows."""
    monkeypatch.chdir(tmp_path)

    def compared(files, estimators, measures=TRAINING, tasks="toy[units=3]", executor="inline", more=()):
        named = [word for file in files for word in ("-e", str(file))]
        arguments = ["compare", *named, "--tasks", tasks, "--estimators", estimators, "--measures", measures]
        arguments += ["--seeds", "1", "--executor", executor, "--out", "out", "--device", "cpu", *more]
        code, _, err = outcome(arguments)
        assert "Traceback" not in err
        place = tmp_path / "out" / "results.parquet"
        return code, err, pd.read_parquet(place) if place.exists() else None

    return compared


def plugin(folder, name, body, base="ScoreFunction", text="return 'odd'"):
    """Writes a plugin file."""
    file = folder / f"{name}.py"
    file.write_text(FRAME.format(name=name.title().replace("_", ""), base=base, body=body, text=text))
    return file


def status(rows, by="estimator"):
    """The worst status by estimator or task."""
    return dict(rows.groupby(by)["status"].agg(lambda found: "failed" if "failed" in set(found) else "ok"))


def reasons(rows, estimator):
    return set(rows.loc[(rows["estimator"] == estimator) & (rows["status"] == "failed"), "error"])


def two_and_all(kinds):
    """Two of the faults of one kind in every test run, all of them in long ones."""
    two = dict(list(kinds.items())[-2:])
    return pytest.mark.parametrize("chosen", [two, pytest.param(kinds, marks=pytest.mark.long)], ids=["two", "all"])


@pytest.mark.parametrize("executor", ["inline", pytest.param("local[workers=1]", marks=pytest.mark.long)])
def test_nothing_stays_of_what_plugins_change(compare, tmp_path, executor):
    """RLOO's loss after plugins that patch torch and set the process is that of a run alone, 0.24452."""
    settle()
    before = ProcessState.now()
    files = changing_plugins.write(tmp_path)
    tasks = ",".join((*changing_plugins.TASKS, "toy[units=3]"))
    estimators = ",".join((*changing_plugins.ESTIMATORS, "rloo"))
    _, _, rows = compare(files, estimators, f"in_measure,{TRAINING}", tasks, executor)
    # typer, the progress bar and the profiler set these where they are first used
    assert set(before.changes()) <= {"the environment's variables", "handlers of exceptions", "threads, which go on"}
    own = rows.query("estimator == 'rloo' and task == 'toy[units=3]' and measure == 'training'")
    assert set(own["status"]) == {"ok"}
    (loss,) = own.query("metric == 'loss_test' and step == 60")["value"]
    assert round(loss, 5) == 0.24452


@pytest.mark.long
def test_a_task_that_ends_its_process_ends_no_driver(compare, tmp_path):
    """An exit, a crash or an endless loop of a task's model is the failure of its cells; the toy is measured."""
    body = """    objective = "loss"
    baseline = "rloo"

    def __init__(self, how: str = "exit") -> None:
        self.how = how

    def model(self):
        if self.how == "exit":
            os._exit(0)
        if self.how == "segv":
            os.kill(os.getpid(), 11)
        while True:
            time.sleep(1)

    def splits(self):
        return Toy(units=3).splits()
"""
    file = plugin(tmp_path, "dies", body, "Task")
    tasks = "dies[how=exit],dies[how=segv],dies[how=hang],toy[units=3]"
    more = ["--timeout", "15", "--ensemble", "auto"]
    code, _, rows = compare([file], "rloo", "training[steps=5]", tasks, "local[workers=1]", more)
    assert code == 1
    found = dict(zip(rows["task"], rows["error"], strict=True))
    assert found["dies[how=exit]"] == "it tried to exit the interpreter, with 0"
    assert "SIGSEGV" in found["dies[how=segv]"]
    assert "--timeout of 15 s" in found["dies[how=hang]"]
    assert status(rows, "task")["toy[units=3]"] == "ok"


LATE_ERRORS = {
    "late_runtime": "RuntimeError('late')",
    "late_key": "KeyError('late')",
    "late_odd": "Odd()",
    "late_exit": "SystemExit(0)",
}


def test_those_that_fail_late_in_speed_fail_alone(compare, tmp_path):
    """Whatever they raise, the others have times and ratios, by name."""
    files = [plugin(tmp_path, name, LATE.format(error=error), text="raise ValueError")
             for name, error in LATE_ERRORS.items()]  # fmt: skip
    estimators = ",".join((*LATE_ERRORS, "rloo", "reinforce"))
    code, _, rows = compare(files, estimators, "speed[blocks=6,seconds=0.0005]")
    assert code == 1
    assert status(rows) == {**dict.fromkeys(LATE_ERRORS, "failed"), "rloo": "ok", "reinforce": "ok"}
    timed = set(rows.loc[rows["metric"] == "step_time_ratio", "estimator"])
    assert timed == {"rloo", "reinforce"}
    assert all(len(reasons(rows, name)) == 1 for name in LATE_ERRORS)


RAISED = {
    "leaves": ("sys.exit(0)", "SystemExit"),
    "raises_key": ("raise KeyError('x')", "KeyError"),
    "raises_base": ("raise BaseException('x')", "BaseException"),
    "raises_odd": ("raise Odd", "its text cannot be read"),
    "raises_generator": ("raise GeneratorExit", "GeneratorExit"),
}


@two_and_all(RAISED)
def test_a_constructor_may_raise_anything(compare, tmp_path, chosen):
    """Its cell fails with the reason, RLOO is measured, and the exit code is 1."""
    files = [plugin(tmp_path, name, f"    def __init__(self):\n        {raised}\n\n{BASELINE}", text="raise ValueError")
             for name, (raised, _) in chosen.items()]  # fmt: skip
    code, err, rows = compare(files, ",".join((*chosen, "rloo")), "training[steps=3]")
    assert code == 1, err
    assert status(rows) == {**dict.fromkeys(chosen, "failed"), "rloo": "ok"}
    assert all(said in "".join(reasons(rows, name)) for name, (_, said) in chosen.items())


VALUES = {
    "a_text": "'text'",
    "nothing": "None",
    "a_vector": "torch.ones(3)",
    "imaginary": "1j",
    "a_list": "[1.0]",
    "a_numeral": "'1.5'",
}


@two_and_all(VALUES)
def test_a_figure_that_is_no_number_fails(compare, tmp_path, chosen):
    """The measure's cells fail and say what was received; another measure beside it has its figures."""
    body = """    metrics = (Metric("one", "One"),)

    def rows(self, bench, makers):
        for key in makers:
            yield key, Row("one", {value})
"""
    files = [plugin(tmp_path, name, body.format(value=value), "Measure") for name, value in chosen.items()]
    code, _, rows = compare(files, "rloo", ",".join((*chosen, "training[steps=3]")))
    assert code == 1
    assert status(rows, "measure") == {**dict.fromkeys(chosen, "failed"), "training": "ok"}
    assert all("must be a real number; got" in reason for reason in reasons(rows, "rloo"))


METRICS = {
    "a_text": "'text'",
    "nothing": "None",
    "too_long": "torch.ones(3)",
    "of_two": "torch.ones(len(batch[0]), 2)",
    "imaginary": "torch.ones(len(batch[0])) * 1j",
}


@two_and_all(METRICS)
def test_a_metric_of_a_task_that_is_no_number_fails(compare, tmp_path, chosen):
    """The reason names the metric and says what was received."""
    body = TOY + "    def metrics(self, model, batch):\n        return {{'odd': {value}}}\n"
    files = [plugin(tmp_path, name, body.format(value=value), "Task") for name, value in chosen.items()]
    code, _, rows = compare(files, "rloo", "training[steps=3]", ",".join(chosen))
    assert code == 1
    assert status(rows, "task") == dict.fromkeys(chosen, "failed")
    for _, of_task in rows.groupby("task"):
        (said,) = reasons(of_task, "rloo")
        assert "the task's metric 'odd' must be a tensor of" in said


PICTURES = {
    "flat": "{'a': torch.ones(2, 2)}",
    "nothing": "{'a': None}",
    "too_bright": "{'a': 2 * torch.ones(1, 1, 2, 2)}",
    "a_number": "3",
    "empty": "{'a': torch.ones(0, 1, 2, 2)}",
}


@two_and_all(PICTURES)
def test_a_picture_that_fails_costs_no_training(compare, tmp_path, chosen):
    """The objective at the end is there, and one row says that the picture failed."""
    files = [
        plugin(tmp_path, name, f"{TOY}    def pictures(self, model, batch):\n        return {value}\n", "Task")
        for name, value in chosen.items()
    ]
    code, _, rows = compare(files, "rloo", "training[steps=3]", ",".join(chosen))
    assert code == 1
    assert set(rows["task"]) == set(chosen)
    for _, of_task in rows.groupby("task"):
        (failed,) = of_task.loc[of_task["status"] == "failed", "metric"]
        assert failed.startswith("picture")
        assert set(of_task.loc[of_task["metric"] == "loss_test", "status"]) == {"ok"}


def test_a_folder_that_is_changed_is_the_folder_of_nothing_else(compare, tmp_path):
    """Store and report land in the folder of the command."""
    body = BASELINE.replace("        return", "        os.chdir('/')\n        return")
    code, _, rows = compare([plugin(tmp_path, "moves", body)], "moves,rloo", "training[steps=3]")
    assert code == 0
    assert status(rows) == {"moves": "ok", "rloo": "ok"}
    assert Path.cwd().samefile(tmp_path)
    assert len(list((tmp_path / ".estbench" / "cells").glob("*.parquet"))) == 2
    # what the run needs to be repeated is in its folder
    about = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert about["sources"] == {"estimator/moves": {"moves.py": (tmp_path / "moves.py").read_text()}}
