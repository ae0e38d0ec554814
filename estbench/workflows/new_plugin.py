"""New plugin packages: the class, its entry point, its conformance test, a README."""

import keyword
import re
from pathlib import Path
from string import Template

from estbench import __version__
from estbench.errors import UserError, nearest
from estbench.plugins.grammar import shown
from estbench.plugins.registry import discover

# $name and the like are filled in by new()
_PYPROJECT = Template("""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$package"
version = "0.1.0"
description = "$title, $article $kind for estbench."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["estbench"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."estbench.${kind}s"]
$name = "$module:$cls"

[tool.setuptools]
py-modules = ["$module"]
""")

_README = Template("""\
# $package

$title, $article $kind for estbench. `$module.py` is the place to work.

It needs estbench, which is on no package index yet. Install that first: from its repository, by the URL that you
clone it from, or from a wheel that was built of it.

    pip install "estbench @ git+URL"    # or: pip install estbench-$version-py3-none-any.whl

Then, in this folder:

    pip install -e '.[test]'    # from then on, estbench list shows $name
    pytest                      # checks that it is what it declares
    $use --out before

After a change, measure again and let the gate tell what got worse, beyond the noise:

    $use --out after
    estbench gate before after
""")

_USES = {
    "estimator": "estbench compare --estimators $name,rloo --tasks toy",
    "task": "estbench compare --tasks $name --estimators rloo,reinforce",
    "measure": "estbench compare --measures $name --tasks toy --estimators rloo,reinforce",
}

_ESTIMATOR = Template('''\
r"""$title: the score function with the other samples' mean as baseline. Say here what yours is.

.. math:: g = \\tfrac1K \\sum_k (f(b_k) - \\bar f_{-k}) \\, \\nabla \\log q(b_k)

Unbiased. Bernoulli and categorical. K evaluations.
"""

from estbench import Node, ScoreFunction
from torch import Tensor


class $cls(ScoreFunction):
    """The estimator; the conformance test holds it to the class attributes, its declarations.

    Args:
        samples: joint samples per gradient, at least 2.
    """

    unbiased = True
    paper = ""

    def __init__(self, samples: int = 2) -> None:
        if samples < 2:
            raise ValueError(f"$cls leaves one sample out, so it needs at least 2; got {samples}")
        super().__init__(samples)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        """The mean of the other samples' costs, ``(samples, *batch)``: no sample may see its own."""
        return (cost.sum(0) - cost) / (self.samples - 1)
''')

_ESTIMATOR_TEST = Template('''\
from estbench.testing import parametrize_with_checks

from $module import $cls


@parametrize_with_checks([$cls])
def test_conformance(estimator, check):
    """It passes every check of estbench's kit."""
    check(estimator)
''')

_TASK = Template('''\
"""$title: an autoencoder of random patterns with binary codes. Say here what yours is."""

import torch
from estbench import Bernoulli, Splits, Task
from estbench.core.program import Program, Sample
from torch import Tensor, nn


class $cls(Task):
    """The task.

    Args:
        units: bits of the code.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(self, units: int = 4) -> None:
        if units < 1:
            raise ValueError(f"a code needs at least 1 unit; got {units}")
        self.units = units

    def model(self) -> nn.Module:
        """A freshly initialised model; its children are the groups that gradients are measured for."""
        return _Autoencoder(self.units)

    def splits(self) -> Splits:
        """The data, the same at every call."""
        x = torch.rand(300, 6, generator=torch.Generator().manual_seed(0))
        return Splits((x[:200],), (x[200:250],), (x[250:],))


class _Autoencoder(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, units), nn.Linear(units, 6)

    def forward(self, x: Tensor) -> Program:
        """The program: one cost per example, whatever dimensions samples put before the batch."""
        code = Bernoulli(self.encoder(x))

        def program(sample: Sample) -> Tensor:
            bits, _ = sample("code", code)
            return (self.decoder(bits) - x).square().mean(-1)

        return program
''')

_TASK_TEST = Template('''\
from estbench.testing import check_task

from $module import $cls


def test_task():
    """Its data stay the same, and its program broadcasts over samples."""
    check_task($cls())
''')

