"""The environment of a run, as far as its results depend on it."""

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("estbench", "torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn")


def environment() -> dict[str, Any]:
    """Versions, processor, GPU and driver, threads, BLAS, and the commit of the current folder."""
    import torch  # noqa: PLC0415  (slow)

    about = machine()
    return {
        **commit(),
        **about,
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


@functools.cache
def machine() -> dict[str, Any]:
    """What times depend on: Python, system, processor, GPU and driver, BLAS, torch and numpy."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "driver": _driver(),
        "blas": _blas(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
    }


def _gpu() -> str | None:
    import torch  # noqa: PLC0415  (slow)

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def _driver() -> str | None:
    if _gpu() is None:
        return None
    lines = (_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or "").splitlines()
    return lines[0].strip() if lines else None


def _blas() -> str:
    """The libraries of linear algebra and threads that are loaded."""
    from threadpoolctl import threadpool_info  # noqa: PLC0415  (only here)

    found = {f"{each['internal_api']} {each.get('version') or ''}".strip() for each in threadpool_info()}
    import torch  # noqa: PLC0415  (slow)

    return ", ".join(sorted(found | ({"mkl (torch)"} if torch.backends.mkl.is_available() else set())))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def commit() -> dict[str, Any]:
    """The commit of the current folder, and whether there is anything beyond it."""
    found = _output("git", "rev-parse", "HEAD")
    return {"commit": found, "dirty": bool(_output("git", "status", "--porcelain")) if found else None}


def label(about: Mapping[str, Any]) -> str:
    """The name of a commit among runs, told apart from what was not committed."""
    return f"{about['commit'] or 'none'}{'-dirty' if about['dirty'] else ''}"


def resolve(name: str) -> str | None:
    """The full name of a commit, ``-dirty`` kept; None if the current folder knows none of that name."""
    plain = name.removesuffix("-dirty")
    found = _output("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{plain}^{{commit}}")
    return found + name[len(plain) :] if found else None


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
