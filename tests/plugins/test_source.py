"""What the source of a plugin says, read without importing it."""

import pytest

from estbench.plugins.registry import Plugin, discover

HELPER = "\n\nclass Helper:\n    unbiased = False\n"
NODE = "\n\nclass Masked(Bernoulli):\n    unbiased = False\n"


def declared(tmp_path, text, kind="estimator", attribute=""):
    path = tmp_path / "plugin.py"
    path.write_text(text)
    return Plugin("plugin", kind, "", attribute, path, "a test").declared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from estbench import Estimator\nclass A(Estimator):\n    unbiased = True\n", True),
        ("from estbench import Estimator\nclass A(Estimator):\n    unbiased: bool = True\n", True),
        (
            (
                "from typing import ClassVar\nfrom estbench import Estimator\n"
                "class A(Estimator):\n    unbiased: ClassVar[bool] = True\n"
            ),
            True,
        ),
        ("from estbench import ScoreFunction\nclass A(ScoreFunction):\n    unbiased = True\n" + HELPER, True),
        ("from estbench import Bernoulli, Coupled\nclass A(Coupled):\n    unbiased = True\n" + NODE, True),
        ("import estbench as e\nclass A(e.Relaxed):\n    unbiased = True\n" + HELPER, True),
        ("import estbench\nclass A(estbench.Estimator):\n    unbiased = True\n" + HELPER, True),
        ("from estbench.families.coupled import Coupled as C\nclass A(C):\n    unbiased = True\n" + HELPER, True),
        ("from estbench.estimators.rloo import RLOO\nclass A(RLOO):\n    unbiased = False\n", False),
        # what the class does not say, a base in the same file may
        (
            (
                "from estbench import Estimator\nclass _Base(Estimator):\n    unbiased = True\n    paper = 'x'\n"
                "class A(_Base):\n    paper = 'y'\n"
            ),
            True,
        ),
        ("from estbench import Estimator\nclass A(Estimator):\n    unbiased = not False\n", None),
        ("from estbench import Estimator\nclass A(Estimator):\n    unbiased: bool\n", None),
        ("class A:\n    unbiased = True\n", None),
        ("class A(:\n", None),
    ],
)
def test_declarations_are_those_of_the_plugin(text, expected, tmp_path):
    """Annotated or not, of the class that extends the kind, whatever other classes stand below it."""
    assert declared(tmp_path, text).get("unbiased") is expected


def test_an_entry_point_names_the_class(tmp_path):
    """Of several plugins in one file it is the named one."""
    text = "from estbench import Estimator\n" + "".join(
        f"class {name}(Estimator):\n    unbiased = {value}\n" for name, value in (("A", True), ("B", False))
    )
    assert declared(tmp_path, text, attribute="A")["unbiased"] is True
    assert declared(tmp_path, text)["unbiased"] is False


def test_declarations_read_are_those_of_the_class():
    """What is read of each built-in estimator without importing it is what its class says."""
    for plugin in discover("estimator").plugins.values():
        own = {name: value for name, value in plugin.declared.items() if name in ("unbiased", "paper")}
        assert own
        assert own == {name: getattr(plugin.load(), name) for name in own}
