import csv
import io
import json
import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from estbench import report
from estbench.cli.main import app
from estbench.errors import UserError
from estbench.plugins import options
from estbench.plugins.registry import discover
from estbench.plugins.spec import Spec
from estbench.published import NOT_STATED, protocols, results
from estbench.published.select import select_published
from estbench.report.model.protocol_match import same
from estbench.report.model.published_match import matches
from estbench.report.model.study import Study
from estbench.report.text import published
from estbench.store.records import COLUMNS
from tests.support.plans import plan_of

# options that published protocols have and ours do not, and what no data set of ours is
FOREIGN = {"baseline", "centred", "decoder", "derivative", "normalise", "tuned"}
TASK = "structured_prediction[dataset=binarised_mnist]"
LABELS = {"gumbel_softmax": 58.0, "straight_through": 59.5}


def invoke(*arguments):
    return CliRunner().invoke(app, ["published", *arguments], env={"COLUMNS": "200"})


def test_every_result_is_stated_once():
    """No value appears twice under the same paper, table, model, estimator, metric and step."""
    keys = [(r.protocol, r.table, r.setting, r.estimator_published, r.metric_published, r.steps) for r in results()]
    assert len(set(keys)) == len(keys) > 150


def test_every_result_has_a_number_a_protocol_and_a_source():
    """Values are finite, spreads positive where there is one; all come from a text or from authors' code."""
    assert {r.protocol for r in results()} == set(protocols())
    assert all(math.isfinite(r.value) and not r.spread <= 0 and r.scale in {-1, 1, 100} for r in results())
    assert {r.source for r in results()} == {"text", "code or log"}
    assert all(r.steps is None or r.steps > 0 for r in results())
    assert all(protocol.link.startswith("https://") for protocol in protocols().values())


def test_estimators_are_those_of_the_registry():
    """What is said to be an estimator of ours is one, and so are its options, but for a few that are named here."""
    known = discover("estimator").plugins
    specs = {r.estimator for r in results() if r.estimator}
    assert {spec.name for spec in specs} <= set(known)
    parts = [(spec.name, spec.options) for spec in specs]
    parts += [part for protocol in protocols().values() for part in protocol.estimators.items()]
    for name, wanted in parts:
        foreign = set(wanted) - set(options.options_of(known[name].load()))
        assert foreign <= FOREIGN, f"{name} has no {foreign}"


def test_parts_of_protocols_are_options_of_tasks():
    """The parts of a protocol are options of the tasks it covers, but for a few that are named here."""
    known = discover("task").plugins
    for result in (result for result in results() if result.task.name in known):
        parts = {**protocols()[result.protocol].task, **result.task.options}
        foreign = set(parts) - set(options.options_of(known[result.task.name].load()))
        assert foreign <= FOREIGN, f"{result.task} of {result.protocol} has no {foreign}"


@pytest.mark.parametrize(
    ("task", "metric", "expected"),
    [
        ("structured_prediction[latents=bernoulli,units=200]", "nll1000_test",
         [72.0, 59.7, 58.9, 58.9, 58.7, 58.5, 59.3]),
        ("vae[classes=10,latents=categorical,units=20]", "bound1000_test",
         [110.6, 128.8, 107.0, 110.9, 107.8, 101.5, 107.8]),
    ],
)  # fmt: skip
def test_table_1_of_jang_gu_and_poole_is_as_printed(task, metric, expected):
    """Two rows of the table, typed from the paper for this test: SF, DARN, MuProp, ST, annealed, Gumbel, ST Gumbel."""
    found = [r for r in select_published(paper="jang2017") if str(r.task) == task and r.metric == metric]
    assert [r.value for r in found] == expected
    names = [
        "nvil",
        "darn",
        "muprop",
        "straight_through",
        "slope_annealed",
        "gumbel_softmax",
        "st_gumbel_softmax",
    ]
    assert [r.estimator.name for r in found] == names


