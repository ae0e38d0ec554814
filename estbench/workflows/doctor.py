"""The doctor: checks what works on this machine, and says what to do about what does not."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from estbench.plugins.loading import KINDS
from estbench.plugins.registry import discover

# by the name of an extra: the packages that it brings, and what they are for
EXTRAS = {
    "ray": (("ray",), "measuring on a cluster"),
    "slurm": (("submitit",), "measuring by Slurm"),
    "track": (("asv",), "histories of results"),
}


@dataclass(frozen=True)
class Diagnosis:
    """The state of one part of the installation.

    Args:
        part: its name.
        state: ``ok``; ``absent`` if it is missing but not required; or ``broken`` if it is required.
        finding: what was found, in one line.
        remedy: what to do about it; empty if nothing is to be done.
    """

    part: str
    state: Literal["ok", "absent", "broken"]
    finding: str
    remedy: str = ""


def diagnose(store: Path) -> Iterator[Diagnosis]:
    """Checks each part of the installation; a failing check does not stop the others.

    Args:
        store: folder that keeps results.
    """
    checks: dict[str, Callable[[], Diagnosis]] = {
        "python": _python,
        "torch": _torch,
        "GPU": _gpu,
        "plugins": _plugins,
        "data sets": _data,
        "extras": _extras,
        "workers": _workers,
        "store": lambda: _store(store),
        "browser": _browser,
    }
    for part, check in checks.items():
        try:
            yield check()
        except Exception as error:  # noqa: BLE001  (whatever is broken here may raise anything)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Diagnosis(part, "broken", reason, "install estbench again: pip install -c constraints.txt .")


def _python() -> Diagnosis:
    return Diagnosis("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch() -> Diagnosis:
    import torch  # noqa: PLC0415  (slow, and perhaps broken)

    torch.ones(3, requires_grad=True).square().sum().backward()
    return Diagnosis("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _gpu() -> Diagnosis:
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Diagnosis("GPU", "ok", f"{len(names)}: {', '.join(dict.fromkeys(names))}; CUDA {torch.version.cuda}")
    if torch.version.cuda is None:
        return Diagnosis("GPU", "absent", "this build of torch has no CUDA; everything runs on the processor")
    remedy = "if there is a GPU, look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
    return Diagnosis("GPU", "absent", f"torch sees none (CUDA {torch.version.cuda})", remedy)


def _plugins() -> Diagnosis:
    found = {kind: discover(kind) for kind in KINDS}
    counts = ", ".join(f"{len(catalogue.plugins)} {kind}s" for kind, catalogue in found.items())
    problems = [problem for catalogue in found.values() for problem in catalogue.problems]
    if problems:
        return Diagnosis("plugins", "broken", f"{counts}; {problems[0]}", "mend or uninstall the package that is named")
    return Diagnosis("plugins", "ok", counts)


def _data() -> Diagnosis:
    from estbench.data.datasets import SOURCES  # noqa: PLC0415  (imports torch)

    here = ["digits (embedded)", *(f"{name} ({each.folder()})" for name, each in SOURCES.items() if each.present())]
    lacking = [name for name, source in SOURCES.items() if not source.present()]
    remedy = f"estbench data fetch {' '.join(lacking)}, or name their folder in ESTBENCH_DATA" if lacking else ""
    finding = f"here: {', '.join(here)}" + (f"; not here: {', '.join(lacking)}" if lacking else "")
    return Diagnosis("data sets", "ok", finding, remedy)


def _extras() -> Diagnosis:
    here, lacking = [], []
    for extra, (packages, purpose) in EXTRAS.items():
        found = [f"{name} {known}" for name in packages if (known := _version(name))]
        here += found
        lacking += [f"{extra} ({purpose})"] if len(found) < len(packages) else []
    names = ",".join(text.split()[0] for text in lacking)
    finding = "; ".join(filter(None, [", ".join(here), f"without {', '.join(lacking)}" if lacking else ""]))
    return Diagnosis(
        "extras", "absent" if lacking else "ok", finding, f"pip install 'estbench[{names}]'" if names else ""
    )


def _workers() -> Diagnosis:
    cores = len(os.sched_getaffinity(0)) if platform.system() == "Linux" else os.cpu_count() or 1
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    # a worker takes about 0.4 GiB before it measures anything
    if memory < 0.5 * cores:
        remedy = "fewer processes: --executor 'local[workers=1]'"
        return Diagnosis("workers", "absent", f"{cores} cores, but only {memory:.1f} GiB of memory is free", remedy)
    return Diagnosis("workers", "ok", f"{cores} cores, {memory:.1f} GiB of memory free")


def _store(folder: Path) -> Diagnosis:
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return Diagnosis("store", "broken", f"nothing can be written in {above}", "name another folder: --store FOLDER")
    space = shutil.disk_usage(above).free / 2**30
    cells = sum(1 for _ in (folder / "cells").glob("*.parquet"))
    finding = f"{folder} keeps {cells} cells; {space:.0f} GiB of the disk are free"
    if space < 1:
        return Diagnosis("store", "broken", finding, "free some space, or name another folder: --store FOLDER")
    return Diagnosis("store", "ok", finding)


def _browser() -> Diagnosis:
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found and importlib.util.find_spec("selenium"):
        return Diagnosis("browser", "ok", f"{found}; the tests of the report's page run")
    remedy = "install chromium and chromium-driver, and pip install 'estbench[test]'"
    return Diagnosis("browser", "absent", "none that tests can drive: those of the report's page are skipped", remedy)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