_MEASURE = Template('''\
"""$title: the length of one gradient estimate. Say here what yours is."""

from collections.abc import Iterator, Mapping

import torch
from estbench import Bench, MakeEstimator, Measure, Metric, Row


class $cls(Measure):
    """The measure; its constructor's parameters are its options.

    Args:
        repeats: gradient estimates, at least 2.
    """

    metrics = (
        Metric(
            "norm", "Gradient norm", better="lower", log=True, about="Mean length of one estimate of the gradient."
        ),
    )
    repeated = True

    def __init__(self, repeats: int = 64) -> None:
        if repeats < 2:
            raise ValueError(f"an interval needs at least 2 gradient estimates; got {repeats}")
        self.repeats = repeats

    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        """The mean length with its 95 % interval, for each estimator at the initial parameters."""
        for key, make in makers.items():
            model, batch = bench.model(), next(bench.minibatches())
            estimator = make().to(bench.device).prepare(model(*batch))
            # a stream of random numbers of its own: the same from run to run
            bench.sow("$name", key)
            norms = []
            for _ in range(self.repeats):
                parameters = [each for each in model.parameters() if each.requires_grad]
                gradients = torch.autograd.grad(estimator(model(*batch)), parameters, allow_unused=True)
                norms.append(torch.stack([each.norm() for each in gradients if each is not None]).norm())
            lengths = torch.stack(norms)
            mean, margin = lengths.mean().item(), 1.96 * lengths.std().item() / self.repeats**0.5
            yield key, Row("norm", mean, mean - margin, mean + margin, n=self.repeats)
''')

_MEASURE_TEST = Template('''\
from estbench import load_estimator, load_task
from estbench.testing import check_measure

from $module import $cls


def test_measure():
    """It yields rows of the metrics that it declares."""
    check_measure($cls(), load_task("toy"), lambda: load_estimator("rloo"))
''')

_FILES = {
    "estimator": {"$module.py": _ESTIMATOR, "tests/test_$name.py": _ESTIMATOR_TEST},
    "task": {"$module.py": _TASK, "tests/test_$name.py": _TASK_TEST},
    "measure": {"$module.py": _MEASURE, "tests/test_$name.py": _MEASURE_TEST},
}


def new(kind: str, name: str, folder: Path | str = ".") -> Path:
    """Writes a small package that can be installed and passes its tests as it stands.

    Args:
        kind: ``estimator``, ``task`` or ``measure``.
        name: of the plugin, ``my_estimator``; a dash is taken for an underscore.
        folder: where to put the package's folder, ``estbench-my-estimator``.

    Returns:
        The package's folder.

    Raises:
        UserError: the kind or the name is not valid, the name is taken, or the folder exists.
    """
    name = _checked(kind, name)
    place = Path(folder) / f"estbench-{name.replace('_', '-')}"
    if place.exists():
        raise UserError(f"{place} exists already; choose another name, or another folder")
    words = _words(kind, name, place.name)
    for path, text in {"pyproject.toml": _PYPROJECT, "README.md": _README, **_FILES[kind]}.items():
        target = place / Template(path).substitute(words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.substitute(words), encoding="utf-8")
    return place


def _words(kind: str, name: str, package: str) -> dict[str, str]:
    """The values of the templates' placeholders."""
    words = {
        "name": name,
        "kind": kind,
        "version": __version__,
        "article": "an" if kind == "estimator" else "a",
        "package": package,
        "module": f"estbench_{name}",
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
    }
    return {**words, "use": Template(_USES[kind]).substitute(words)}


def _checked(kind: str, name: str) -> str:
    """The name with underscores.

    Raises:
        UserError: it is not valid or taken, or the kind is unknown.
    """
    if kind not in _FILES:
        near = nearest(kind, _FILES)
        raise UserError(f"a new plugin is an estimator, a task or a measure; got {shown(kind)}, {near}")
    plain = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", plain) or keyword.iskeyword(plain):
        raise UserError(f"a plugin's name is lower-case words joined by underscores, my_{kind}; got {name!r}")
    taken = discover(kind).plugins.get(plain)
    if taken:
        raise UserError(f"there is {taken.origin} {kind} {plain!r} already; choose another name")
    return plain