def test_results_are_selected_by_paper_task_and_estimator():
    """By part of a paper, by globs of tasks and estimators under either name, whatever the case."""
    assert {r.paper for r in select_published(paper="MNIH (2016)")} == {"Gu, Levine, Sutskever & Mnih (2016)"}
    assert {r.task.name for r in select_published(task="semi*")} == {"semi_supervised"}
    for name in ("darn", "1/2"):
        assert {r.estimator.name for r in select_published(estimator=name, paper="gu2016_sp")} == {"darn"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"task": "vea"}, "did you mean 'vae'"),
        ({"estimator": "gumbel_sofmax"}, "did you mean 'gumbel_softmax'"),
        ({"paper": "jang2017_sbm"}, "did you mean 'jang2017_sbn'"),
        ({"task": "vae", "estimator": "marg*"}, "has all of task 'vae', estimator 'marg*'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(wanted, message):
    """A typo brings the nearest name; what does not go together is named together."""
    with pytest.raises(UserError, match=re.escape(message)) as error:
        select_published(**wanted)
    assert "\n" not in str(error.value)


def test_the_command_writes_tables_csv_and_json():
    """The three forms hold the same values; the table says what the protocol is, unstated parts included."""
    table, text, data = (invoke("--paper", "jang2017_vae", "--format", form) for form in ("table", "csv", "json"))
    assert "101.5" in table.output
    assert "batch_size not stated" in " ".join(table.output.split())
    rows = list(csv.DictReader(io.StringIO(text.output)))
    loaded = json.loads(data.output)
    assert [float(row["value"]) for row in rows] == [row["value"] for row in loaded["results"]]
    assert len(rows) == 14
    assert loaded["protocols"]["jang2017_vae"]["task"]["batch_size"] == NOT_STATED


def test_the_command_imports_no_torch():
    """It is there at once: neither torch nor pandas is imported."""
    code = (
        "import sys; from estbench.cli.main import app; app(['published', '--task', 'coins'], standalone_mode=False);"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


# Measured beside published


def run_of(
    *,
    dataset="binarised_mnist",
    optimizer="sgd",
    seeds=3,
    metric="nll1000_test",
    chosen='{"learning_rate": 0.003}',
    recorded=True,
):
    """Results of structured prediction by the protocol of Jang, Gu & Poole, or another; and the run's options."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": TASK, "estimator": name, "params": "{}", "seed": seed, "device": "cpu", "dtype": "float32",
            "measure": "training", "metric": metric, "step": 1000, "seconds": 1.0, "value": value + rng.normal(0, 0.2),
            "unit": "nats", "n": 10_000, "status": "ok", "error": "", "picture": "",
        }
        for name, value in LABELS.items()
        for seed in range(seeds)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(dict.fromkeys([*COLUMNS, "chosen"]))).assign(chosen=chosen)
    task = {
        "dataset": dataset, "binarisation": "fixed", "latents": "bernoulli", "layers": 2, "units": 200, "classes": 10,
        "optimizer": optimizer, "learning_rate": 0.1, "batch_size": 100,
    }  # fmt: skip
    own = {"gumbel_softmax": {"temperature": 1.0, "rate": 0.0}, "straight_through": {"derivative": "mean"}}
    return table, {"task": {TASK: task}, "estimator": own} if recorded else {}


def pairs_of(**changes):
    table, known = run_of(**changes)
    found = matches(Study.of(table, options=known), TASK)
    assert found.groups[0].protocol.key == "jang2017_sbn"
    return table, {pair.label: pair for pair in found.groups[0].pairs}


def test_a_difference_is_given_where_the_protocols_agree():
    """It is that of the means, with Student's interval over seeds; what the paper does not state is listed."""
    table, pairs = pairs_of()
    values = table[table["estimator"] == "gumbel_softmax"]["value"]
    half = stats.t.ppf(0.975, 2) * values.std() / 3**0.5
    pair = pairs["gumbel_softmax"]
    assert pair.comparable
    gap = values.mean() - 58.5
    assert pair.difference == pytest.approx((gap, gap - half, gap + half))
    unstated = {part.name for part in pair.parts if part.verdict == "not stated"}
    assert unstated == {"batch_size", "steps"}


@pytest.mark.parametrize(
    ("changes", "name", "here"),
    [
        ({"dataset": "mnist"}, "dataset", "mnist"),
        ({"optimizer": "adam"}, "optimizer", "adam"),
        ({"metric": "nll100_test"}, "metric", "nll100_test"),
        ({"chosen": "{}"}, "tuning", "nothing"),
        ({"chosen": '{"learning_rate": 0.5}'}, "learning_rate", "0.5"),
    ],
)
def test_a_part_that_differs_is_named_and_no_difference_given(changes, name, here):
    """Whatever differs, optimiser, metric, tuning or a value outside the paper's grid."""
    _, pairs = pairs_of(**changes)
    for pair in pairs.values():
        assert not pair.comparable
        differing = {part.name: part.here for part in pair.parts if part.verdict == "differs"}
        assert differing[name] == here
    table, known = run_of(**changes)
    block = published.published(Study.of(table, options=known), TASK).blocks[0]
    assert all(row[4] == "–" for row in block.rows)
    assert f"{name} {here} here, " in block.lines[0]


def test_what_a_run_did_not_record_is_no_agreement():
    """Of a run of an earlier version only the options in its labels are known."""
    _, pairs = pairs_of(recorded=False)
    pair = pairs["gumbel_softmax"]
    assert not pair.comparable
    assert {part.name for part in pair.parts if part.verdict == "not recorded"} >= {"optimizer", "layers"}


def test_an_option_of_an_estimator_counts_for_it_alone():
    """Of two estimators the one at another temperature is not comparable, and its row says why."""
    table, known = run_of()
    known["estimator"]["gumbel_softmax"]["temperature"] = 0.5
    study = Study.of(table, options=known)
    pairs = {pair.label: pair.comparable for pair in matches(study, TASK).groups[0].pairs}
    assert pairs == {"gumbel_softmax": False, "straight_through": True}
    rows = {row[0]: row for row in published.published(study, TASK).blocks[0].rows}
    assert rows["gumbel_softmax"][5] == "temperature 0.5 here, 1 published"


def test_negative_bounds_are_shown_as_printed():
    """A bound of -110 nats stands beside a printed 105.0 as 110, its interval turned with it."""
    table, known = run_of(metric="bound1000_test")
    table = table.assign(task="vae[dataset=binarised_mnist]", value=-table["value"] - 50)
    known["task"] = {
        "vae[dataset=binarised_mnist]": known["task"][TASK] | {"hidden": "", "prior": "learned", "kl": "sampled"}
    }
    pairs = {
        p.label: p for p in matches(Study.of(table, options=known), "vae[dataset=binarised_mnist]").groups[0].pairs
    }
    pair = pairs["straight_through"]
    assert pair.comparable
    assert pair.low < pair.value < pair.high
    assert pair.value == pytest.approx(-table[table["estimator"] == "straight_through"]["value"].mean())


def test_figures_of_other_data_sets_are_only_mentioned():
    """A run on digits is not set beside values on MNIST."""
    table, known = run_of()
    known["task"][TASK]["dataset"] = "digits"
    found = published.published(Study.of(table, options=known), TASK)
    assert found.blocks == ()
    assert "other data sets (binarised_mnist, mnist and tfd)" in found.lines[0]


def test_one_seed_has_no_interval():
    """The row says so, and the difference is given without one."""
    table, known = run_of(seeds=1)
    row = published.published(Study.of(table, options=known), TASK).blocks[0].rows[0]
    assert row[2].endswith("(one seed)")
    assert row[4].endswith("(one seed)")


def test_published_figures_are_in_page_markdown_and_plot(svg_only, tmp_path):
    """All three show the paper's value beside the measured one."""
    table, known = run_of()
    index = report.write(table, {"options": known}, tmp_path)
    for path in (index, tmp_path / "report.md"):
        text = path.read_text(encoding="utf-8")
        assert "The protocols agree in all that the paper states." in text
        assert "58.5" in text
    (file,) = report.plot("published", table, tmp_path, formats=("svg",), options=known)
    assert "published 58.5" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [(200, "200", True), ("0.001", [3e-3, 1e-3], True), (True, "true", True), ("", "", True), (0.1, [0.2], False)],
)
def test_values_are_compared_as_values(here, there, expected):
    """Numbers by value, words as written, and a list holds the values among which one was chosen."""
    assert same(here, there) is expected


def test_runs_record_all_options():
    """Defaults are there, and an option that stands for another has the value it stands for."""
    wanted = {"tasks": ["vae[latents=categorical]"], "estimators": ["rloo[samples=4]"], "measures": ["training"]}
    found = plan_of(wanted).options
    task = found["task"]["vae[latents=categorical]"]
    assert (task["units"], task["classes"], task["dataset"]) == (20, 10, "digits")
    assert found["estimator"][str(Spec("rloo", {"samples": 4}))]["samples"] == 4
