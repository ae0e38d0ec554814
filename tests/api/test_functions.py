"""The commands as functions: nothing is printed, what is kept is taken, and own classes reach the workers."""

import itertools

import numpy as np
import pytest
import torch

import estbench
from estbench import Bernoulli, Estimator, NotApplicableError, Pathwise, ScoreFunction, Spec, Splits, Task, UserError

# they share one comparison
pytestmark = pytest.mark.xdist_group("functions")
MEASURES = "gradient[after=0,replicates=256],training[steps=20,evaluations=2]"
SHRINK = 0.5


def halved(cost):
    return SHRINK * cost.mean(0, keepdim=True).expand_as(cost)


class HalfBaseline(ScoreFunction):
    """REINFORCE with half of the mean cost as baseline, from a function beside the class."""

    unbiased = False

    def __init__(self, samples: int = 3) -> None:
        super().__init__(samples)

    def baseline(self, name, node, cost):
        return halved(cost.detach())


class TwoCoins(Task):
    """Two coins whose squared distance to a target is the cost."""

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 1

    def __init__(self, target: float = 0.4) -> None:
        self.target = target

    def model(self):
        return Coins(self.target)

    def splits(self):
        return Splits.without_data()


class Coins(torch.nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target, self.logits = target, torch.nn.Parameter(torch.zeros(1, 2))

    def forward(self, x):
        return lambda sample: (sample("b", Bernoulli(self.logits))[0] - self.target).square().sum(-1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run(store):
    """A comparison of names, a Spec and a class of this file, on a task of this file, made once."""
    wanted = ["rloo[samples=2,4]", Spec("gumbel_softmax", {"temperature": 1.0}), HalfBaseline, "exact"]
    return estbench.compare(TwoCoins, wanted, MEASURES, 3, store=store, executor="inline")


def test_names_specs_and_own_classes_are_compared(run):
    """A grid, a Spec and a class are estimators of one run, and nothing failed."""
    labels = ["rloo[samples=2]", "rloo[samples=4]", "gumbel_softmax[temperature=1.0]", "half_baseline", "exact"]
    assert sorted(run.estimators) == sorted(labels)
    assert run.tasks == ["two_coins"]
    assert set(run.results["status"]) == {"ok"}


def test_nothing_is_printed_and_a_kept_run_is_taken_from_the_store(run, store, capfd):
    """The same call measures nothing again, gives the same rows, and is silent."""
    wanted = ["rloo[samples=2,4]", Spec("gumbel_softmax", {"temperature": 1.0}), HalfBaseline, "exact"]
    again = estbench.compare(TwoCoins, wanted, MEASURES, 3, store=store, executor="inline")
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert again.results.equals(run.results)


def test_a_frame_has_options_as_columns_and_knows_the_last_step(run):
    """Grouped by the final rows, pandas gives the value of the report's table."""
    frame = run.frame()
    assert set(frame.loc[frame["estimator"] == "rloo", "estimator_samples"]) == {2, 4}
    assert str(frame["estimator_samples"].dtype) == "Int64"
    assert frame["task_target"].unique().tolist() == [0.4]
    final = frame[frame["final"]]
    means = final[final["metric"] == "loss_test"].groupby("label")["value"].mean()
    table = run.table()
    assert means.to_dict() == pytest.approx(table["loss_test"].to_dict())
    assert len(frame[(frame["metric"] == "loss_test") & ~frame["final"]]) > 0


def test_tests_are_of_all_pairs_of_contestants(run):
    """Each pair has the mean difference of its seeds; the oracle is a reference and in none."""
    tests = run.tests()
    contestants = set(run.estimators) - {"exact"}
    assert {frozenset(pair) for pair in zip(tests["estimator"], tests["other"], strict=True)} == {
        frozenset(pair) for pair in itertools.combinations(contestants, 2)
    }
    means = run.table()["loss_test"]
    for row in tests.itertuples():
        assert row.difference == pytest.approx(means[row.estimator] - means[row.other], abs=1e-12)
        assert row.seeds == 3
        assert 0 <= row.p <= 1
    with pytest.raises(UserError, match="nothing was trained on two_coins that has 'elbo'"):
        run.tests(metric="elbo")


def test_a_run_is_shown_drawn_written_and_loaded(run, svg_only, tmp_path):
    """The notebook's view has the table and the sentences; a figure is one of matplotlib; a report reads back."""
    shown = run._repr_html_()
    assert "half_baseline" in shown
    assert all(sentence.partition(" ")[0] in shown for sentence in run.answers())
    assert run.figure("variance").axes
    with pytest.raises(UserError, match="unknown chart 'pie'; known: bias-variance, "):
        run.figure("pie")
    page = run.report(tmp_path / "out")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    back = estbench.load(tmp_path / "out")
    assert back.frame()[["label", "metric", "value"]].equals(run.frame()[["label", "metric", "value"]])
    assert back.info.seeds == [0, 1, 2]


def test_a_run_becomes_a_dataset(run):
    """Xarray has a variable a metric, by task, estimator and seed."""
    pytest.importorskip("xarray", reason="xarray is not installed")
    data = run.to_xarray()
    assert dict(data.sizes) == {"task": 1, "label": 5, "seed": 3}
    assert np.isfinite(data["loss_test"]).all()


def test_own_classes_reach_worker_processes(store, run):
    """On the local executor a class and an instance of this file are measured as in this process."""
    local = estbench.compare(
        TwoCoins(0.3), [HalfBaseline(4)], "training[steps=5,evaluations=1]", 1, store=store, executor="local[workers=1]"
    )
    assert local.estimators == ["half_baseline[samples=4]"]
    assert local.tasks == ["two_coins[target=0.3]"]
    assert set(local.results["status"]) == {"ok"}


def test_the_source_of_an_own_class_is_in_its_key(store):
    """Another class of the same name is measured anew, and has other values."""

    def made(scale):
        class Scaled(ScoreFunction):
            unbiased = True

            def baseline(self, name, node, cost):
                return torch.full_like(cost, scale)

        return Scaled

    found = [
        estbench.compare("toy[units=2]", made(scale), "training[steps=4,samples=0]", 1, store=store, executor="inline")
        for scale in (0.0, 0.25, 0.0)
    ]
    losses = [run.table()["loss_test"].item() for run in found]
    assert losses[0] == losses[2] != losses[1]


class Tenth(HalfBaseline):
    """A class of the caller's that extends another of theirs, and has no method of its own."""

    unbiased = False


def test_an_own_class_may_extend_another(store):
    """The source of what a class extends is taken along, though no method names it."""
    found = estbench.compare(
        "toy[units=2]", Tenth, "gradient[after=0,replicates=1024]", 1, store=store, executor="inline"
    )
    assert (found.estimators, set(found.results["status"])) == (["tenth"], {"ok"})


def test_generators_and_numbers_of_numpy_are_taken(store):
    """Whatever can be gone through is several; whole numbers of NumPy and torch are seeds; torch's names are names."""
    wanted = (name for name in ("rloo", Spec("exact")))
    how = {"device": torch.device("cpu"), "dtype": torch.float64, "scale": np.float32(0.5), "store": store}
    found = estbench.compare(
        iter(["toy[units=2]"]), wanted, "training[steps=4,samples=0]", np.arange(2), executor="inline", **how
    )
    assert (sorted(found.estimators), found.info.seeds) == (["exact", "rloo"], [0, 1])
    assert set(found.results["dtype"]) == {"float64"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seeds": 2.0}, "seeds takes whole numbers; got 2.0"),
        ({"seeds": "2"}, "seeds takes whole numbers; got '2'"),
        ({"seeds": True}, "seeds takes whole numbers; got True"),
        ({"estimators": {"rloo": 4}}, "not a mapping; got {'rloo': 4}"),
        ({"workers": 0}, "workers takes a finite number of at least 1; got 0"),
        ({"threads": 1.5}, "threads takes whole numbers; got 1.5"),
        ({"timeout": float("nan")}, "timeout takes a finite number of at least 0.001; got nan"),
        ({"checkpoint": "often"}, "checkpoint takes a number; got 'often'"),
        ({"executor": None}, "executor takes a name with options or a Spec; got None"),
        ({"plugins": "nowhere.py"}, "no such plugin file: .*nowhere.py"),
        ({"parts": 1}, "suite quick has 0 parts"),
    ],
)
def test_arguments_of_the_wrong_kind_are_one_line(how, message, store):
    """Plan and compare refuse them alike, before anything is measured."""
    for function in (estbench.plan, estbench.compare):
        with pytest.raises(UserError, match=message):
            function(**{"tasks": "toy", "estimators": "rloo", "measures": "training[steps=4]", "store": store} | how)


def test_two_own_classes_of_one_name_are_refused(store):
    """Neither is measured in the other's place."""

    def made():
        class HalfBaseline(ScoreFunction):
            unbiased = False

            def baseline(self, name, node, cost):
                return cost.detach()

        return HalfBaseline

    with pytest.raises(UserError, match="several of your classes would be called half_baseline"):
        estbench.plan("toy", [HalfBaseline, made()], "training[steps=4]", 1, store=store)


@pytest.mark.parametrize("plugin", ["toy[units=2]", TwoCoins, TwoCoins(0.3), lambda: TwoCoins(0.2)])
def test_tasks_are_checked(plugin):
    """A name, a class, an instance or a function: a verdict for each check."""
    assert [verdict.verdict for verdict in estbench.check(plugin)] == ["passed"] * 4


def test_a_built_in_class_is_taken_by_its_name(store):
    """A class that a plugin brings is that plugin."""
    cls = type(estbench.load_estimator("disarm"))
    assert estbench.plan("toy", cls, "training[steps=4]", 1, store=store).summary.startswith("1 cells")


class _Abstract(Pathwise):
    """Not concrete."""


class Captures(Estimator):
    """Uses a tensor of the file's."""

    unbiased = True

    def forward(self, program):
        return TENSOR.sum()

    def evaluations(self, nodes):
        return 1


TENSOR = torch.ones(2)


class RLOO(ScoreFunction):
    """Called as a built-in one."""

    unbiased = True

    def baseline(self, name, node, cost):
        raise NotApplicableError


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("rlo", "did you mean 'rloo'"),
        (_Abstract, "a concrete Estimator"),
        (3, "expected a name, a Spec, or a concrete Estimator"),
        (Captures, "uses TENSOR, which is no import, function, class or literal constant"),
        (RLOO, "would be called rloo, as the estimator that is there already"),
        ([], r"estimators: at least one is needed; got \[\]"),
    ],
)
def test_what_cannot_be_compared_is_one_line(wanted, message, store):
    """Errors are exceptions with the one line of the command."""
    with pytest.raises(UserError, match=message) as raised:
        estbench.compare("toy", wanted, "training[steps=4]", 1, store=store, executor="inline")
    assert "\n" not in str(raised.value)


def test_a_failure_is_a_row_of_the_run(store):
    """An estimator that raises does not end the call; its reason is in the results."""

    class Raises(ScoreFunction):
        unbiased = True

        def baseline(self, name, node, cost):
            raise RuntimeError("no baseline today")

    run = estbench.compare("toy[units=2]", [Raises, "rloo"], "training[steps=4]", 1, store=store, executor="inline")
    assert run.table().loc["raises", "error"] == "training: RuntimeError: no baseline today"
    assert run.table().loc["rloo", "status"] == "ok"


def test_checks_merges_differences_and_gates_are_functions(run, store, svg_only, tmp_path):
    """Each returns what its command prints, typed."""
    assert {verdict.verdict for verdict in estbench.check("exact")} <= {"passed", "not applicable"}
    assert estbench.merge([store], tmp_path / "both").taken > 0
    run.report(tmp_path / "a")
    difference = estbench.diff(tmp_path / "a", tmp_path / "a", store=store)
    assert (difference.code, {change.verdict for change in difference.changes}) == (0, {"same"})
    assert estbench.gate(tmp_path / "a", tmp_path / "a").code == 0
    with pytest.raises(UserError, match="holds no"):
        estbench.load(tmp_path / "nowhere")
