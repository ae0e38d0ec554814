import json
import math
import re

import numpy as np
import pytest

from estbench.errors import UserError
from estbench.tracking import remeasure
from estbench.tracking.gate import gate
from estbench.tracking.markdown import code
from estbench.tracking.tracked_values import Key, TrackedValue
from estbench.tracking.verdicts import Threshold, chance, judge

COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
COLUMNS += ["stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile"]


def asv_file(path, estimators, results, samples=None, version="1", name="Quality.track_variance"):
    """A result file as asv writes it."""
    cells = [results, [[repr(e) for e in estimators], ["'toy'"]], version, 0, 1.0, *[None] * 6, samples]
    content = {"result_columns": COLUMNS, "results": {name: cells}, "commit_hash": "0" * 40}
    # asv writes NaN, which is no JSON but what Python reads and writes
    path.write_text(json.dumps(content))
    return str(path)


def spread(value, relative=0.02, n=16, seed=0):
    return (value * np.exp(relative * np.random.default_rng(seed).standard_normal(n))).tolist()


def verdicts(base, head):
    key = Key("x.y", ("rloo", "toy"))
    sides = [{key: tracked} if tracked else {} for tracked in (base, head)]
    return [finding.verdict for finding in judge(*sides, [Threshold("*", 1.05)], 0.01)]


def sampled(value, **options):
    samples = spread(value, **options)
    return TrackedValue(float(np.median(samples)), samples=tuple(samples))


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (sampled(1.0), sampled(1.3, seed=1), "regression"),
        (sampled(1.3), sampled(1.0, seed=1), "improvement"),
        (sampled(1.0), sampled(1.01, seed=1), "same"),
        (sampled(1.0, relative=1.0), sampled(1.3, relative=1.0, seed=2), "noise"),
        (sampled(1.0), None, "missing"),
        (None, sampled(1.0), "new"),
        (sampled(1.0), TrackedValue(status="failed"), "failed"),
        (sampled(1.0), TrackedValue(status="not applicable"), "missing"),
        (TrackedValue(status="failed"), TrackedValue(status="failed"), "same"),
        (TrackedValue(status="failed"), sampled(1.0), "new"),
        (None, TrackedValue(status="failed"), "failed"),
        (sampled(1.0), TrackedValue(1.3, version="2"), "incomparable"),
        (TrackedValue(1.0), TrackedValue(1.3), "regression"),
        (TrackedValue(1.0, 0.9, 1.1), TrackedValue(1.1, 0.99, 1.21), "noise"),
        (TrackedValue(1.0, 0.99, 1.01), TrackedValue(1.1, 1.09, 1.11), "regression"),
        (TrackedValue(0.0), TrackedValue(1.0), "incomparable"),
    ],
)
def test_every_kind_of_change_has_its_verdict(base, head, expected):
    """Regression, improvement, noise, missing and failed are told apart."""
    assert verdicts(base, head) == [expected]


