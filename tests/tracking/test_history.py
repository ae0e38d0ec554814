"""Histories over many commits: steps, drifts, outliers, and what asv's own detection says of them."""

import json
import subprocess
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.errors import UserError
from estbench.tracking import history_pages
from estbench.tracking.change_points import EXACT, SHORTEST, _exact, chance, changes
from estbench.tracking.history import as_json, history
from estbench.tracking.tracked_values import Key, TrackedValue
from estbench.tracking.write import _blind
from tests.tracking.test_gate import asv_file

COMMITS = 40
STEP = np.where(np.arange(COMMITS) < 20, 1.0, 1.1)
LATE = np.where(np.arange(COMMITS) < COMMITS - SHORTEST - 1, 1.0, 1.1)
RAMP = 1.01 ** np.arange(COMMITS)


def noisy(shape, seed, relative=0.01):
    return shape * np.exp(relative * np.random.default_rng(seed).standard_normal(len(shape)))


def outlier(place):
    found = np.ones(COMMITS)
    found[place] = 1.5
    return found


def test_the_exact_table_is_that_of_the_rank_sum_test():
    """For three and eight of twelve values the p-values are scipy's exact ones."""
    values = np.random.default_rng(0).permutation(12) + 1.0
    for few in (SHORTEST, EXACT):
        expected = mannwhitneyu(values[:few], values[few:], method="exact").pvalue
        assert np.exp(-_exact(12)[few][int(values[:few].sum())]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("series", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_values_without_a_change_are_seldom_called_changed(series):
    """More than the bound of all series without a change have p < 5 % with probability 5e-4 if the level is exact."""
    found = [chance(noisy(np.ones(COMMITS), seed)) < 0.05 for seed in range(series)]
    assert sum(found) <= binom.isf(5e-4, series, 0.05)


@pytest.mark.parametrize(("shape", "kinds", "ratio"), [
    (STEP, ["step"], 1.1), (LATE, ["step"], 1.1), (RAMP, ["drift"], RAMP[-1]), (1 / STEP, ["step"], 1 / 1.1),
])  # fmt: skip
def test_steps_and_drifts_are_found_as_what_they_are(shape, kinds, ratio):
    """With noise of 1 %, 18 of 20 series or more have the right change, with an interval that holds its size."""
    seen = Counter()
    for seed in range(20):
        values = noisy(shape, seed)
        found = changes(values, 0.01)
        right = chance(values) < 0.01 and [each.kind for each in found] == kinds
        seen["right"] += right
        seen["held"] += right and found[0].low * 0.99 < ratio < found[0].high * 1.01
        if right and kinds == ["step"]:
            seen["placed"] += abs(found[0].first - int(np.argmax(shape != shape[0]))) <= 1
    assert min(seen["right"], seen["held"]) >= 18
    assert kinds == ["drift"] or seen["placed"] >= 18


@pytest.mark.parametrize("place", [25, COMMITS - 1])
def test_one_outlier_is_no_change(place):
    """A single value of 1.5 times the others, also as the last, is called a change in at most 2 of 20 series."""
    assert sum(chance(noisy(outlier(place), seed)) < 0.01 for seed in range(20)) <= 2


def test_few_or_equal_values_are_no_evidence():
    """Five values, and values that never differ, have p = 1."""
    assert chance([1.0, 1, 1, 2, 2]) == chance([2.0] * 30) == 1
    assert changes([2.0] * 30, 0.5) == []


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of forty commits with results of five benchmarks; the commits, oldest first; one tag."""
    folder = tmp_path_factory.mktemp("repository")
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*command):
        return subprocess.run(["git", *name, *command], cwd=folder, capture_output=True, text=True, check=True).stdout

    git("init", "-q")
    tree = git("hash-object", "-t", "tree", "-w", "/dev/null").strip()
    commits = []
    for number in range(COMMITS):
        parent = ["-p", commits[-1]] if commits else []
        commits.append(git("commit-tree", tree, *parent, "-m", str(number)).strip())
    git("reset", "-q", "--soft", commits[-1])
    git("tag", "v1", commits[25])
    (folder / "results" / "box").mkdir(parents=True)
    shapes = {"step": STEP, "ramp": RAMP, "outlier": outlier(30), "better": 1 / LATE, "same": np.ones(COMMITS)}
    series = {label: noisy(shape, 3) for label, shape in shapes.items()}
    for number, commit in enumerate(commits):
        path = folder / "results" / "box" / f"{commit[:8]}-env.json"
        asv_file(path, list(series), [float(values[number]) for values in series.values()])
    asv_file(folder / "results" / "box" / "01234567-env.json", ["step"], [9.0])
    return folder, commits


@pytest.fixture
def here(repository, monkeypatch):
    monkeypatch.chdir(repository[0])
    return repository


def states(found):
    return {each.series.key.parameters[0]: each.state for each in found.found}


def test_a_history_is_judged_since_the_last_tag(here):
    """The step before the tag is seen and not judged; the ramp's part after it is; the exit code is 1."""
    folder, commits = here
    found = history(folder / "results")
    assert found.since == commits[25]
    assert found.left_out == 1
    assert states(found) == {
        "ramp": "regression", "step": "unchanged", "outlier": "unchanged", "better": "improvement", "same": "unchanged"
    }  # fmt: skip
    totals = {each.series.key.parameters[0]: each.total for each in found.found}
    assert totals["ramp"] == pytest.approx(1.01**14, rel=0.02)
    assert totals["step"] == 1
    assert found.code == 1


def test_a_history_can_be_judged_from_its_beginning(here):
    """Since the first commit the step is a regression too; with a threshold of 2 nothing is."""
    folder, commits = here
    assert states(history(folder / "results", since=commits[0]))["step"] == "regression"
    patient = history(folder / "results", since=commits[0], thresholds=["2"])
    assert "regression" not in states(patient).values()
    assert patient.code == 0


def test_the_command_prints_and_writes_what_it_found(here, tmp_path):
    """It exits with 1, prints Markdown with commits, and writes a page without scripts or requests, and JSON."""
    folder, commits = here
    command = ["history", "--results", str(folder / "results")]
    found = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "h.html")])
    assert found.exit_code == 1
    assert f"step at {commits[20][:8]}" in found.output or f"step at {commits[21][:8]}" in found.output
    page = (tmp_path / "h.html").read_text()
    assert page.count("<svg") == 3
    assert not any(word in page for word in ("<script", "http:", "https:", "url("))
    CliRunner().invoke(app, [*command, "--out", str(tmp_path / "h.json")])
    kinds = {
        each["of"][0]: [c["kind"] for c in each["changes"]] for each in json.loads((tmp_path / "h.json").read_text())
    }
    assert kinds == {"ramp": ["drift"], "step": ["step"], "better": ["step"], "outlier": [], "same": []}
    assert CliRunner().invoke(app, [*command, "--threshold", "3"]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": "nothing"}, "nothing is neither"),
        ({"only": "none*"}, "no results of benchmarks that fit 'none\\*'"),
        ({"thresholds": ["0.5"]}, "at least 1"),
        ({"alpha": 1}, "between 0 and 1"),
    ],
)
def test_wrong_arguments_are_refused(here, options, said):
    """Each says what is wrong in one line."""
    with pytest.raises(UserError, match=said) as caught:
        history(here[0] / "results", **options)
    assert "\n" not in str(caught.value)


