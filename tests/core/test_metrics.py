import json
import subprocess
import sys

import pytest

from estbench import Metric
from estbench.core.metrics import Metrics
from estbench.errors import UserError
from estbench.measures.metrics import BUILT_IN
from estbench.measures.training import Training
from estbench.plugins.declarations import check_declarations
from estbench.plugins.registry import discover
from tests.support import PATIENCE


def test_a_pattern_names_the_metrics_that_fit_it():
    """Placeholders stand for text or whole numbers, fill in the title, and leave other keys to other metrics."""
    metrics = Metrics({"mine": (
        Metric("bound{samples:d}_test", "Test {samples}-sample bound"),
        Metric("norm/{part}", "Norm of {part}", about="Of {part}.", test="zero/{part}"),
    )})  # fmt: skip
    assert metrics.find("mine", "bound5000_test").title == "Test 5,000-sample bound"
    assert metrics.find("mine", "boundary_test").title == "Boundary test"
    found = metrics.find("mine", "norm/encoder")
    assert (found.title, found.about, found.test) == ("Norm of encoder", "Of encoder.", "zero/encoder")
    assert metrics.find("other", "norm/encoder").better is None


def test_signs_of_regular_expressions_in_keys_stand_for_themselves():
    """A key is text with placeholders, whatever other signs it holds."""
    assert Metric("a.b(c)[{x}]").match("a.b(c)[1]") == {"x": "1"}
    assert Metric("a.b").match("axb") is None
    assert Metrics().find("mine", "{odd} [key").title == "{odd} [key"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"key": ""}, "needs a key"),
        ({"key": "a", "better": "more"}, "better of metric 'a' is one of .*'more'"),
        ({"key": "a", "interval": "student"}, "interval of metric 'a'.*'student'"),
        ({"key": "a", "show": True}, "show of metric 'a'.*True"),
        ({"key": "a/{b"}, "placeholder in a key.*'{' in 'a/{b'"),
        ({"key": "a", "group": "b"}, "one placeholder.*'a'"),
    ],
)
def test_a_declaration_that_is_not_valid_is_refused(arguments, reason):
    """The message says which metric, why, and what was received."""
    with pytest.raises(ValueError, match=reason):
        Metric(**arguments)


@pytest.mark.parametrize("wrong", [(Metric("a"), Metric("a", "other")), ("a",), [Metric("a")], None])
def test_what_a_measure_declares_is_looked_at_before_anything_is_measured(wrong):
    """Two declarations of one key, and what is no tuple of declarations, are refused in one line."""
    with pytest.raises(
        UserError, match=r"measure 'mine'.*'metrics' must be a tuple of estbench\.Metric.*; got"
    ) as error:
        check_declarations("measure", "mine", type("Mine", (Training,), {"metrics": wrong})())
    assert "\n" not in str(error.value)


def test_declarations_survive_json():
    """What travels with results is what was declared; what is no declaration is refused."""
    assert Metrics.from_json(json.loads(json.dumps(BUILT_IN.to_json()))) == BUILT_IN
    for wrong in ([1], {"mine": [{}]}, {"mine": 3}, {"mine": [{"key": "a", "better": "more"}]}):
        with pytest.raises(ValueError, match="metric"):
            Metrics.from_json(wrong)


def test_parts_of_declarations_keep_their_order():
    """Cells keep the metrics of their own rows; joined they have the order of the declaration again."""
    every = tuple(map(Metric, "abcd"))
    parts = [Metrics({"mine": every}).used({"mine": keys}) for keys in ("ac", "bd", "ab")]
    assert parts[0].declared["mine"] == (every[0], every[2])
    assert Metrics({"mine": every[::2]}) + Metrics({"mine": every}) == Metrics({"mine": every})
    assert {metric.key for metric in sum(parts, Metrics()).declared["mine"]} == set("abcd")


def test_built_in_measures_declare_what_the_report_falls_back_to():
    """There is one declaration of each built-in measure: the measure's own."""
    for name, plugin in discover("measure").plugins.items():
        assert plugin.load().metrics == BUILT_IN.declared[name]


def test_declarations_need_no_torch():
    """A report reads the declarations without torch, which takes seconds to import."""
    code = "import sys; import estbench.measures.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE).returncode == 0
