import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from estbench.errors import UserError
from estbench.execution.cell_runner import CellRunner
from estbench.execution.executors.inline import Inline
from estbench.execution.runner import CellWork, run
from estbench.store import maintenance
from estbench.store.checkpoints import Checkpoints
from estbench.store.files import write_atomically
from estbench.store.merge import merge
from estbench.store.records import COLUMNS, Result
from estbench.store.store import Entry, Store
from tests.support.plans import plan_of

ROW = dict.fromkeys(("seed", "step", "n", "replicas"), 0) | dict.fromkeys(("seconds", "value", "low", "high"), 0.0)
ENTRY = Entry("k" * 32, {"steps": 4})
MACHINE = {"cpu": "one", "gpu": None}


def result(alone=False, machine=MACHINE, value=1.0, status="ok"):
    texts = {name: "x" for name in COLUMNS if name not in ROW}
    cell = {"task": "t", "estimators": ["e"], "measure": "m", "seed": 0, "device": "cpu", "dtype": "float32"}
    about = {"cell": {**cell, "alone": alone, "budget": {}}, "seconds": 1.0, "finished": 1e9, "machine": machine}
    return Result.of([{**ROW, **texts, "value": value, "status": status}], about)


def put(folder, key="k" * 32, **options):
    store = Store(folder)
    entry = Entry(key, {"steps": 4})
    store.put(entry, result(**options))
    return store.path(entry)


def test_a_result_comes_back_as_it_was(tmp_path):
    """Rows, types and what is known of them survive; pandas reads the file by itself."""
    path, store = put(tmp_path), Store(tmp_path)
    back = store.get(ENTRY)
    assert back.table == result().table
    assert back.about["seconds"] == 1.0
    assert list(pq.read_table(path).to_pandas().columns) == list(COLUMNS)


@pytest.mark.parametrize("place", range(4, 3000, 250))
def test_a_flipped_bit_is_noticed_or_without_consequence(tmp_path, place):
    """A damaged file gives the rows that were written, or is set aside; never others."""
    said = []
    path = put(tmp_path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x10
    path.write_bytes(bytes(content))
    back = Store(tmp_path, said.append).get(ENTRY)
    assert back is None or back.table == result().table


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_half_a_file_is_set_aside(tmp_path, size):
    """Whatever a crash left of a file, it is moved away with a message, and can be looked at."""
    said = []
    path = put(tmp_path)
    half = path.read_bytes()[:size]
    path.write_bytes(half)
    assert Store(tmp_path, said.append).get(ENTRY) is None
    assert len(said) == 1
    assert [file.read_bytes() for file in (tmp_path / "damaged").iterdir()] == [half]


def test_a_file_under_another_name_is_damaged(tmp_path):
    """A cell that was copied over another is not taken for it."""
    path = put(tmp_path)
    other = path.with_name(path.name.replace("k", "j"))
    path.rename(other)
    assert Store(tmp_path, lambda _: None).get(Entry("j" * 32, {"steps": 4})) is None


def test_files_of_other_versions_are_left_alone_and_pruned(tmp_path, monkeypatch):
    """Cells of an older version, in its place or in ours, are measured again, and no reason to stop."""
    path = put(tmp_path)
    (tmp_path / f"{'a' * 32}.parquet").write_bytes(path.read_bytes())
    monkeypatch.setattr("estbench.store.store.FORMAT", 99)
    assert Store(tmp_path).get(ENTRY) is None
    assert path.exists()
    assert maintenance.prune(tmp_path, dry_run=True).files == 2
    assert maintenance.prune(tmp_path).files == 2
    assert not path.exists()


@pytest.mark.parametrize("step", ["flush", "fsync", "replace"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch, step):
    """Wherever there is no space left, the old file stays whole and no half file stays beside it."""
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = {"flush": None, "fsync": os, "replace": Path}[step]
    if owner is None:
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(owner, step, full)
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        write_atomically(target, b"new")
    monkeypatch.undo()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from estbench.errors import UserError
from estbench.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]) / "file", b"x" * 100_000)
except UserError as error:
    print(error)
