"""Read and write the archive: every answer of a carrier, one object per sync run, in object storage.

An object is JSON lines, gzip: a line with the facts of the run, then a line for each answer. Its key holds provider,
day and start of the run::

    <folder>/<integration>/<service provider id>/<local day>/<start of the run, UTC>_run_<run id>.jsonl.gz

The folder is anything that behaves like `pathlib.Path`: on S3 or local, as the caller chooses.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo

from amop.carriers.page import CarrierPage

FORMAT = 1
COMPRESSION_LEVEL = 6
COMPLETE, INCOMPLETE = ".jsonl.gz", ".incomplete.jsonl.gz"
OBJECT_NAME = re.compile(r"(\d{8}T\d{6}Z)_run_(\d+)\.jsonl\.gz")


class ArchiveError(RuntimeError):
    """An object of the archive cannot be read; the message names it and says what to do."""


class ArchivePath(Protocol):
    """A folder or an object: `pathlib.Path` locally, Airflow's ``ObjectStoragePath`` everywhere else."""

    @property
    def name(self) -> str:
        """Last part of the key."""
        ...

    def __truediv__(self, key: str, /) -> Self:
        """Return the path below this one."""
        ...

    def open(self, mode: str = ..., /) -> Any:
        """Open the object."""
        ...

    def iterdir(self) -> Iterator[Self]:
        """Yield the entries of the folder."""
        ...

    def mkdir(self, *, parents: bool, exist_ok: bool) -> None:
        """Create the folder, where the storage has folders."""
        ...

    def unlink(self) -> None:
        """Delete the object."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """The facts of a run in its archive object."""

    run_id: int
    integration: str
    family: str
    """API family of the carrier, whose client can read the answers."""
    service_provider_id: int
    service_provider_name: str
    time_zone: str
    """Time zone of the provider; the day of the key is a local day."""
    started_at: datetime
    usage_as_of: datetime | None
    """When the device list was completed: the moment that the usage belongs to. None in an incomplete run."""
    cycle_start: datetime
    cycle_end: datetime
    is_full: bool
    list_is_exact: bool
    is_complete: bool
    """True when every answer of the run is in the object."""

    @property
    def day(self) -> date:
        """Local day on which the run started: the day of the key."""
        return self.started_at.astimezone(ZoneInfo(self.time_zone)).date()

    def key(self) -> tuple[str, ...]:
        """Return the parts of the object's key below the archive's folder, always the same for a run."""
        name = f"{self.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_run_{self.run_id}"
        suffix = COMPLETE if self.is_complete else INCOMPLETE
        return self.integration, str(self.service_provider_id), self.day.isoformat(), name + suffix


def write_run(folder: ArchivePath, run: ArchivedRun, pages: Iterable[CarrierPage]) -> tuple[str, int]:
    """Write a run's object, over an existing one; return its key and the number of answers.

    On S3 an object appears complete or not at all. In a local folder a killed writer leaves a truncated object, which
    `open_run` refuses and the next try overwrites.
    """
    parts = run.key()
    target_folder = folder
    for part in parts[:-1]:
        target_folder = target_folder / part
    target_folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        (target_folder / parts[-1]).open("wb") as target,
        gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=COMPRESSION_LEVEL, mtime=0) as lines,
    ):
        lines.write(_line({"format": FORMAT} | _fields(run)))
        for page in pages:
            lines.write(_line(_fields(page)))
            count += 1
    return "/".join(parts), count


def _fields(record: ArchivedRun | CarrierPage) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=_iso).encode() + b"\n"


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be archived")


@contextmanager
def open_run(path: ArchivePath) -> Iterator[tuple[ArchivedRun, Iterator[CarrierPage]]]:
    """Yield a run and its answers in the order in which they were written, one in memory at a time.

    Raises:
        ArchiveError: the object is truncated, damaged or of another format; raised before or while it is read.
    """
    with path.open("rb") as source:
        content = io.BytesIO(source.read())
    with gzip.GzipFile(fileobj=content) as lines:
        documents = _documents(path, lines)
        try:
            run = _run_of(next(documents))
        except (StopIteration, KeyError, TypeError, ValueError):
            raise ArchiveError(f"{path} is not an archived run of format {FORMAT}") from None
        yield run, map(_page_of, documents)


def _documents(path: ArchivePath, lines: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    try:
        for line in lines:
            yield json.loads(line)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ArchiveError(
            f"{path}: the archived run cannot be read to its end ({type(error).__name__}). If its archive_pages task "
            "was killed, clear that task; `maintenance` also writes the object again"
        ) from None


def _page_of(document: dict[str, Any]) -> CarrierPage:
    return CarrierPage(**document | {"received_at": datetime.fromisoformat(document["received_at"])})


def _run_of(head: dict[str, Any]) -> ArchivedRun:
    if head.pop("format") != FORMAT:
        raise ValueError("format")
    for name in ("started_at", "usage_as_of", "cycle_start", "cycle_end"):
        head[name] = None if head[name] is None else datetime.fromisoformat(head[name])
    return ArchivedRun(**head)


def complete_runs(
    folder: ArchivePath,
    *,
    integration: str,
    service_provider_id: int,
    time_zone: str,
    started_from: datetime,
    started_before: datetime,
) -> list[ArchivePath]:
    """Return the objects of a provider's complete runs that started in ``[started_from, started_before)``, in order."""
    zone = ZoneInfo(time_zone)
    day, last_day = started_from.astimezone(zone).date(), started_before.astimezone(zone).date()
    found: list[tuple[datetime, int, ArchivePath]] = []
    while day <= last_day:
        for path in _entries(folder / integration / str(service_provider_id) / day.isoformat()):
            match = OBJECT_NAME.fullmatch(path.name)
            if match is None:
                continue
            started = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if started_from.replace(microsecond=0) <= started < started_before:
                found.append((started, int(match[2]), path))
        day += timedelta(days=1)
    return [path for _, _, path in sorted(found, key=lambda entry: entry[:2])]


def delete_days_before(folder: ArchivePath, first_kept_day: date) -> Iterator[tuple[str, int]]:
    """Delete the objects of every day before one; yield each day's folder and the number of its objects."""
    for provider in (provider for integration in _entries(folder) for provider in _entries(integration)):
        for day in _entries(provider):
            with suppress(ValueError):
                if date.fromisoformat(day.name) < first_kept_day and (count := _delete_objects(day)):
                    yield str(day), count


def _delete_objects(day: ArchivePath) -> int:
    count = 0
    for path in _entries(day):
        if path.name.endswith(COMPLETE):
            path.unlink()
            count += 1
    return count


def _entries(folder: ArchivePath) -> list[Any]:
    """Return the entries of a folder, none if it does not exist."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
