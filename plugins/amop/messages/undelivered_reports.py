"""Reports that could not be delivered: recorded by their task, delivered in the background by ``amop_relay``.

A report only informs: the sync log and the archive in S3, the queue message, the workbook and the mail of an
optimization. A failed delivery is a warning on its run. It never fails a run, and nothing waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from amop.clock import Clock
from amop.database.connection import WarehouseConnection, transaction
from amop.foreign_text import storable_error
from amop.messages import store
from amop.messages.store import ClaimedReport

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop reports"

MISSED = "the run had failed before it was sent"
FIRST_DELAY_SECONDS = 60
"""Delay between the first attempt to deliver a report and the second; it doubles with every attempt."""

LONGEST_DELAY_SECONDS = 3600

EXPIRES_AFTER = timedelta(days=7)
"""A report that could not be delivered for this long expires, as the staging that it reads does."""


class ReportKind(StrEnum):
    """What a report is."""

    SYNC_LOG = "sync_log"
    NOTIFICATION = "notification"
    ARCHIVE = "archive"
    WORKBOOK = "workbook"
    MAIL = "mail"

    @property
    def words(self) -> str:
        """Words for messages."""
        return {
            ReportKind.SYNC_LOG: "the sync log file (S3)",
            ReportKind.NOTIFICATION: "the queue message (SQS)",
            ReportKind.ARCHIVE: "the archive of the carrier's answers",
            ReportKind.WORKBOOK: "the workbook (S3)",
            ReportKind.MAIL: "the report e-mail (SES)",
        }[self]


class ReportGoneError(RuntimeError):
    """The report can no longer be made: its rows have expired, or its run has ended without a result."""


@dataclass(frozen=True, slots=True)
class ReportDelivery:
    """The result of one call of `deliver_reports`."""

    delivered: int
    failed: int
    given_up: int


def record_undelivered(
    conninfo: str,
    kind: ReportKind,
    error: BaseException,
    *,
    run_id: int | None = None,
    instance_id: int | None = None,
    address: str | None = None,
    now: datetime | None = None,
) -> str:
    """Record a report that could not be delivered, with a warning on its sync run; return the warning.

    A repeated call changes nothing but the error.

    Args:
        conninfo: libpq connection string of the warehouse.
        kind: what the report is.
        error: why it was not delivered.
        run_id: the device sync run, for a report of a sync.
        instance_id: the optimization instance, for a report of an optimization.
        address: address of the DAG run in Airflow, for the links of a mail.
        now: the moment, aware; None = the database's clock.
    """
    text = storable_error(error) or type(error).__name__
    warning = f"{kind.words} could not be delivered, amop_relay tries again: {text}"
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        store.add_undelivered_report(
            connection,
            kind=kind,
            run_id=run_id,
            instance_id=instance_id,
            address=address,
            error=text,
            now=now,
            delay_seconds=FIRST_DELAY_SECONDS,
        )
        if run_id is not None:
            store.add_report_warning(connection, run_id=run_id, warning=warning)
    return warning


def record_missed_notification(connection: WarehouseConnection, run_id: int, *, now: datetime | None = None) -> None:
    """Let the relay send the notification of a reopened run that was staged, unless it was sent.

    Its task does nothing for a run that has failed, and Airflow does not repeat a task that has succeeded.
    """
    store.add_missed_notification(connection, run_id=run_id, error=MISSED, now=now, delay_seconds=FIRST_DELAY_SECONDS)


def deliver_reports(
    conninfo: str,
    deliveries: Mapping[ReportKind, Callable[[ClaimedReport], None]],
    *,
    now: Clock,
    limit: timedelta,
) -> ReportDelivery:
    """Deliver the undelivered reports that are due, each once; a failed one is tried again later, with back-off.

    Args:
        conninfo: libpq connection string of the warehouse.
        deliveries: kind of report → the function that delivers it.
        now: the clock, aware.
        limit: no new delivery is started after this long.
    """
    delivered = failed = given_up = 0
    started_at = now()
    while now() - started_at < limit:
        with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
            report = store.claim_undelivered_report(
                connection,
                now=now(),
                first_delay_seconds=FIRST_DELAY_SECONDS,
                longest_delay_seconds=LONGEST_DELAY_SECONDS,
            )
        if report is None:
            break
        kind = ReportKind(report.kind)
        try:
            deliveries[kind](report)
        except ReportGoneError as error:
            log.warning("%s of %s is not retried: %s", kind.words, _owner(report), storable_error(error))
            given_up += 1
        except Exception as error:
            failed += 1
            text = storable_error(error) or type(error).__name__
            if now() - report.created_at < EXPIRES_AFTER:
                log.warning(
                    "Attempt %s to deliver %s of %s failed: %s", report.attempts, kind.words, _owner(report), text
                )
                with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
                    store.set_report_error(connection, report_id=report.id, error=text)
                continue
            log.error("%s of %s expired after %s: %s", kind.words, _owner(report), EXPIRES_AFTER, text)
            given_up += 1
        else:
            log.info("%s of %s: delivered in attempt %s", kind.words, _owner(report), report.attempts)
            delivered += 1
        with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
            store.delete_undelivered_report(connection, report_id=report.id)
    return ReportDelivery(delivered, failed, given_up)


def _owner(report: ClaimedReport) -> str:
    return f"run {report.run_id}" if report.run_id is not None else f"optimization instance {report.instance_id}"