def test_other_suffixes_and_folders_without_git_are_refused(here, tmp_path, monkeypatch):
    """A file of unknown kind is refused before anything is read; outside a repository the reason is git's."""
    command = ["history", "--results", str(here[0] / "results")]
    found = CliRunner().invoke(app, [*command, "--out", "x.pdf"])
    assert "ends in .html, .md, .json" in str(found.exception)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="cannot read the history of commits"):
        history(here[0] / "results")


def test_names_from_files_are_no_markup(tmp_path, monkeypatch, repository):
    """Names of benchmarks and parameters are escaped in the page, and code in Markdown."""
    folder, commits = repository
    monkeypatch.chdir(folder)
    box = tmp_path / "results" / "box"
    box.mkdir(parents=True)
    for commit, value in zip(commits, noisy(STEP, 1), strict=True):
        asv_file(box / f"{commit[:8]}-env.json", ["<b>|`x"], [float(value)], name="<i>.b")
    found = history(tmp_path / "results", since=commits[0])
    assert "<b>" not in history_pages.page(found)
    assert "<i>" not in history_pages.page(found)
    assert "`<b>��x`" in history_pages.markdown(found)
    assert json.loads(as_json(found))[0]["of"][0] == "<b>|`x"


def test_a_new_version_begins_a_new_history(tmp_path, monkeypatch, repository):
    """Values of an older version of a benchmark are not compared with those of the newest one."""
    folder, commits = repository
    monkeypatch.chdir(folder)
    box = tmp_path / "results" / "box"
    box.mkdir(parents=True)
    for number, commit in enumerate(commits):
        asv_file(box / f"{commit[:8]}-env.json", ["x"], [1.0 if number < 20 else 5.0], version="12"[number >= 20])
    (found,) = history(tmp_path / "results").found
    assert len(found.series.values) == 20
    assert found.state == "unchanged"


def test_what_the_documentation_says_of_asv():
    """For asv a last outlier is a step, and a ramp of 1 % a commit a few steps; six samples never differ from six."""
    steps = pytest.importorskip("asv.step_detect", reason="asv is an extra").detect_steps
    last = steps([float(x) for x in noisy(outlier(COMMITS - 1), 0)])
    assert last[-1][:2] == (COMMITS - 1, COMMITS)
    assert len(steps([float(x) for x in noisy(RAMP, 0)])) <= 4
    stats, runner = pytest.importorskip("asv._stats"), pytest.importorskip("asv_runner.statistics")
    for count, different in {5: True, 6: False, 7: True}.items():
        one, other = ([level + 0.001 * k for k in range(count)] for level in (1.0, 2.0))
        summaries = [runner.compute_stats(samples, 1)[1] for samples in (one, other)]
        assert stats.is_different(one, other, *summaries) is different


@pytest.mark.parametrize(("seeds", "notes"), [(5, 0), (6, 1), (7, 0)])
def test_track_warns_of_numbers_of_seeds_at_which_asv_is_blind(seeds, notes):
    """Six samples a commit are noted, five and seven are not."""
    found = {Key("training.loss", ("rloo", "toy")): TrackedValue(1.0, samples=tuple(range(1, seeds + 1)))}
    assert len(_blind(found)) == notes
