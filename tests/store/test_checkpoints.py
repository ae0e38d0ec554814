import dataclasses
import functools
import io

import pytest
import torch

from estbench import load_estimator
from estbench.engine.base import Bench
from estbench.engine.training import recorded_step
from estbench.errors import DamagedError
from estbench.measures.gradient import Gradient
from estbench.measures.training import Training
from estbench.plugins.registry import load_task
from estbench.store.cell_file import Entry
from estbench.store.checkpoints import Checkpoints, pack, unpack
from estbench.store.store import Store

# what could be forgotten: a moving average, a network with an optimiser of its own, a schedule, views of the data
STATEFUL = ["reinforce_moving_average", "nvil", "relax", "gumbel_softmax[rate=0.01]"]
TASK = "vae[units=4,batch_size=40]"


class Killed(KeyboardInterrupt):
    """The process ends here."""


def bench(folder, task=TASK, steps=20, seed=0):
    made = load_task(task)
    baseline = functools.partial(load_estimator, made.baseline)
    place = Bench(made, seed, torch.device("cpu"), torch.float32, baseline, None, cell="c")
    journal = Checkpoints(Store(folder), Entry("key", {"steps": steps}), 0)
    return dataclasses.replace(place, journal=journal)


def train(folder, name, steps=20, evaluations=4, stop=None, task=TASK):
    """Rows without seconds; ``stop`` ends the process after so many checkpoints."""
    where = bench(folder, task, steps)
    if stop is not None:
        keep, left = where.journal.keep, iter(range(stop))

        def keep_or_die(state, *, done=False):
            if next(left, None) is None:
                raise Killed
            keep(state, done=done)

        where.journal.keep = keep_or_die
    rows = Training(steps, evaluations, 5, 50).rows(where, {name: functools.partial(load_estimator, name)})
    return [(row.metric, row.step, row.value, row.low, row.n) for _, row in rows]


@pytest.mark.parametrize("name", STATEFUL)
def test_a_killed_training_ends_with_the_numbers_of_an_uninterrupted_one(name, tmp_path):
    """Killed twice, in the middle of an epoch and after it, it goes on and ends the same to the last bit."""
    whole = train(tmp_path / "whole", name, steps=35)
    for stop in (7, 23 + 1):
        with pytest.raises(Killed):
            train(tmp_path / "killed", name, steps=35, stop=stop)
    assert train(tmp_path / "killed", name, steps=35) == whole


def test_going_on_is_not_starting_again(tmp_path):
    """After a kill only the steps that are missing are trained, counted where they are not replayed."""
    with pytest.raises(Killed):
        train(tmp_path, "rloo", stop=12)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        forward = type(load_estimator("rloo")).forward
        patch.setattr(type(load_estimator("rloo")), "forward", lambda *a: calls.append(1) or forward(*a))
        patch.setattr(recorded_step, "WARM_UP", 100)
        train(tmp_path, "rloo")
    assert len(calls) == 20 - 12


def test_more_steps_go_on_from_fewer(tmp_path):
    """Of 40 steps after 20, 20 are trained; numbers are those of 40 in one go, and the shorter state is replaced."""
    train(tmp_path / "more", "nvil", steps=20)
    trained = train(tmp_path / "more", "nvil", steps=40)
    assert trained == train(tmp_path / "once", "nvil", steps=40)
    assert [path.name for path in Store(tmp_path / "more").states()] == ["steps=40.pt"]


def test_a_shorter_run_off_the_grid_is_kept_in_full(tmp_path):
    """Where 30 steps would stop where 20 did not, what there is remains, and the end is that of 30."""
    train(tmp_path / "more", "rloo", steps=20, evaluations=2)
    trained = train(tmp_path / "more", "rloo", steps=30, evaluations=2)
    once = train(tmp_path / "once", "rloo", steps=30, evaluations=2)
    assert [row for row in trained if row[1] == 30] == [row for row in once if row[1] == 30]
    assert sorted({row[1] for row in trained}) == [0, 10, 20, 30]


def test_fewer_steps_than_there_are_start_anew(tmp_path):
    """A state beyond what is asked for is of no use, and stays."""
    train(tmp_path / "less", "rloo", steps=40)
    assert train(tmp_path / "less", "rloo", steps=20) == train(tmp_path / "once", "rloo", steps=20)
    assert sorted(path.name for path in Store(tmp_path / "less").states()) == ["steps=20.pt", "steps=40.pt"]


def test_a_task_with_an_order_of_its_own_goes_on_too(tmp_path):
    """Its minibatches are taken again from the beginning."""
    task = load_task(TASK)

    class Own(type(task)):
        def minibatches(self, train, generator):
            while True:
                index = torch.randint(len(train[0]), (10,), generator=generator)
                yield self.view(tuple(x[index] for x in train), generator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(train.__globals__, "load_task", lambda _: Own(units=4))
        whole = train(tmp_path / "whole", "rloo")
        with pytest.raises(Killed):
            train(tmp_path / "killed", "rloo", stop=9)
        assert train(tmp_path / "killed", "rloo") == whole


def measure(folder, replicates, chunk):
    where = dataclasses.replace(bench(folder, "toy"), journal=Checkpoints(Store(folder), Entry("k", {}), 0))
    where.journal._path = where.journal._path.with_name(f"replicates={replicates}.pt")
    names = {"rloo": functools.partial(load_estimator, "rloo")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("estbench.engine.moments.reference.chunk_size", lambda *_: chunk)
        rows = Gradient(replicates, 64, after=3).rows(where, names)
        return {(row.metric, row.step): (row.value, row.n) for _, row in rows}


def test_more_replicates_are_added_to_those_that_are_there(tmp_path):
    """64 and then 256 are the 256 of one go, where a chunk ends with the first; and only the new ones are drawn."""
    measure(tmp_path / "more", 64, chunk=2)
    more, once = measure(tmp_path / "more", 256, chunk=2), measure(tmp_path / "once", 256, chunk=2)
    assert more.keys() == once.keys()
    for key, (value, n) in once.items():
        assert more[key] == (pytest.approx(value, rel=1e-6, abs=1e-12), n)
    assert more["variance/logits", 0][1] == 256


def test_a_state_is_data_alone_and_damage_is_noticed():
    """What is kept loads with ``weights_only``; one flipped bit anywhere in it is an error."""
    content = pack({"step": 3, "rows": [{"metric": "a", "value": 0.5}], "model": {"w": torch.arange(1000.0)}})
    assert set(torch.load(io.BytesIO(content), weights_only=True)) == {"sha256", "state"}
    assert unpack(content)["step"] == 3
    place = content.index(torch.arange(500.0, 502.0).numpy().tobytes())
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    with pytest.raises(DamagedError):
        unpack(flipped)
    with pytest.raises(DamagedError):
        unpack(content[: len(content) // 2])


def test_a_damaged_state_is_set_aside_and_training_starts_again(tmp_path):
    """The numbers are the same all the same."""
    whole = train(tmp_path, "rloo")
    state = next(Store(tmp_path).states())
    state.write_bytes(state.read_bytes()[:1000])
    assert train(tmp_path, "rloo") == whole
    assert len(list((tmp_path / "damaged").iterdir())) == 1
