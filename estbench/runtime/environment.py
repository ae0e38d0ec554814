"""The environment on which the results of a run depend."""

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("estbench", "torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn")


def environment(device: str = "") -> dict[str, Any]:
    """Versions, processor, GPU and driver, threads, BLAS, and the commit of the current folder.

    Args:
        device: device of the run, as torch names it; it identifies one of several GPUs.
    """
    import torch  # noqa: PLC0415  (slow)

    about = machine(device)
    return {
        **commit(),
        **about,
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


@functools.cache
def machine(device: str = "") -> dict[str, Any]:
    """The environment on which times depend: Python, system, CPU, GPU and driver, BLAS, torch and numpy.

    Args:
        device: device of the run, as torch names it; if it has no number, torch's current GPU is meant.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        **_gpu(device),
        "driver": _driver(),
        "blas": _blas(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
    }


def _gpu(device: str) -> dict[str, str | None]:
    """A GPU, and the properties of it that affect random numbers."""
    import torch  # noqa: PLC0415  (slow)

    if not torch.cuda.is_available():
        return {"gpu": None, "gpu_random_numbers": None}
    _, _, number = device.partition("cuda:")
    properties = torch.cuda.get_device_properties(int(number) if number else torch.cuda.current_device())
    threads = properties.max_threads_per_multi_processor
    # torch's kernels give each thread a stream of random numbers; with more numbers than threads they go round
    alike = properties.multi_processor_count * threads
    return {
        "gpu": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}",
        "gpu_random_numbers": f"tensors of more than {alike:,} entries are filled with other random numbers on a GPU "
        f"that has not {properties.multi_processor_count} multiprocessors of {threads:,} threads",
    }


def _driver() -> str | None:
    import torch  # noqa: PLC0415  (slow)

    if not torch.cuda.is_available():
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
    """The commit of the current folder, and whether there are uncommitted changes."""
    found = _output("git", "rev-parse", "HEAD")
    return {"commit": found, "dirty": bool(_output("git", "status", "--porcelain")) if found else None}


def commit_label(about: Mapping[str, Any]) -> str:
    """The name of a commit among runs, with a mark if there were uncommitted changes."""
    return f"{about['commit'] or 'none'}{'-dirty' if about['dirty'] else ''}"


def resolve(name: str) -> str | None:
    """The full name of a commit, with ``-dirty`` if given; None if the current repository has no such commit."""
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
