"""Tracking in somebody's own repository: configuration of asv, manifest, suite, and a workflow to go by."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from estbench.errors import UserError
from estbench.plugins.registry import discover
from estbench.store.files import write_atomically
from estbench.tracking.write import MANIFEST

_SUITE = Template("""\
# What is tracked, from commit to commit: estbench compare --suite tracking.toml
# New estimators and tasks may go anywhere in the lists: their places in the history are those in $manifest.
tasks = ["toy[units=5]", "sigmoid_belief_net"]
estimators = $estimators
measures = ["gradient[replicates=2048,after=0]", "speed[blocks=20]", "training[steps=200,evaluations=1]"]
seeds = 8
device = "cpu"
""")

_WORKFLOW = """\
# An example: measures every push, keeps the history on the branch "tracking", and fails where something got worse.
name: tracking
on:
  push:
    branches: [main]
permissions:
  contents: write
concurrency: tracking
jobs:
  track:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0  # publishing needs the commits
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install -e . 'estbench[track]'
      - name: The history
        run: |
          printf '%s\\n' /.tracking/ /build/ '*.egg-info/' __pycache__/ >> .git/info/exclude  # none of them is a change
          git config user.name tracking
          git config user.email tracking@users.noreply.github.com
          git fetch origin tracking:tracking ||
            git branch tracking "$(git commit-tree "$(git hash-object -t tree -w /dev/null)" -m 'History')"
          git worktree add .tracking tracking
      - name: Measure  # outside the checkout, whose state is recorded
        run: >
          estbench compare --suite tracking.toml --threads 1
          --out "$RUNNER_TEMP/run" --store "$RUNNER_TEMP/store"
      - name: Track
        run: |
          estbench track "$RUNNER_TEMP/run" --machine github
          git -C .tracking add --all
          git -C .tracking commit --message "Results of $GITHUB_SHA"
          git push origin tracking
      - name: Gate
        if: github.event.before != '0000000000000000000000000000000000000000'
        env:
          BEFORE: ${{ github.event.before }}
        # runners differ in speed: closely compared are times in units of the task's baseline, gradient_time_ratio
        run: estbench gate "$BEFORE" HEAD --threshold 'speed.*_time=10' | tee -a "$GITHUB_STEP_SUMMARY"
        shell: bash  # with pipefail
"""


# what comparisons and asv leave behind, which would make every next run one of uncommitted changes
IGNORED = ("/runs/", "/.estbench/", "/.asv/", "/.tracking/")


def init(folder: Path) -> list[Path]:
    """Writes what tracking needs into a repository; nothing is overwritten.

    A ``.gitignore`` is written where there is none.

    Raises:
        UserError: one of the other files is already there.
    """
    files = _files(folder)
    if there := [path for path in files if (folder / path).exists() or (folder / path).is_symlink()]:
        raise UserError(f"{', '.join(there)} already there; nothing was written")
    if not (folder / ".gitignore").exists():
        files[".gitignore"] = "".join(f"{line}\n" for line in (*IGNORED, "__pycache__/", "*.egg-info/", "/build/"))
    for path, content in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {folder / path}: {error.strerror}") from error
        write_atomically(folder / path, content.encode())
    return [folder / path for path in files]


def _files(folder: Path) -> dict[str, str]:
    plugins = discover("estimator").plugins.values()
    estimators = [found.name for found in plugins if found.origin != "built-in"]
    estimators = [*estimators, *(name for name in ("rloo", "reinforce") if name not in estimators)]
    return {
        "asv.conf.json": _configuration(folder.resolve().name),
        "tracking.toml": _SUITE.substitute(manifest=MANIFEST, estimators=json.dumps(estimators)),
        MANIFEST: _manifest(estimators),
        ".github/workflows/tracking.yml": _WORKFLOW,
    }


def _configuration(project: str) -> str:
    values = {
        "version": 1,
        "project": re.sub(r"[^\w.-]", "-", project) or "project",
        "project_url": "",
        "repo": ".",
        "branches": ["HEAD"],
        "environment_type": "existing",
        "benchmark_dir": "benchmarks",
        "results_dir": ".tracking/results",
        "html_dir": ".asv/html",
    }
    return json.dumps(values, indent=4) + "\n"


def _manifest(estimators: Sequence[str]) -> str:
    """Append-only, as asv stores parameters by position."""
    return (
        json.dumps({"estimators": list(estimators), "tasks": ["toy[units=5]", "sigmoid_belief_net"]}, indent=2) + "\n"
    )
