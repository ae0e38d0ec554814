"""Help shows what users must type; shells complete names, fast, and the strict reading of lines stays."""

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.plugins.registry import discover

COMPLETE = """
import sys
sys.argv = ["estbench"]
from estbench.cli.main import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def commands(command=None, path=()):
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", {})
    return [path] if not inner else [each for name, c in inner.items() for each in commands(c, (*path, name))]


def completed(*words):
    """What bash is offered for the last of the words, and whether torch was imported for it."""
    line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_ESTBENCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], env={**os.environ, **line}, capture_output=True, text=True, check=False
    )
    return done.stdout.split(), done.stderr.strip()


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_no_help_loses_its_brackets(path):
    """What the source of a help text has in brackets is on the screen: nothing is taken for markup."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).output
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    texts = [command.help or "", *(parameter.help or "" for parameter in command.params)]
    for piece in re.findall(r"\w+\\?\[\w+=[^\]]*\]", " ".join(texts)):
        assert piece.replace("\\", "") in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize("path", [("compare",), ("plan",)])
def test_help_shows_options_of_plugins_and_grids(path):
    """The two notations that users must learn are there."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    for text in ("vae[dataset=mnist]", "rloo[samples=2,4]", "training[steps=1000]"):
        assert text in shown


def test_plan_and_compare_take_the_same():
    """Whatever one of them is given the other takes, too."""
    known = typer.main.get_command(app).commands
    one, two = (
        [(p.name, tuple(p.opts), p.param_type_name, p.default) for p in known[name].params]
        for name in ("plan", "compare")
    )
    assert one == two


@pytest.mark.parametrize("name", ["plan", "compare"])
def test_the_suite_is_an_argument_or_an_option(name, tmp_path):
    """Both mean the same; two different ones are refused."""
    small = ["--tasks", "toy", "--estimators", "rloo", "--seeds", "1", "--store", tmp_path / "s", "--dry-run"]
    outputs = [
        CliRunner().invoke(app, [name, *map(str, small), *suite]).output
        for suite in (["quick"], ["--suite", "quick"], ["quick", "--suite", "quick"], [])
    ]
    assert "3 cells" in outputs[0]
    assert len(set(outputs)) == 1
    refused = CliRunner().invoke(app, [name, *map(str, small), "quick", "--suite", "jang2017"]).exception
    assert str(refused) == "name one suite; got 'quick' and --suite 'jang2017'"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("compare", "--estimators", "rlo"), ["rloo"]),
        (("compare", "--estimators", "rloo[samples=2,4],vim"), ["rloo[samples=2,4],vimco"]),
        (("compare", "--estimators", "rloo[sam"), []),
        (("plan", "--tasks", "toy,va"), ["toy,vae"]),
        (("compare", "--measures", "sp"), ["speed"]),
        (("compare", "jan"), ["jang2017"]),
        (("plan", "--suite", "jan"), ["jang2017"]),
        (("check", "vae", "vim"), ["vimco"]),
        (("compare", "--executor", "lo"), ["local"]),
        (("plot", "own"), ["own-trajectory"]),
        (("info", "sigm"), ["sigmoid_belief_net"]),
        # a line that would be refused is completed all the same
        (("compare", "-e", "nowhere.py", "--seeds", "1", "--seeds", "2", "--tasks", "to"), ["toy"]),
    ],
)
def test_shells_complete_names_without_torch(words, wanted):
    """Plugins, measures and suites are offered, also behind a comma, and torch is not imported."""
    assert completed("estbench", *words) == (wanted, "False")


def test_plugin_files_are_completed_too(tmp_path):
    """The estimator of a file that stands on the line is offered."""
    file = tmp_path / "my_thing.py"
    file.write_text(discover("estimator")["rloo"].path.read_text())
    offered, _ = completed("estbench", "compare", "-e", str(file), "--estimators", "my")
    assert offered == ["my_thing"]


def test_a_line_that_is_run_is_read_strictly():
    """Completion has not made the reading of lines lenient."""
    refused = CliRunner().invoke(app, ["plan", "--seeds", "1", "--seeds", "2"]).exception
    assert str(refused) == "--seeds is given 2 times; it takes one value"


def test_tasks_are_checked_by_name():
    """``check`` takes tasks, and names what is near to an unknown one."""
    done = CliRunner().invoke(app, ["check", "toy[units=2]"])
    assert (done.exit_code, done.output.count("passed")) == (0, 4)
    assert str(CliRunner().invoke(app, ["check", "toi"]).exception).endswith("did you mean 'toy'?")
    assert "no option 'unit'" in str(CliRunner().invoke(app, ["check", "toy[unit=2]"]).exception)
