"""One thread per loaded version: requests that wait while the model works go through it together.

Nobody waits for a batch to fill. A request that finds the model idle is answered at once; the busier the model, the
larger its batches. A lone request may be answered without the thread, where the model takes less time than the way to
the thread and back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from acgs.errors import AcgsError, UnavailableError
from acgs.serving.runtimes.runtime import ModelFailedError, Predictions
from acgs.serving.served import ServedVersion

MAX_JOINED: Final = 256
"""Instances that go through a model at once, where several requests are joined."""
QUICK_SECONDS: Final = 5e-4
"""About what it costs to hand a request to a thread and its answer back, on a busy machine."""
LONG_SECONDS: Final = 0.05
"""A version that once took so long is not asked outside its thread again."""
FEW_INSTANCES: Final = 16
"""Instances of a request that may be answered outside the thread."""
_MEMORY: Final = 16
"""Answers over which the usual time is a running mean."""
_UNKNOWN_SECONDS: Final = LONG_SECONDS
"""What a model is taken to need at first: some 70 quick answers show that it is quick."""


class RetiredError(UnavailableError):
    """The version has left its slot."""

    code = "retired"


@dataclass(slots=True)
class _Job:
    instances: Sequence[Any]
    parameters: Mapping[str, Any]
    answer: Future[Predictions] = field(default_factory=Future)


class Worker:
    """Asks one version from a thread of its own."""

    def __init__(self, served: ServedVersion, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.served = served
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._retired = False
        self._model = threading.Lock()
        """Held by whoever asks the model."""
        self._brief = served.brief
        self._usual_seconds = _UNKNOWN_SECONDS
        self._open = 0
        """Requests handed to the thread and not answered yet."""
        name = f"model-{served.model}-{served.version}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Future[Predictions]:
        """The answer to come. It fails with what `ServedVersion.check` and `predict` raise.

        Raises:
            RetiredError: the version was retired.
        """
        job = _Job(instances, parameters)
        with self._lock:
            self._require_held()
            self._open += 1
            self._jobs.put(job)
        job.answer.add_done_callback(self._ended)
        return job.answer

    def ask_here(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions | None:
        """The answer, worked out in the calling thread; None where that might take long, or others wait for the model.

        Raises:
            AcgsError: as `submit` and its answer.
        """
        quick = self._brief and len(instances) <= FEW_INSTANCES and self._usual_seconds <= QUICK_SECONDS
        if not quick or self._open or not self._model.acquire(blocking=False):
            return None
        started = self._clock()
        try:
            # Read while the model is held, so that it cannot be let go in the meantime.
            self._require_held()
            self.served.check(instances)
            return self._predicted(instances, parameters, since=started)
        finally:
            # Also where the check refused: it held the caller up all the same.
            self._brief = self._brief and self._clock() - started <= LONG_SECONDS
            self._model.release()

    def retire(self) -> None:
        """Take nothing more. What was taken is answered first; then the model is let go, by its own thread."""
        with self._lock:
            if not self._retired:
                self._retired = True
                self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a retired worker's end; whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs, ended = self._gathered(first)
            with self._model:
                self._answer([job for job in jobs if self._checked(job)])
            if ended:
                break
        with self._model:
            self.served.close()

    def _require_held(self) -> None:
        if self._retired:
            raise RetiredError(f"version {self.served.version} has left the slot")

    def _ended(self, _answer: Future[Predictions]) -> None:
        with self._lock:
            self._open -= 1

    def _predicted(
        self, instances: Sequence[Any], parameters: Mapping[str, Any], *, since: float | None = None
    ) -> Predictions:
        """`since`: when the caller began, whose check of the instances counts, too."""
        started = self._clock() if since is None else since
        found = self.served.predict(instances, parameters)
        if len(instances) <= FEW_INSTANCES:
            # Answers only: what a model refuses takes it no time.
            seconds = self._clock() - started
            self._usual_seconds += (seconds - self._usual_seconds) / _MEMORY
            self._brief = self._brief and seconds <= LONG_SECONDS
        return found

    def _gathered(self, first: _Job) -> tuple[list[_Job], bool]:
        """The jobs that wait and may go together with the first; whether the end was among them."""
        jobs, count = [first], len(first.instances)
        while self.served.joins and count < MAX_JOINED:
            try:
                following = self._jobs.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return jobs, True
            jobs.append(following)
            count += len(following.instances)
        return jobs, False

    def _checked(self, job: _Job) -> bool:
        """Whether a job may go on; one whose instances are wrong is answered here and spoils no other."""
        if not job.answer.set_running_or_notify_cancel():
            return False
        try:
            self.served.check(job.instances)
        except AcgsError as error:
            job.answer.set_exception(error)
            return False
        return True

    def _answer(self, jobs: list[_Job]) -> None:
        groups: list[list[_Job]] = []
        for job in jobs:
            together = next((group for group in groups if group[0].parameters == job.parameters), None)
            if together is None:
                groups.append([job])
            else:
                together.append(job)
        for group in groups:
            if not self._answered_together(group):
                for job in group:
                    self._answered_together([job])

    def _answered_together(self, group: list[_Job]) -> bool:
        """Ask for a whole group. False where several were joined and the model refused: it may be one job's fault."""
        joined = [instance for job in group for instance in job.instances]
        try:
            found = self._predicted(joined, group[0].parameters)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must hear of it and the thread go on
            if len(group) > 1:
                return False
            known = isinstance(error, AcgsError)
            group[0].answer.set_exception(error if known else ModelFailedError(type(error).__name__))
            return True
        start = 0
        for job in group:
            end = start + len(job.instances)
            job.answer.set_result(found.part(start, end))
            start = end
        return True
