"""Local: measures cells in worker processes of this machine, and afterwards timing cells one at a time."""

import contextlib
import importlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from estbench.errors import reason
from estbench.execution.executors.base import Executor, Failure, Job, Outcome, Work, alone_last, altered
from estbench.runtime.descendants import descendants, end
from estbench.runtime.guard import DeviceLostError, out_of_time


class Local(Executor):
    """Measures cells in worker processes.

    Every worker has a pool of its own, so that it is known which cell killed it, and only that cell fails.

    Args:
        workers: number of processes; 0 for one per core, or one per GPU.
        gpus: number of GPUs that are distributed to the workers, each of which sees a single GPU; 0 for none.
    """

    def __init__(self, workers: int = 0, gpus: int = 0) -> None:
        if workers < 0 or gpus < 0:
            raise ValueError(f"workers and GPUs cannot be negative; got {workers=}, {gpus=}")
        self.workers = workers or gpus or joblib.cpu_count()
        self.gpus = gpus

    def refusal(self, device: str) -> str:
        """A worker with a GPU of its own sees no other one."""
        if not self.gpus or ":" not in device:
            return ""
        return f"every worker sees one GPU, as its only one, so its cells run on --device cuda; got --device {device}"

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its outcome when it is done."""
        shared, alone = alone_last(jobs)
        slots = [_Slot(self._environment(index)) for index in range(min(self.workers, max(len(shared), 1)))]
        try:
            yield from _spread(slots, shared, work)
            for slot in slots[1:]:
                slot.stop()
            yield from _spread(slots[:1], alone, work)
        finally:
            for slot in slots:
                slot.stop()

    def _environment(self, index: int) -> dict[str, str]:
        if not self.gpus:
            return {}
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        names = visible or [str(number) for number in range(self.gpus)]
        return {"CUDA_VISIBLE_DEVICES": names[index % min(self.gpus, len(names))]}


class _Slot:
    """A place for one worker process, which is replaced when it dies."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._pool: ProcessPoolExecutor | None = None
        self._ready: Future[int] | None = None
        self._since = 0.0
        self.job: Job | None = None
        self.future: Future[Outcome] | None = None

    def start(self, job: Job, work: Work) -> None:
        if self._pool is None:
            # a worker whose memory has grown is replaced when its job is done, so no result is lost
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            self._pool = ProcessPoolExecutor(1, initializer=_prepare, initargs=(os.getpid(),), env=self._environment)
            with _uninterrupted():
                self._ready = self._pool.submit(_warm)
        self.job, self.future = job, self._pool.submit(_call, work, job)
        self._since = time.monotonic() if self._ready is not None and self._ready.done() else 0.0

    def deadline(self, timeout: float) -> float:
        """The time at which its job is stopped; it does not run while a worker is still starting."""
        if not self._since and self._ready is not None and self._ready.done():
            self._since = time.monotonic()
        return (self._since or time.monotonic()) + timeout

    def outcome(self) -> Outcome:
        """The outcome of its job, which is done."""
        assert self.future is not None
        try:
            found = self.future.result()
        except BrokenProcessPool as error:
            self.stop()
            return Failure(_death(str(error)), self._seconds)
        except DeviceLostError as error:
            self.stop()
            return Failure(str(error), self._seconds)
        except Exception as error:  # noqa: BLE001  (what cannot be pickled or unpickled raises anything)
            self.stop()
            return Failure(reason(error), self._seconds)
        if altered(found):
            # the next cell gets a process that was not changed
            self.stop()
        return found

    def give_up(self, timeout: float) -> Outcome:
        """Stops its job, whose time has run out."""
        self.stop()
        return Failure(out_of_time(timeout), self._seconds)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._since if self._since else 0.0

    def stop(self) -> None:
        """Ends the worker and the processes that it has started."""
        if self._pool is None:
            return
        worker = self._ready.result() if self._ready and self._ready.done() and not self._ready.exception() else None
        started = descendants(worker) if worker else set[int]()
        self._pool.shutdown(wait=False, kill_workers=True)
        end(started)
        if worker:
            _end_group(worker)
        self._pool = self._ready = None


def _spread(slots: Sequence[_Slot], jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
    """Keeps the slots busy until all jobs are done."""
    waiting, idle = list(reversed(jobs)), list(slots)
    busy: list[_Slot] = []
    while waiting or busy:
        while waiting and idle:
            slot = idle.pop()
            slot.start(waiting.pop(), work)
            busy.append(slot)
        for slot, outcome in _finished(busy, work.timeout):
            busy.remove(slot)
            idle.append(slot)
            assert slot.job is not None
            yield slot.job, outcome


def _finished(busy: Sequence[_Slot], timeout: float | None) -> list[tuple[_Slot, Outcome]]:
    """The slots whose jobs are done or out of time; waits until there are any, or for a while."""
    patience = None
    if timeout is not None:
        patience = max(0.0, min(1.0, min(slot.deadline(timeout) for slot in busy) - time.monotonic()))
    wait([slot.future for slot in busy if slot.future], timeout=patience, return_when=FIRST_COMPLETED)
    found = [(slot, slot.outcome()) for slot in busy if slot.future and slot.future.done()]
    done = {id(slot) for slot, _ in found}
    if timeout is not None:
        late = [slot for slot in busy if id(slot) not in done and slot.deadline(timeout) <= time.monotonic()]
        found += [(slot, slot.give_up(timeout)) for slot in late]
    return found


def _death(message: str) -> str:
    """The reason why a worker died, from the message of its pool."""
    codes = message.partition("exit codes of the workers are ")[2].partition("\n")[0].strip("{}. ")
    hint = " (out of memory?)" if "SIGKILL" in codes else ""
    return f"its worker process died{hint}: {codes or message.splitlines()[0]}"


def _warm() -> int:
    """Imports what every cell needs before the time of a cell starts; returns the number of the worker's process."""
    importlib.import_module("estbench.execution.cell_runner")
    from estbench.runtime.process_state import settle  # noqa: PLC0415  (imports torch, in a worker)

    settle()
    return os.getpid()


def _call(work: Work, job: Job) -> Outcome:
    """In a worker: measures a job; its exceptions are wrapped, so that the driver does not take them for its own."""
    try:
        return work(job)
    except KeyboardInterrupt as error:
        # Ctrl-C does not reach a worker
        return Failure(reason(error))


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds requests to end back while a worker is started, which would otherwise complain that it is half started.

    They are answered at the end of the context. The worker itself holds Ctrl-C back until it leaves it to the driver.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    # of a stack, all is put back even if a request arrives in between
    with contextlib.ExitStack() as stack:
        for number, handler in held.items():
            stack.callback(signal.signal, number, handler)
            signal.signal(number, lambda received, _: asked.append(received))
        # the mask is inherited by the worker; it does not suffice here, as another thread may receive the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        yield
    for received in asked[:1]:
        held[signal.Signals(received)](received, None)


def _prepare(driver: int) -> None:
    """In a worker: leaves Ctrl-C to the driver, and ends with it and with the processes that the worker has started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_follow, args=(driver,), daemon=True).start()


def _follow(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(1)
    _end_group(os.getpid())
    os._exit(1)


def _end_group(worker: int) -> None:
    """Ends the processes of a worker's group, including those whose parent has ended."""
    with contextlib.suppress(AttributeError, ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