def test_the_level_of_the_test_is_kept():
    """Of 300 tables of 20 unchanged values each, at most 2 in 100 raise an alarm at a level of 1 in 100."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        sides = []
        for _side in range(2):
            values = np.exp(0.3 * random.standard_normal((20, 8)))
            sides.append(
                {Key("x", (str(i),)): TrackedValue(float(np.median(v)), samples=tuple(v)) for i, v in enumerate(values)}
            )
        alarms += any(f.verdict in {"regression", "improvement"} for f in judge(*sides, [Threshold("*", 1.0)], 0.01))
    assert alarms <= 10


def test_an_outlier_does_not_hide_a_slowdown():
    """One sample a hundred times too long, of a busy machine, leaves 30 % more time visible."""
    base, head = spread(1.0), spread(1.3, seed=1)
    base[3] *= 100
    assert chance(TrackedValue(1.0, samples=tuple(base)), TrackedValue(1.3, samples=tuple(head))) < 1e-4


def test_equal_samples_differ_by_no_chance():
    """What repeats exactly is equal; without spread, any difference is one."""
    constant = TrackedValue(1.0, samples=(1.0,) * 8)
    assert chance(constant, constant) == 1.0
    assert chance(constant, TrackedValue(2.0, samples=(2.0,) * 8)) == 0.0
    assert math.isnan(chance(TrackedValue(1.0), TrackedValue(2.0)))


@pytest.mark.parametrize(
    ("results", "samples", "expected", "word"),
    [
        ([1.0, 1.0], None, 0, "2 same"),
        ([1.5, 1.0], [spread(1.5, seed=3), None], 1, "1 regression"),
        ([0.5, 1.0], [spread(0.5, seed=3), None], 0, "1 improvement"),
        ([None, 1.0], None, 3, "1 failed"),
        ([math.nan, 1.0], None, 3, "1 missing"),
        ([1.5, None], [spread(1.5, seed=3), None], 1, "1 regression, 1 failed"),
    ],
)
def test_the_exit_code_tells_a_regression_from_a_failure(tmp_path, results, samples, expected, word):
    """0, 1 for a regression, 3 for what failed or is missing: asv has one code for both."""
    base = asv_file(tmp_path / "base.json", ["rloo", "arm"], [1.0, 1.0], [spread(1.0), None])
    head = asv_file(tmp_path / "head.json", ["rloo", "arm"], results, samples)
    outcome = gate(base, head)
    assert outcome.code == expected, outcome.table
    assert word in outcome.table.splitlines()[0]


def test_a_gap_can_be_let_through(tmp_path):
    """allow_missing is for changes that take a benchmark away on purpose."""
    base = asv_file(tmp_path / "base.json", ["rloo", "arm"], [1.0, 1.0])
    head = asv_file(tmp_path / "head.json", ["rloo"], [1.0])
    assert gate(base, head).code == 3
    assert gate(base, head, allow_missing=True).code == 0


def test_parameters_are_matched_by_name_not_by_place(tmp_path):
    """A name put in the middle moves no label."""
    base = asv_file(tmp_path / "base.json", ["arm", "rloo"], [1.0, 5.0])
    head = asv_file(tmp_path / "head.json", ["arm", "lemon", "rloo"], [1.0, 9.0, 5.0])
    assert {(f.key.parameters[0], f.verdict) for f in gate(base, head).findings} == {
        ("arm", "same"),
        ("rloo", "same"),
        ("lemon", "new"),
    }


def test_thresholds_go_by_benchmark(tmp_path):
    """The last pattern that fits holds; times have a wider one of their own."""
    base = asv_file(tmp_path / "base.json", ["rloo"], [1.0], name="Step.time_step")
    head = asv_file(tmp_path / "head.json", ["rloo"], [1.15], name="Step.time_step")
    assert gate(base, head).code == 0
    assert gate(base, head, thresholds=["*step=1.1"]).code == 1
    assert gate(base, head, thresholds=["1.1", "Step*=1.3"]).code == 0


@pytest.mark.parametrize("wrong", ["fast", "0.9", "*=nan", "x=inf", ""])
def test_a_threshold_that_is_none_is_refused(tmp_path, wrong):
    """The message quotes what was given."""
    base = asv_file(tmp_path / "base.json", ["rloo"], [1.0])
    with pytest.raises(UserError, match="a threshold is a ratio of at least 1"):
        gate(base, base, thresholds=[wrong])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": 3}', '{"result_columns": [], "results": {"a": 1}}'])
def test_a_file_that_is_no_result_is_refused(tmp_path, content):
    """One line says which file, whatever is in it."""
    (tmp_path / "base.json").write_text(content)
    with pytest.raises(UserError, match=r"base\.json is no result file of asv"):
        gate(str(tmp_path / "base.json"), str(tmp_path / "base.json"))


def test_a_name_that_is_nothing_is_refused(tmp_path):
    """Neither a file, nor a run, nor a commit; and an option of git is none of them either."""
    for name in ("no_such_thing", "--output=x"):
        with pytest.raises(UserError, match="neither a file, nor a run, nor a commit"):
            gate(name, name, results=tmp_path)


def test_names_of_unknown_origin_stay_text(tmp_path):
    """Bars, markup, links, mentions and line breaks in a name cannot leave their cell."""
    evil = "a|b`<img src=x>` @someone [x](http://y)\n| **bold** \\| \u202e"
    base = asv_file(tmp_path / "base.json", [evil], [1.0])
    head = asv_file(tmp_path / "head.json", [evil], [2.0])
    lines = gate(base, head).table.splitlines()
    assert len(lines) == 5
    assert lines[4].count("|") == 8
    inside = lines[4].split(" | ")[2]
    assert inside.count("`") == 4 and inside.startswith("`") and inside.endswith("`toy`")
    assert "\u202e" not in inside


def test_a_code_span_is_never_empty():
    """An empty span would be two literal backticks."""
    assert code("") == "`�`"
    assert code("x" * 500) == f"`{'x' * 120}`"


def times(value, seed=0, status="ok"):
    """A time, in a table with a value that is none."""
    samples = tuple(spread(value, seed=seed))
    return {Key("Step.time_step", ("rloo",)): TrackedValue(value, samples=samples, status=status)}


def files_with_a_slowdown(folder, quality=1.0):
    """Two result files; a time and a variance that is no time."""
    made = []
    for name, factor, other in (("base", 1.0, 1.0), ("head", 1.3, quality)):
        path = folder / f"{name}.json"
        content = {"result_columns": COLUMNS, "results": {}}
        for benchmark, value in (("Step.time_step", factor), ("Quality.track_variance", other)):
            row = [[value], [["'rloo'"]], "1", 0, 1.0, *[None] * 6, [spread(value, seed=len(name + benchmark))]]
            content["results"][benchmark] = row
        path.write_text(json.dumps(content))
        made.append(str(path))
    return made


@pytest.mark.parametrize(
    ("second", "code", "word"),
    [
        ((times(1.0), times(1.3, 1)), 1, "1 regression, 1 same"),
        ((times(1.0), times(1.0, 1)), 0, "1 noise, 1 same"),
        ((times(1.3), times(1.0, 1)), 0, "1 noise, 1 same"),
        ((times(1.0), times(1.0, 1, "failed")), 3, "1 failed, 1 same"),
        (({}, {}), 1, "1 regression, 1 same"),
    ],
)
def test_a_slowdown_counts_if_a_second_measurement_shows_it(tmp_path, second, code, word):
    """What only the first measurement shows is noise; what cannot be measured again counts as it is."""
    outcome = gate(*files_with_a_slowdown(tmp_path), again=lambda keys: second if keys else None)
    assert outcome.code == code
    assert outcome.table.splitlines()[0].endswith(f"{word}.")


def test_only_times_that_got_worse_are_measured_again(tmp_path):
    """Variance has fixed seeds, so that measuring it again would give the same."""
    asked = []
    sides = files_with_a_slowdown(tmp_path, quality=2.0)
    assert gate(*sides, again=lambda keys: asked.extend(keys) or ({}, {})).code == 1
    assert [key.benchmark for key in asked] == ["Step.time_step"]
    asked.clear()
    assert gate(*reversed(sides), again=lambda keys: asked.extend(keys) or ({}, {})).code == 0
    assert asked == []


def test_commits_are_measured_in_turns_and_kept_results_stay(tmp_path, monkeypatch):
    """Which commit comes first alternates; each process gives one sample; nothing is left behind."""
    pytest.importorskip("asv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remeasure.asv_files, "commit_of", {"main": "a" * 40, "HEAD": "b" * 40}.get)
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "repo": ".", "results_dir": "kept"}  // with a comment')
    key, order = Key("Step.time_step", ("rloo", "toy[units=5]"), "m/env"), []

    def run(configuration, commit, keys):
        assert keys == [key]
        order.append(commit[0])
        found = remeasure.json.loads(configuration.read_text())
        tracked = TrackedValue(len(order), samples=(1.0, 1e9))
        monkeypatch.setattr(remeasure.asv_files, "of_commit", lambda *_: {key: tracked, Key("other"): tracked})
        assert found["results_dir"] != "kept" and configuration.parent.resolve() == tmp_path

    monkeypatch.setattr(remeasure, "_run", run)
    before, after = remeasure.measure([key], "main", "HEAD", 3)
    assert "".join(order) == "abbaab"
    assert (before[key].samples, after[key].samples) == ((1, 4, 5), (2, 3, 6))
    assert set(before) == set(after) == {key}
    assert [path.name for path in tmp_path.iterdir()] == ["asv.conf.json"]


def test_a_benchmark_is_named_to_asv_by_all_of_its_parameters():
    """The regular expression finds that combination, as asv writes it, and no other."""
    found = re.compile(remeasure.pattern(Key("a.B.time_x", ("rloo", "toy[units=5]"))))
    assert found.search("a.B.time_x('rloo', 'toy[units=5]')")
    assert not found.search("a.B.time_x('rloo', 'toy[units=55]')")
    assert not found.search("xa.B.time_x('rloo', 'toy[units=5]')")
    assert re.search(remeasure.pattern(Key("a.time_y", ("5",))), "a.time_y(5)")
    assert re.search(remeasure.pattern(Key("a.time_z")), "a.time_z")


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (None, "cannot measure again with asv.conf.json"),
        ('{"version": 1, "repo": ".", "environment_type": "existing"}', 'asv.conf.json says "existing"'),
    ],
)
def test_measuring_again_needs_an_environment_that_asv_builds(tmp_path, monkeypatch, configuration, message):
    """In an existing one both commits would be the installed code."""
    pytest.importorskip("asv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remeasure.asv_files, "commit_of", str)
    if configuration:
        (tmp_path / "asv.conf.json").write_text(configuration)
    with pytest.raises(UserError, match=message):
        remeasure.measure([Key("x")], "main", "HEAD", 3)


def test_what_cannot_be_measured_again_is_refused(tmp_path):
    """Files are of the past; and fewer than three measurements a side allow no test."""
    with pytest.raises(UserError, match="only commits can be measured again"):
        remeasure.check_repeatable(str(tmp_path), "HEAD", 5)
    with pytest.raises(UserError, match="at least 3 measurements a side; got 2"):
        remeasure.check_repeatable("no_such_file", "HEAD", 2)


SPREAD = spread(1.0)


@pytest.mark.parametrize(
    ("base", "head", "message"),
    [
        ({}, {}, "base.json has 0 values, head.json 0, none in both"),
        ({}, {"results": [1.0]}, "base.json has 0 values, head.json 1, none in both"),
        ({"results": [1.0]}, {}, "base.json has 1 values, head.json 0, none in both"),
        ({"results": [1.0]}, {"results": [math.nan]}, "none in both"),
        ({"results": [1.0]}, {"results": [1.0], "name": "x.y"}, "base.json has 1 values, head.json 1, none in both"),
        ({"results": [1.0]}, {"results": [2.0], "version": "2"}, "all 1 in both failed, differ in version"),
        ({"results": [1.0]}, {"results": [0.0]}, "or are not positive"),
        ({"results": [None]}, {"results": [None]}, "all 1 in both failed"),
    ],
)
def test_a_gate_that_compared_nothing_does_not_pass(tmp_path, monkeypatch, base, head, message):
    """Where no value of either side can be compared, it could not run: a wrong file must not look like a pass."""
    monkeypatch.chdir(tmp_path)
    for path, side in (("base.json", base), ("head.json", head)):
        asv_file(tmp_path / path, ["rloo"] if side else [], **({"results": []} | side))
    with pytest.raises(UserError, match=f"nothing to compare: .*{re.escape(message)}"):
        gate("base.json", "head.json", allow_missing=True)


def test_what_failed_altogether_is_told(tmp_path):
    """All benchmarks of one side failed: after, they are listed and fail; before, all are new."""
    ok = asv_file(tmp_path / "ok.json", ["rloo", "arm"], [1.0, 1.0])
    failed = asv_file(tmp_path / "failed.json", ["rloo", "arm"], None)
    assert (gate(ok, failed).code, gate(failed, ok).code) == (3, 0)
    assert "2 failed" in gate(ok, failed).table
    assert "2 new" in gate(failed, ok).table


def test_samples_that_are_missing_or_infinite_do_no_harm(tmp_path):
    """NaN and null samples are left out; an infinite value is a regression against a finite one, and like itself."""
    base = asv_file(tmp_path / "base.json", ["rloo", "arm"], [1.0, 1.0], [SPREAD, SPREAD])
    gaps = asv_file(tmp_path / "gaps.json", ["rloo", "arm"], [1.0, 1.0], [[math.nan, *SPREAD], [None, *SPREAD]])
    endless = asv_file(tmp_path / "endless.json", ["rloo", "arm"], [math.inf, 1.0], [[math.inf] * 8, None])
    assert {f.verdict for f in gate(base, gaps).findings} == {"same"}
    assert [f.p for f in gate(base, gaps).findings] == [1.0, 1.0]
    assert {f.key.parameters[0]: f.verdict for f in gate(base, endless).findings} == {
        "rloo": "regression",
        "arm": "same",
    }
    assert {f.verdict for f in gate(endless, endless).findings} == {"same"}


@pytest.mark.parametrize("name", ["no_such.json", "no_such.parquet"])
def test_a_file_that_is_not_there_is_refused(name):
    """The message names the file, and says no more than that it is not there."""
    with pytest.raises(UserError, match=rf"^there is no file {re.escape(name)}$"):
        gate(name, name)


def test_commits_of_different_machines_are_refused(tmp_path, monkeypatch):
    """Two commits are compared on machines that have both; where there is none, both sides' are named."""
    monkeypatch.setattr(remeasure.asv_files, "commit_of", {"main": "a" * 40, "HEAD": "b" * 40}.get)
    for folder, commit in (("one", "a"), ("two", "b")):
        (tmp_path / folder).mkdir()
        asv_file(tmp_path / folder / f"{commit * 8}-env.json", ["rloo"], [1.0])
    with pytest.raises(UserError, match="no machine and environment in common: base one/env; head two/env"):
        gate("main", "HEAD", results=tmp_path)


def test_files_of_different_machines_are_marked(tmp_path):
    """Variances of two machines can be compared, times cannot: the table says so."""
    paths = []
    for machine in ("one", "two"):
        paths.append(asv_file(tmp_path / f"{machine}.json", ["rloo"], [1.0]))
        content = json.loads((tmp_path / f"{machine}.json").read_text())
        (tmp_path / f"{machine}.json").write_text(json.dumps(content | {"params": {"machine": machine}}))
    assert "Measured on `one` and `two`" in gate(*paths).table
    assert "Measured on" not in gate(paths[0], paths[0]).table


def test_a_broken_configuration_is_refused(tmp_path, monkeypatch):
    """Looking up the folder of results, one line says which file is wrong."""
    pytest.importorskip("asv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asv.conf.json").write_text("{")
    with pytest.raises(UserError, match=r"asv\.conf\.json is no configuration of asv"):
        gate("main", "HEAD")
