"""Suites: what to compare, as a TOML file or by command-line options."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from estbench.errors import UserError, nearest, plain, reason, shorten
from estbench.plugins.grammar import shown
from estbench.store.files import read_whole

FOLDER = Path(__file__).parent / "suites"
# limits of seeds in tables and torch, and of the size of a plan
LARGEST_SEED = 2**63 - 1
MOST_SEEDS = 100_000


class Tune(BaseModel):
    """Which options are chosen on validation data before the comparison, separately for each estimator.

    Attributes:
        options: names of options of tasks or estimators; their grids in the suite's patterns are the candidates.
        fraction: of the training steps that each candidate gets.
        samples: size of the multi-sample bound on the validation images that decides; 0 for the ELBO or NLL of one
            sample. Without effect at ``fraction = 1``, where candidates are trained and judged as in the comparison.
        metric: another metric to decide by, such as ``accuracy``; higher is better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    options: Annotated[list[str], Field(min_length=1)]
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    samples: Annotated[int, Field(ge=0)] = 10
    metric: str = ""


class Comparison(BaseModel):
    """One of several comparisons of a suite; for every key that it leaves out, the suite's value is used.

    Attributes:
        tasks: patterns of tasks.
        estimators: patterns of estimators.
        measures: patterns of measures.
        tune: options that are chosen on validation data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tasks: Annotated[list[str], Field(min_length=1)] | None = None
    estimators: Annotated[list[str], Field(min_length=1)] | None = None
    measures: Annotated[list[str], Field(min_length=1)] | None = None
    tune: Tune | None = None


class Suite(BaseModel):
    """What to compare.

    Attributes:
        tasks: patterns of tasks, ``vae[dataset=mnist]``; globs and grids allowed.
        estimators: patterns of estimators.
        measures: patterns of measures.
        seeds: the number of seeds, counted from 0, or a list of seeds.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: dtype of parameters and data; ``tf32`` and ``bf16`` are float32 with tf32 (GPU) or bf16 matrix products.
        scale: fraction of the training steps of the measures that is run.
        precision: replaces the option ``precision`` of measures that have one.
        tune: options that are chosen on validation data; none by default.
        parts: several comparisons, if one product of tasks, estimators and measures is not enough.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tasks: Annotated[list[str], Field(min_length=1)] = ["*"]
    estimators: Annotated[list[str], Field(min_length=1)] = ["*"]
    measures: Annotated[list[str], Field(min_length=1)] = ["gradient", "speed", "training"]
    seeds: list[int] = [0]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    dtype: Literal["float32", "float64", "tf32", "bf16"] = "float32"
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    precision: Annotated[float, Field(ge=0, lt=1)] | None = None
    tune: Tune | None = None
    parts: list[Comparison] = []

    @property
    def comparisons(self) -> list["Suite"]:
        """The parts, each as its own suite; the suite itself if it has no parts."""
        whole = self.model_copy(update={"parts": []})
        own = [{key: getattr(part, key) for key in part.model_fields_set} for part in self.parts]
        return [whole.model_copy(update=values) for values in own] or [whole]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, seeds: object) -> object:
        if isinstance(seeds, int) and not isinstance(seeds, bool):
            if seeds > MOST_SEEDS:
                raise ValueError(f"at most {MOST_SEEDS:,} seeds; which one, not how many, is written with a comma")
            seeds = list(range(seeds))
        if isinstance(seeds, list):
            if not seeds or any(isinstance(s, int) and not 0 <= s <= LARGEST_SEED for s in seeds):
                raise ValueError(f"at least one seed, each of them from 0 to {LARGEST_SEED}")
            if len(seeds) > MOST_SEEDS:
                raise ValueError(f"at most {MOST_SEEDS:,} seeds")
            if len(set(map(str, seeds))) < len(seeds):
                raise ValueError("each seed once")
        return seeds


def load_suite(name: str, overrides: Mapping[str, Any], only: Sequence[int] = ()) -> Suite:
    """A suite by the path of its file, or the name of one that is shipped, with some values replaced.

    Args:
        name: path or name.
        overrides: values that replace the suite's, and those of its parts.
        only: which of its parts to take, counted from 1; all by default.

    Raises:
        UserError: there is no such suite or part, or it is not valid.
    """
    path = Path(name)
    if not path.suffix:
        shipped = {file.stem: file for file in FOLDER.glob("*.toml")}
        if name not in shipped:
            raise UserError(f"unknown suite {shown(name)}; {nearest(name, shipped)}, or the path of a .toml file")
        path = shipped[name]
    try:
        values = tomllib.loads(read_whole(path).decode())
    except OSError as error:
        raise UserError(f"suite {name}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"suite {name} is not valid TOML: {reason(error)}") from error
    found = validate(_replaced(values, overrides), f"suite {name}")
    wrong = [number for number in only if not 1 <= number <= len(found.parts)]
    if wrong:
        raise UserError(f"suite {name} has {len(found.parts)} parts; got --parts {','.join(map(str, only))}")
    return found.model_copy(update={"parts": [found.parts[number - 1] for number in only]}) if only else found


def _replaced(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replaces values of the suite and of all its parts."""
    parts = values.get("parts", [])
    if isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
        values = {**values, "parts": [{k: v for k, v in part.items() if k not in overrides} for part in parts]}
    return {**values, **overrides}


def validate(values: Mapping[str, Any], source: str) -> Suite:
    """Makes a suite from values.

    Raises:
        UserError: keys are unknown or values are invalid; the message lists all of them in one line.
    """
    try:
        return Suite.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {'; '.join(map(_line, error.errors()))}") from error


def _line(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "string_pattern_mismatch":
        return f"{where}: expected auto, cpu, cuda or cuda:N; got {shown(error['input'])}"
    if error["type"] == "extra_forbidden":
        models: dict[object, type[BaseModel]] = {"tune": Tune, "parts": Comparison}
        first, *rest = error["loc"]
        model = models.get("tune" if "tune" in rest[:-1] else first, Suite) if rest else Suite
        return f"unknown key {where!r}; {nearest(str(error['loc'][-1]), model.model_fields)}"
    got = shorten(plain(repr(error["input"])), 200)
    if error["type"] == "too_short":
        return f"{where}: at least one is needed; got {got}"
    return f"{where}: {error['msg'].lower().removeprefix('value error, ')}; got {got}"
