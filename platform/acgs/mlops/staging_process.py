"""Measures versions in a process of its own, which may crash or hang without harm to the one that asks.

The process computes a report or evidence, and nothing else: who asks, what they may do, signatures and the record stay
with the process that started it. It takes a request as JSON on standard input, and writes its answer to a file, because
libraries print to standard output.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, InvalidInputError, RateLimitedError, UnavailableError
from acgs.files import write_atomic
from acgs.governance.assembly import open_governor
from acgs.mlops.measuring import DiedError, MeasuringHere
from acgs.registry.catalogue import Record
from acgs.registry.opening import open_registry
from acgs.release.evidence import Evidence
from acgs.release.staging.finding import ValidationResult, could_not_run, overall
from acgs.release.staging.held_out import HeldOutRow, distinct_rows, rows_digest
from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.run import StagingReport, Told
from acgs.settings import Settings

RETRY_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 30
_MEASURE: Final = "loads, answers and comes to an end in a process of its own"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any]
    rows: list[HeldOutRow]


class _Stage(_Request):
    act: Literal["stage"] = "stage"
    reference: str
    limits: StagingLimits
    confidence: float


class _Compare(_Request):
    act: Literal["compare"] = "compare"
    baseline: str
    candidate: str
    seed: int
    timed_seconds: float


_REQUEST: Final = TypeAdapter[_Stage | _Compare](Annotated[_Stage | _Compare, Field(discriminator="act")])


class _Fault(BaseModel):
    """An error on its way back."""

    code: str
    message: str
    field: str | None = None
    unavailable: bool = False

    def as_error(self) -> AcgsError:
        kind = UnavailableError if self.unavailable else InvalidInputError if self.code == "validation" else AcgsError
        error = kind(self.message, field=self.field)
        error.code = self.code
        return error


class MeasuringApart:
    """One process a request, one request at a time: a second caller is told to come back."""

    def __init__(
        self, settings: Settings, *, module: str = "acgs.mlops.staging_process", seconds: float | None = None
    ) -> None:
        """
        Args:
            settings: what the process opens.
            module: what is started.
            seconds: after which it is killed; default: the settings'.
        """
        self._settings = settings
        self._module = module
        self._seconds = settings.staging_seconds if seconds is None else seconds
        self._busy = threading.RLock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stops = threading.Event()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Measuring`; one thread at a time."""
        if not self._busy.acquire(blocking=False):
            raise RateLimitedError(
                "another version is staged or compared at the moment; come back later", retry_after=RETRY_SECONDS
            )
        try:
            yield
        finally:
            self._busy.release()

    def stage(
        self, record: Record, rows: Sequence[HeldOutRow], limits: StagingLimits, *, confidence: float, told: Told
    ) -> StagingReport:
        """See `Measuring`. So is one that takes too long.

        Raises:
            RateLimitedError: another one is measured.
            UnavailableError: the process could not do its work.
        """
        request = _Stage(
            settings=_plain(self._settings),
            reference=record.facts.reference,
            rows=list(rows),
            limits=limits,
            confidence=confidence,
        )
        try:
            return StagingReport.model_validate(self._ask(request, told))
        except DiedError as error:
            result = could_not_run("health_check", _MEASURE, error.message, n=1)
            return _without_answers(result, request, self._settings)

    def compare(
        self, baseline: Record, candidate: Record, rows: Sequence[HeldOutRow], *, seed: int, timed_seconds: float
    ) -> Evidence:
        """See `Measuring`.

        Raises:
            RateLimitedError: another one is measured.
            DiedError: one of the two ended the process, or it took too long.
            AcgsError: a version cannot be had, or does not load.
        """
        request = _Compare(
            settings=_plain(self._settings),
            baseline=baseline.facts.reference,
            candidate=candidate.facts.reference,
            rows=list(rows),
            seed=seed,
            timed_seconds=timed_seconds,
        )
        return Evidence.model_validate(self._ask(request, lambda _: None))

    def close(self) -> None:
        """End the process that runs, if one does, and start no other."""
        self._stops.set()
        running = self._running
        if running is not None:
            running.kill()

    def _ask(self, request: _Stage | _Compare, told: Told) -> Any:
        try:
            with self.turn(), tempfile.TemporaryDirectory(prefix="acgs-staging-") as folder:
                answer = Path(folder) / "answer.json"
                self._run(orjson.dumps(request.model_dump(mode="json")), answer, told)
                found = orjson.loads(answer.read_bytes())
        except OSError as error:
            raise UnavailableError(f"no process could measure the version: {error.strerror}") from error
        if "fault" in found:
            raise _Fault.model_validate(found["fault"]).as_error()
        return found["found"]

    def _run(self, request: bytes, answer: Path, told: Told) -> None:
        progress, its_end = os.pipe()
        command = [sys.executable, "-m", self._module, str(answer), str(self._seconds), str(its_end)]
        with _Teller(progress, told):
            try:
                # Its own session: a signal from a terminal to this process is not one to it.
                process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(its_end,),
                )
            finally:
                os.close(its_end)
            self._follow(process, request)
        if process.returncode < 0:
            raise DiedError(f"the process that loaded it died (signal {-process.returncode})")
        if process.returncode or not answer.is_file():
            raise DiedError(
                f"the process that loaded it ended without an answer (exit {process.returncode}); see the log"
            )

    def _follow(self, process: subprocess.Popen[bytes], request: bytes) -> None:
        with process:
            self._running = process
            try:
                if self._stops.is_set():
                    process.kill()
                process.communicate(request, timeout=self._seconds)
            except subprocess.TimeoutExpired:
                raise DiedError(
                    f"the process that loaded it was not done within {self._seconds:g} s (ACGS_STAGING_SECONDS) and "
                    "was ended"
                ) from None
            finally:
                # Also when somebody at a terminal gives up: nobody would wait for it.
                process.kill()
                self._running = None
        if self._stops.is_set():
            raise UnavailableError("the service stops, so nothing was found out about the version; ask again later")


