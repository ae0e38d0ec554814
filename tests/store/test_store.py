import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from estbench.errors import DamagedError, UserError
from estbench.execution.cell_runner import CellRunner
from estbench.execution.executors.inline import Inline
from estbench.execution.runner import CellWork, run
from estbench.store import maintenance
from estbench.store.cell_file import Entry, read
from estbench.store.checkpoints import Checkpoints
from estbench.store.files import write_atomically
from estbench.store.merge import merge
from estbench.store.records import COLUMNS, Result
from estbench.store.store import Store
from tests.support.plans import plan_of

ROW = {
    **dict.fromkeys(("seed", "step", "n", "replicas"), 0),
    **dict.fromkeys(("seconds", "value", "low", "high"), 0.0),
    "reference": False,
}
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


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.long)])
def test_every_flipped_bit_is_noticed(tmp_path, every):
    """Whichever byte is damaged, in data, footer or metadata, the file is found damaged, set aside and not deleted."""
    path = put(tmp_path)
    content = path.read_bytes()
    for place in (*range(0, len(content), every), len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        with pytest.raises(DamagedError):
            read(path)
    assert maintenance.prune(tmp_path, failed=True).files == 0
    assert [file.read_bytes() for file in (tmp_path / "damaged").iterdir()] == [path_content(content)]


def path_content(content):
    """A file whose last byte is damaged as the loop above leaves it."""
    place = len(content) - 1
    return content[:place] + bytes([content[place] ^ (1 << place % 8)])


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


def test_files_of_older_versions_are_pruned_and_all_others_left_alone(tmp_path):
    """Cells of an older version go when asked; those of newer ones, and what somebody else keeps there, stay."""
    path = put(tmp_path)
    name = "a" * 32
    older = [
        tmp_path / f"{name}.parquet",
        path.with_name(f"{name}-steps=4.parquet"),
        path.with_name(f"{name}.v2.parquet"),
    ]
    others = [path.with_name(f"{name}-steps=4.v99.parquet"), path.with_name("my.parquet"), path.with_name("notes.txt")]
    for file in (*older, *others):
        file.write_bytes(path.read_bytes())
    assert "3 files that no run uses" in maintenance.contents(tmp_path).total
    assert "3 of newer versions or of somebody else" in maintenance.contents(tmp_path).total
    assert maintenance.prune(tmp_path, dry_run=True).files == 3
    assert maintenance.prune(tmp_path).files == 3
    assert [file.exists() for file in (*older, *others, path)] == [False] * 3 + [True] * 4


def strange(path):
    """What may have the name of a cell's file, and is none."""
    path.mkdir()
    yield path.with_name(path.name.replace("k", "a"))
    for number, target in (("b", "nowhere"), ("c", path.name.replace("k", "c"))):
        link = path.with_name(path.name.replace("k", number))
        link.symlink_to(target)
    os.mkfifo(path.with_name(path.name.replace("k", "d")))
    path.with_name(path.name.replace("k", "e")).write_bytes(b"PAR1 and then the power failed")


@pytest.mark.parametrize("command", [maintenance.contents, maintenance.verify, maintenance.prune])
def test_folders_links_and_pipes_in_place_of_cells_are_named_and_set_aside(tmp_path, capsys, command):
    """Whatever lies where a cell should, each is one line on stderr, and the cells that are sound are served."""
    sound = put(tmp_path, key="f" * 32)
    list(strange(sound.with_name(sound.name.replace("f", "k"))))
    command(tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert [line.split("(")[1].split(")")[0] for line in said] == [
        "it is a link that leads nowhere",
        "it is a link that leads nowhere",
        "it is no regular file",
        "it is cut off, or is no file of a cell",
        "it is a folder",
    ]
    assert list(Store(tmp_path).files()) == [sound]
    assert (tmp_path / "damaged" / f"cells-{'k' * 32}-steps=4.v5.parquet").is_dir()


def test_pruning_a_store_with_a_truncated_cell_removes_the_rest(tmp_path, capsys):
    """A cell that a crash cut off is named and set aside; failed cells and old ones go as if it were not there."""
    cut = put(tmp_path)
    cut.write_bytes(cut.read_bytes()[:500])
    put(tmp_path, key="f" * 32, status="failed")
    kept = put(tmp_path, key="a" * 32)
    assert maintenance.prune(tmp_path, failed=True, days=1).files == 1
    assert "it is cut off" in capsys.readouterr().err
    assert list(Store(tmp_path).files()) == [kept]


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
from estbench.store.files import write_atomically
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
from estbench.store.cell_file import Entry
from estbench.store.store import Store
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
        records = CellRunner(self.plugins).alone(job.cell, journal)
        return Result.of([record.columns for record in records], {"finished": 0.0})


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
    """The difference is named; other values may come from anywhere."""
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