"""


def test_a_file_that_the_system_refuses_is_one_clear_error(tmp_path):
    """A real refusal by the kernel, in the middle of a file, is reported, and nothing stays behind."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert not list(tmp_path.iterdir())


def small():
    values = {"tasks": ["toy"], "estimators": ["rloo", "arm"], "measures": ["training[steps=4]"], "device": "cpu"}
    return plan_of(values)


def test_a_store_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path):
    """What is there is read; a missing cell is an error at once."""
    suite, store = small(), Store(tmp_path / "file" / "store")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot keep results in"):
        next(run(suite, store, Inline(), CellWork(suite.plugins, tmp_path)))


READ_ONLY = """
import os, sys
from pathlib import Path
from estbench.store.store import Entry, Store
os.setuid(65534)
store = Store(Path(sys.argv[1]))
print(len(store.find([Entry("k" * 32, {"steps": 4})])))
try:
    store.check_writable()
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_read_only_store_is_readable(tmp_path):
    """Somebody without the right to write gets what is there, and one clear error for what is not."""
    put(tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and folder.stat().st_uid == 0 and str(folder).startswith("/tmp"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", READ_ONLY, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1\n")
    assert "Permission denied" in done.stdout


class Bare(CellWork):
    """Without what belongs to a process and not to a thread."""

    def __call__(self, job):
        journal = Checkpoints(Store(self.store), job.entry, 0)
        return Result.of(CellRunner(self.plugins).alone(job.cell, journal), {"finished": 0.0})


def test_two_drivers_share_a_store(tmp_path):
    """Two runs of one suite at once end with the same cells, each there once and sound."""
    suite = small()
    results = []

    def drive():
        results.append(list(run(suite, Store(tmp_path), Inline(), Bare(suite.plugins, tmp_path))))

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results[0]) == len(results[1]) == len(suite.cells)
    assert maintenance.verify(tmp_path) == (0, 2 * len(suite.cells))
    assert len(list(Store(tmp_path).files())) == len(suite.cells)
    assert not list(Store(tmp_path).unfinished())


def test_a_merge_takes_each_cell_once_and_prefers_what_did_not_fail(tmp_path):
    """Cells of both stores are there; a failed one gives way to one that is not."""
    put(tmp_path / "a", status="failed")
    put(tmp_path / "b")
    put(tmp_path / "b", key="j" * 32)
    joined = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert (joined.taken, joined.known) == (3, 0)
    both = Store(tmp_path / "both")
    assert not both.get(ENTRY).failures
    assert len(list(both.files())) == 2
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both").taken == 0


def test_a_merge_refuses_to_mix_times_of_different_machines(tmp_path):
    """The difference is named; other figures may come from anywhere."""
    put(tmp_path / "a", alone=True)
    put(tmp_path / "b", alone=True, key="j" * 32, machine={"cpu": "two", "gpu": None})
    with pytest.raises(UserError, match=r"2 different environments \(cpu: one and two"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both", mixed_timing=True).taken == 2
    put(tmp_path / "c", key="h" * 32, machine={"cpu": "three", "gpu": None})
    assert merge([tmp_path / "a", tmp_path / "c"], tmp_path / "other").taken == 2


def test_a_cache_is_listed_verified_and_pruned(tmp_path):
    """Damage is counted and set aside once; failed cells go when that is asked for."""
    put(tmp_path)
    put(tmp_path, key="j" * 32, status="failed")
    path = put(tmp_path, key="h" * 32)
    assert len(maintenance.contents(tmp_path).lines) == 3
    assert maintenance.verify(tmp_path) == (0, 3)
    path.write_bytes(b"?")
    assert maintenance.verify(tmp_path) == (1, 2)
    assert maintenance.verify(tmp_path) == (0, 2)
    assert maintenance.prune(tmp_path).files == 1
    assert maintenance.prune(tmp_path, failed=True).files == 1
    assert maintenance.prune(tmp_path, days=0).files == 1
    with pytest.raises(UserError, match="there is no store in"):
        maintenance.verify(tmp_path / "none")