class _Teller:
    """Tells what the process writes of its progress, line by line, until it ends."""

    def __init__(self, progress: int, told: Told) -> None:
        self._thread = threading.Thread(target=self._tell, args=(progress, told), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @staticmethod
    def _tell(progress: int, told: Told) -> None:
        with open(progress, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                told(line.rstrip("\n"))


def _without_answers(result: ValidationResult, request: _Stage, settings: Settings) -> StagingReport:
    rows = distinct_rows(request.rows)
    return StagingReport(
        verdict=overall([result]),
        results=(result,),
        limits=request.limits,
        confidence=request.confidence,
        data_digest=rows_digest(rows),
        rows=len(rows),
        copies_left_out=len(request.rows) - len(rows),
        guard_bundle=open_governor(settings).bundle.version,
    )


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON, secrets included: they go through a pipe that nobody else reads."""
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in settings}


def answer_request(body: bytes, told: Told) -> dict[str, Any]:
    """Do what a request asks, in this process.

    Args:
        told: called with what is being done.

    Returns:
        `found`, a report or evidence; or `fault`.
    """
    try:
        request = _REQUEST.validate_json(body)
        settings = Settings(**request.settings)
        registry, constitution = open_registry(settings), load_locked(settings.constitution_path)
        here = MeasuringHere(lambda: registry, lambda: open_governor(settings, constitution=constitution))
        if isinstance(request, _Stage):
            record = registry.get(request.reference)
            report = here.stage(record, request.rows, request.limits, confidence=request.confidence, told=told)
            return {"found": report.model_dump(mode="json")}
        evidence = here.compare(
            registry.get(request.baseline),
            registry.get(request.candidate),
            request.rows,
            seed=request.seed,
            timed_seconds=request.timed_seconds,
        )
        return {"found": evidence.model_dump(mode="json")}
    except ValidationError:
        return {"fault": _Fault(code="error", message="the request to the process cannot be read").model_dump()}
    except AcgsError as error:
        unavailable = isinstance(error, UnavailableError)
        fault = _Fault(code=error.code, message=error.message, field=error.field, unavailable=unavailable)
        return {"fault": fault.model_dump()}


def main(arguments: Sequence[str]) -> None:
    """Entry point: `python -m acgs.mlops.staging_process <answer> <seconds> <file descriptor of progress>`."""
    answer, seconds, progress = Path(arguments[0]), float(arguments[1]), int(arguments[2])
    # Were the process that asked gone, nobody else would end this one; the alarm does, in foreign code too.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds) + _GRACE_SECONDS)

    def told(text: str) -> None:
        with suppress(OSError):
            os.write(progress, f"{text}\n".encode())

    write_atomic(answer, orjson.dumps(answer_request(sys.stdin.buffer.read(), told)))
    # Threads of libraries must not hold the answer back.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
