"""Plugins: found in three places, one clear line for what is wrong with one, and the others go on."""

import subprocess
import sys

import pytest

from estbench.errors import UserError
from estbench.plugins import registry
from estbench.plugins.loading import base, kind_of
from estbench.plugins.options import construct
from estbench.plugins.registry import discover, load_estimator, load_task
from estbench.plugins.spec import Spec

ESTIMATOR = """
from estbench.families.score_function import ScoreFunction

class {name}(ScoreFunction):
    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        return 0 * cost
"""


def one_line(error):
    """The message of an error that is meant for a user, which is one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def write(tmp_path):
    """Writes a Python file into an empty folder and returns its path."""

    def written(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_built_in_plugins_are_found():
    """Every file of the built-in folders is a plugin that loads and says in one line what it is."""
    for kind in ("estimator", "task", "measure"):
        catalogue = discover(kind)
        assert catalogue.plugins
        assert not catalogue.problems
        for plugin in catalogue.plugins.values():
            assert issubclass(plugin.load(), base(kind))
            assert plugin.summary


def test_finding_imports_nothing():
    """Finding and describing plugins imports neither torch nor any plugin."""
    code = (
        "import sys; from estbench.plugins.registry import discover; p = discover('estimator').plugins['rloo']; "
        "p.doc, p.summary, p.declared; "
        "assert not {'torch', 'estbench.estimators.rloo'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_is_a_plugin(write):
    """A file named by the user is a plugin by the file's name, beside the built-in ones."""
    path = write("mine.py", ESTIMATOR.format(name="Mine"))
    catalogue = discover("estimator", [path])
    assert catalogue.make(Spec("mine", {"samples": 3})).samples == 3
    assert "rloo" in catalogue.plugins
    assert kind_of(path) == "estimator"


def test_two_of_one_name(write):
    """Of two plugins of one name the first is used; one line names both, and the others go on."""
    catalogue = discover("estimator", [write("rloo.py", ESTIMATOR.format(name="Mine"))])
    (problem,) = catalogue.problems
    assert "two estimators are named 'rloo': built-in is used" in problem
    assert "rloo.py is ignored" in problem
    assert "\n" not in problem
    assert catalogue["rloo"].load().__name__ == "RLOO"
    assert catalogue.make(Spec("disarm"))


def test_two_packages_with_one_name(install):
    """Two installed packages with a plugin of one name are both named, and one of them is used."""
    for package in ("first_package", "second_package"):
        module = f"{package}_module"
        install(
            package,
            "estbench.estimators",
            {"twice": f"{module}:Mine"},
            module,
            ESTIMATOR.format(name="Mine"),
        )
    catalogue = discover("estimator")
    (problem,) = catalogue.problems
    assert "package first_package" in problem
    assert "package second_package" in problem
    assert catalogue["twice"].load().__name__ == "Mine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        ("raise ValueError('one\\ntwo')", "ValueError: one"),
    ],
)
def test_an_entry_point_that_fails_to_import(install, text, reason):
    """An entry point that fails to import is one line when it is used, and the others go on."""
    install("broken_package", "estbench.estimators", {"broken": "broken_module:Mine"}, "broken_module", text)
    catalogue = discover("estimator")
    assert catalogue["broken"].summary == ""
    with pytest.raises(UserError) as error:
        catalogue["broken"].load()
    assert "estimator 'broken' (package broken_package) fails to import" in one_line(error)
    assert reason in str(error.value)
    assert catalogue.make(Spec("rloo"))
    sys.modules.pop("broken_module", None)


@pytest.mark.parametrize("attribute", ["Missing", "VALUE", "ScoreFunction", "dict"])
def test_an_entry_point_to_something_else(install, attribute):
    """An entry point to what is no concrete class of its kind is one line."""
    text = "from estbench import ScoreFunction\nfrom builtins import dict\nVALUE = 3\n"
    point = {"odd": f"odd_{attribute.lower()}:{attribute}"}
    install("odd_package", "estbench.estimators", point, f"odd_{attribute.lower()}", text)
    with pytest.raises(UserError, match="must be a concrete Estimator") as error:
        discover("estimator")["odd"].load()
    assert attribute in one_line(error)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("none.py", "x = 1\n", "must define one class .* got none"),
        (
            "two.py",
            ESTIMATOR.format(name="One") + ESTIMATOR.format(name="Two"),
            "exactly one concrete Estimator; .* One, Two",
        ),
        ("broken.py", "import a_module_that_is_not_there", "fails to import: ModuleNotFoundError"),
        ("wrong.py", "def broken(:", "fails to import: SyntaxError"),
        ("notes.txt", "x = 1\n", "must be Python source"),
    ],
)
def test_a_file_that_is_no_plugin(write, name, text, reason):
    """A file with two classes or none, or that fails to import, is one line."""
    with pytest.raises(UserError, match=reason) as error:
        discover("estimator", [write(name, text)])[name.removesuffix(".py")].load()
    assert name.partition(".")[0] in one_line(error)


def test_a_file_that_is_not_there(tmp_path):
    """A file that does not exist is one line."""
    with pytest.raises(UserError, match="no such plugin file") as error:
        discover("estimator", [tmp_path / "absent.py"])
    assert "absent.py" in one_line(error)


def test_abstract_classes_do_not_count(write):
    """A file may define abstract classes beside its one concrete one, and import others."""
    text = "import abc\n" + ESTIMATOR.format(name="Mine") + "class Base(ScoreFunction, abc.ABC):\n    pass\n"
    assert discover("estimator", [write("mixed.py", text)])["mixed"].load().__name__ == "Mine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rloo[sample=4]", "did you mean 'samples'"),
        ("rloo[samples=many]", "option 'samples': .*; got 'many'"),
        ("rloo[samples=1]", "needs at least 2; got 1"),
        ("rlo", "did you mean 'rloo'"),
    ],
)
def test_options_are_checked(text, reason):
    """Unknown names, and unknown or unfit options, are refused in one line with what was received."""
    with pytest.raises(UserError, match=reason) as error:
        load_estimator(text)
    one_line(error)


def test_load_by_name():
    """Plugins load by name with options, in brackets or as keywords."""
    assert load_estimator("rloo[samples=3]").samples == 3
    assert load_estimator("rloo", samples=4).samples == 4
    assert load_task("toy", units=3).units == 3
    assert construct(type(load_estimator("rloo")), Spec("rloo", {"samples": 5})).samples == 5


def test_files_of_one_name_are_two_modules(write, tmp_path):
    """A file is told from another by its folder, too: neither takes the other's place."""
    (tmp_path / "other").mkdir()
    first = write("twin.py", ESTIMATOR.format(name="First"))
    second = tmp_path / "other" / "twin.py"
    second.write_text(ESTIMATOR.format(name="Second"))
    found = discover("estimator", [first, second])
    assert found["twin"].load().__name__ == "First"
    assert found["twin"].load() is found["twin"].load()
    assert len(found.problems) == 1


def test_plugins_of_another_copy_are_refused(monkeypatch, tmp_path):
    """Where Python would take the framework from one checkout and the plugins from another, one line says so."""
    monkeypatch.setattr(registry.estbench, "__file__", str(tmp_path / "estbench" / "__init__.py"))
    with pytest.raises(UserError, match="two copies of estbench are mixed") as error:
        discover("estimator")
    assert str(tmp_path) in one_line(error)
