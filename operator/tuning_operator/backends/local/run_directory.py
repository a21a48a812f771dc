"""The files of one run, and what is where.

    job.yaml          the manifest
    events.jsonl      the log: events and decisions, one a line
    key.pem           private half of the key that control messages are signed with (mode 600)
    lock              who drives this run
    trials/0007/
        process.json  the newest process
        output.log    what the process printed, all attempts one after the other
        result.json   the trial's own final word
        history.jsonl every evaluation that was read
        checkpoint/   what the trial keeps

`report.html` and `results.csv` are written by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from trial_protocol.control import KeyPair, generate_key_pair
from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import TrialResult
from tuning_operator.api import yaml_text
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.local.event_log import read_log, write_whole
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import Event
from tuning_operator.engine.view import JobView
from tuning_operator.errors import BackendError, LogError
from tuning_operator.scrape.records import observations_of

_BEFORE_THE_RUN: Final = frozenset({"lock", "key.pem", "key.pem.part", "job.yaml.part"})
"""What a process may have left that was killed before there was a run."""


class TrialDirectory:
    """The files of one trial; the directory is made when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.process: Final = path / "process.json"
        self.output: Final = path / "output.log"
        self.result: Final = path / "result.json"
        self.history: Final = path / "history.jsonl"
        self.checkpoint: Final = path / "checkpoint"

    def clear_for_attempt(self) -> None:
        """Make the directory, and forget the final word of an earlier attempt.

        Raises:
            BackendError: It cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.result.unlink(missing_ok=True)
        except OSError as error:
            raise BackendError(f"{self.path} cannot be written: {error.strerror}") from None

    def last_written(self) -> float:
        """Return when anything here was last written, in seconds since the epoch: the trial was alive then."""
        times = [path.stat().st_mtime for path in (self.output, self.result, self.history) if path.exists()]
        return max(times, default=0.0)

    def read_history(self) -> list[HistoryRecord]:
        """Return every evaluation that was read; lines that were cut off or cannot be read are left out."""
        try:
            lines = self.history.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        records: list[HistoryRecord] = []
        for line in lines:
            try:
                records.append(HistoryRecord.from_json(line))
            except ProtocolError:
                continue
        return records

    def append_history(self, records: Iterable[HistoryRecord]) -> None:
        """Add evaluations.

        Raises:
            BackendError: They cannot be written.
        """
        text = "".join(record.to_json() + "\n" for record in records)
        try:
            is_torn = self.history.exists() and not self.history.read_bytes().endswith(b"\n")
            with self.history.open("a") as file:
                file.write(("\n" if is_torn else "") + text)
        except OSError as error:
            raise BackendError(
                f"{self.history} cannot be written: {error.strerror}; make room and continue with --resume"
            ) from None

    def read_result(self, *, attempt: int) -> TrialResult | None:
        """Return the trial's final word about this attempt; None if it said none that can be read."""
        try:
            result = TrialResult.from_json(self.result.read_text(errors="replace"))
        except (OSError, ProtocolError):
            return None
        return result if result.attempt == attempt else None


class RunDirectory:
    """One run, for reading; the runner also writes through it."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.manifest: Final = path / "job.yaml"
        self.log: Final = path / "events.jsonl"
        self.key: Final = path / "key.pem"
        self.lock: Final = path / "lock"

    def trial(self, number: int) -> TrialDirectory:
        """Return the directory of a trial."""
        return TrialDirectory(self.path / "trials" / f"{number:04d}")

    @property
    def holds_a_run(self) -> bool:
        """Whether there is a run to continue."""
        return self.manifest.exists()

    def job(self) -> TuningJob:
        """Return the job as it was last run.

        Raises:
            LogError: There is no run here.
            ManifestError: The manifest was changed by hand, and has mistakes.
        """
        try:
            return parse_manifest(self.manifest.read_text(), source=str(self.manifest))
        except OSError as error:
            raise LogError(
                f"{self.path} holds no run: {self.manifest.name} cannot be read ({error.strerror})"
            ) from None

    def records(self) -> list[Event]:
        """Return the log; a line that is being written is left out.

        Raises:
            LogError: A line cannot be read.
        """
        return read_log(self.log)

    def history(self, trial: int) -> list[HistoryRecord]:
        """Return every evaluation that was read of a trial, oldest first."""
        return self.trial(trial).read_history()

    def view(self) -> JobView:
        """Return the picture that the log gives, with the newest evaluations of running trials.

        Raises:
            LogError: The log cannot be read.
        """
        job, records = self.job(), self.records()
        engine = Engine.restore(name=job.metadata.name, spec=job.spec, records=records)
        now = max((record.time for record in records), default=0.0)
        for trial in engine.active():
            observations = observations_of(
                self.history(trial), objective=job.spec.objective.metric, axis=job.spec.axis.metric
            )
            if observations:
                now = max(now, observations[-1].time)
                engine.observe(trial=trial, observations=observations, pulse=None, time=now)
        return engine.view(time=now)

    def create(self) -> None:
        """Make the directory for a new run.

        Raises:
            BackendError: It cannot be made, or holds something already; the text says what to do.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            found = sorted(entry.name for entry in self.path.iterdir() if entry.name not in _BEFORE_THE_RUN)
        except OSError as error:
            raise BackendError(f"{self.path} cannot be used: {error.strerror}; choose another --directory") from None
        if self.holds_a_run:
            raise BackendError(
                f"{self.path} holds a run already; continue it with --resume, or choose another --directory"
            )
        if found:
            raise BackendError(
                f"{self.path} is not empty ({', '.join(found[:3])}) and holds no run; choose another --directory"
            )

    def write_job(self, job: TuningJob) -> None:
        """Write the manifest; from here on there is a run.

        Raises:
            BackendError: It cannot be written.
        """
        data = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for kind, rules in (("stopping", job.spec.stopping), ("control", job.spec.control)):
            for settings, written in zip(rules, data["spec"].get(kind, ()), strict=False):
                written["rule"] = settings.model_dump()["rule"]
        identity = {"apiVersion": job.api_version, "kind": job.kind}
        write_whole(self.manifest, yaml_text.write({**identity, **data}))

    def key_pair(self) -> KeyPair:
        """Return the key of this run; it is drawn when it is first asked for.

        Raises:
            BackendError: The file cannot be written, or is no such key.
        """
        try:
            private = self.key.read_text()
        except FileNotFoundError:
            pair = generate_key_pair()
            write_whole(self.key, pair.private_pem, mode=0o600)
            return pair
        except OSError as error:
            raise BackendError(f"{self.key} cannot be read: {error.strerror}") from None
        try:
            public = load_pem_private_key(private.encode(), password=None).public_key()
        except (ValueError, TypeError) as error:
            raise BackendError(f"{self.key} is no private key ({error}); remove it and a new one is made") from None
        public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return KeyPair(private_pem=private, public_pem=public_pem)
