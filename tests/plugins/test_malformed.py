"""Entry points that are malformed, and plugins that declare too little: a line, and all else works."""

import pytest

from estbench.errors import UserError
from estbench.plugins.declarations import check_declarations
from estbench.plugins.registry import Plugins, discover
from tests.cli.test_wrong_commands import outcome

VALUES = [
    "",
    "a",
    ":B",
    "a:",
    "a b:C",
    "1a:B",
    "a:1B",
    "a.b.:C",
    ".a:B",
    "a:B:C",
    "\x1b[31m:B",
    "é ü",
    "=",
    "a:B [",
    "a" * 5000,
]
NAMES = ["a b", "x[1]", "n\x1b[31m", "\u202ex", "a,b", "*", "q'", "(x)", "n" * 200]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package with these bytes for entry points where Python finds it."""

    def installed(content, name="broken"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_bytes(content)
        monkeypatch.syspath_prepend(tmp_path)

    return installed


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_does_not_parse(install, value):
    """It is left out with at most one line, or fails in one line where it is used; others are found."""
    install(f"[estbench.estimators]\nodd = {value}\n".encode())
    catalogue = discover("estimator")
    assert len(catalogue.problems) + ("odd" in catalogue.plugins) == 1, catalogue.problems
    assert all(problem.isprintable() and len(problem) < 300 for problem in catalogue.problems)
    assert "rloo" in catalogue.plugins
    if "odd" in catalogue.plugins:
        with pytest.raises(UserError, match=r"fails to import|must be"):
            catalogue["odd"].load()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_specification_can_hold(install, name):
    """It is left out with one line that can be printed."""
    install(f"[estbench.estimators]\n{name} = a:B\n".encode())
    (problem,) = discover("estimator").problems
    assert "package broken is left out: a name has" in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00garbage", b"[estbench.estimators]\nno value\n", b"[estbench.estimators]\n\xe9 = a:B\n"],
    ids=["bytes", "no value", "latin-1"],
)
def test_entry_points_that_cannot_be_read(install, content):
    """One warning names the package, for all kinds together; commands work."""
    install(content)
    install(b"[estbench.estimators]\nfine = estbench.estimators.rloo:RLOO\n", "sound")
    (problem,) = Plugins.found(()).problems
    assert "package broken" in problem
    assert "fine" in discover("estimator").plugins
    for command in (["list"], ["info", "rloo"]):
        code, out, err = outcome(command)
        assert code == 0, err
        assert "rloo" in out
        assert err.count("\n") <= 1
    assert "package broken" in outcome(["list"])[2]


class Declares:
    """An estimator's declarations."""

    unbiased, differentiates, exact_samples, couples_examples, paper = True, False, True, False, ""

    def __init__(self, **other):
        from estbench import Bernoulli

        self.accepts = (Bernoulli,)
        vars(self).update(other)


@pytest.mark.parametrize(
    "other",
    [
        {"unbiased": None},
        {"unbiased": 1},
        {"exact_samples": None},
        {"accepts": ()},
        {"accepts": [int]},
        {"accepts": (int,)},
        {"paper": None},
    ],
)
def test_wrong_declarations_are_refused(other):
    """The line says which declaration, what it must be and what it is."""
    check_declarations("estimator", "mine", Declares())
    (name,) = other
    with pytest.raises(UserError, match=f"estimator 'mine': the declaration '{name}' must be .*; got ") as error:
        check_declarations("estimator", "mine", Declares(**other))
    assert "\n" not in str(error.value)


def test_missing_declarations_are_refused():
    """The line says which declaration is missing, and where it belongs."""
    with pytest.raises(UserError, match=r"task 'mine' does not declare 'objective': .* as an attribute of the class"):
        check_declarations("task", "mine", object())
