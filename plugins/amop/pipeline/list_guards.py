"""Guards over a carrier's paging: pages without end, pages that come twice, SIMs that slip between two pages."""

from __future__ import annotations

import logging
from typing import Any

from amop.pipeline.errors import ListGuardError
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

log = logging.getLogger(__name__)

MAXIMUM_PAGES = 100_000
"""A list of more pages than this (5 million SIMs) is a carrier that pages without end."""

MAXIMUM_SCAN_PASSES = 5
"""How often a list is read again because SIMs moved during the scan."""

SPARE_ROWS = 150
"""Three pages that may repeat SIMs on top of one repetition of every SIM."""

LOOK_AT_PAGES = frozenset(10 * 2**doubling for doubling in range(14))
"""Pages after which a list is checked for going in circles: so few that counting costs nothing, and never later than
at twice the length at which it could have been seen."""


def check_paging_of_list(
    connection: WarehouseConnection, run: dict[str, Any], scan_pass: int, page_number: int
) -> None:
    """Look, every so often, whether the pages of a device list still bring SIMs.

    Raises:
        ListGuardError: they do not, or there are too many of them.
    """
    if page_number in LOOK_AT_PAGES:
        size = connection.execute(sql.load("sync/scan_size"), {"run_id": run["id"], "scan_pass": scan_pass}).fetchone()
        _refuse_circles(run, "the device list", page_number, size)
    _refuse_too_many_pages(run, "the device list", page_number)


def check_paging_of_usage(connection: WarehouseConnection, run: dict[str, Any], work: dict[str, Any]) -> None:
    """Look, every so often, whether the pages of a rate plan's usage still bring SIMs.

    Raises:
        ListGuardError: they do not, or there are too many of them.
    """
    if work["page_number"] in LOOK_AT_PAGES:
        size = connection.execute(sql.load("sync/usage_read_size"), work).fetchone()
        _refuse_circles(run, _usage_of(work), work["page_number"], size)
    _refuse_too_many_pages(run, _usage_of(work), work["page_number"])


def check_repeated_pages(connection: WarehouseConnection, run: dict[str, Any], last_page: int) -> None:
    """Look whether a page of a scan that is over holds nothing but SIMs of the pages before.

    Raises:
        ListGuardError: one does; the SIMs that belong on it are not known.
    """
    repeated = connection.execute(
        sql.load("sync/repeated_page"), {"run_id": run["id"], "last_page": last_page}
    ).fetchone()
    if repeated is not None:
        raise ListGuardError(
            f"{_whose(run)}: page {repeated['page_number']} of the device list holds only SIMs of earlier pages, "
            "however often it is read; ask the carrier, nothing was merged"
        )


def reads_usage_again(connection: WarehouseConnection, run: dict[str, Any], work: dict[str, Any]) -> bool:
    """Decide after the last page of a rate plan's usage; True when it is read again because SIMs moved.

    A SIM has one record in a zone. One that stands on two pages moved while they were read, or a page came twice:
    its usage must not count twice, and another SIM may have slipped past the reader.

    Raises:
        ListGuardError: a whole page repeats another one, however often it is read.
    """
    found = connection.execute(sql.load("sync/usage_duplicates"), work).fetchone() or {}
    if not found["duplicate_count"]:
        return False
    if work["scan_pass"] < MAXIMUM_SCAN_PASSES:
        log.info(
            "%s: %s SIMs moved while %s was read; reading it again",
            run["service_provider_name"], found["duplicate_count"], _usage_of(work),
        )  # fmt: skip
        connection.execute(sql.load("sync/begin_usage_again"), work)
        return True
    if found["repeated_page"] is not None:
        raise ListGuardError(
            f"{_whose(run)}: page {found['repeated_page']} of {_usage_of(work)} holds only SIMs of earlier pages, "
            "however often it is read; ask the carrier, nothing was merged"
        )
    connection.execute(sql.load("sync/keep_later_usage"), work)
    return False


def queue_unnamed_usage(connection: WarehouseConnection, run: dict[str, Any]) -> bool:
    """Queue single reads of SIMs that no bulk page named although they have used data in this billing period.

    A SIM that is not named has used nothing, but what was used cannot be undone: it slipped between two pages. More
    of them than `detail_calls_per_run` are taken at the carrier's word. True when there is something to read.
    """
    found = connection.execute(
        sql.load("sync/queue_unnamed_usage"),
        {
            "run_id": run["id"],
            "service_provider_id": run["service_provider_id"],
            "billing_period_id": run["billing_period_id"],
            "list_is_exact_full": run["is_full"] and run["list_is_exact"],
            "maximum_reads": run["detail_calls_per_run"],
        },
    ).fetchone()
    connection.commit()
    unnamed, queued = (found["unnamed"], found["queued"]) if found else (0, 0)
    if unnamed > queued:
        log.warning(
            "%s: %s SIMs that had used data in this billing period are no longer named by the carrier; more than %s "
            "are not read one by one and count as having used nothing",
            run["service_provider_name"], unnamed, run["detail_calls_per_run"],
        )  # fmt: skip
    return bool(queued)


def _refuse_circles(run: dict[str, Any], what: str, page_number: int, size: dict[str, Any] | None) -> None:
    if size is not None and size["records"] > 2 * size["sims"] + SPARE_ROWS:
        raise ListGuardError(
            f"{_whose(run)}: {page_number} pages of {what} hold {size['records']} records of only {size['sims']} SIMs "
            "and none says that it is the last one; ask the carrier, nothing was merged"
        )


def _refuse_too_many_pages(run: dict[str, Any], what: str, page_number: int) -> None:
    if page_number >= MAXIMUM_PAGES:
        raise ListGuardError(
            f"{_whose(run)}: {what} has {MAXIMUM_PAGES} pages and no last one; ask the carrier, nothing was merged"
        )


def _whose(run: dict[str, Any]) -> str:
    return f"{run['service_provider_name']} ({run['service_provider_id']}), run {run['id']}"


def _usage_of(work: dict[str, Any]) -> str:
    return f"{work['usage_type']} usage of rate plan {work['rate_plan_code']!r} version {work['rate_plan_version']}"
