"""Rows of the device sync: what its statements return and what is copied into staging."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class UsageRead:
    """What one bulk usage read asks the carrier for."""

    usage_type: str
    """``DATA`` (bytes), ``SMS`` (messages) or ``VOICE`` (seconds)."""
    rate_plan_code: str
    rate_plan_version: int

    @property
    def label(self) -> str:
        """The read, for messages."""
        return f"{self.usage_type} usage of rate plan {self.rate_plan_code!r} version {self.rate_plan_version}"


@dataclass(frozen=True, slots=True)
class WorkRow:
    """A read of a run that is not complete; fields that its kind does not use are empty."""

    id: int
    run_id: int
    kind: str
    """``rate_plan_usage``, ``device_usage`` or ``device_details``."""
    rate_plan_code: str
    rate_plan_version: int
    usage_type: str
    iccid: str
    page_number: int
    """The page to read next."""
    scan_pass: int
    """Number of the present reading, from 1."""
    attempts: int
    """How often the read failed although the carrier may be well."""

    @property
    def label(self) -> str:
        """The read, for messages."""
        if self.kind == "rate_plan_usage":
            return self.usage_read.label
        return f"{'usage' if self.kind == 'device_usage' else 'details'} of {self.iccid}"

    @property
    def usage_read(self) -> UsageRead:
        """The bulk usage read that the row stands for."""
        return UsageRead(self.usage_type, self.rate_plan_code, self.rate_plan_version)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the carrier gave no answer about one SIM."""

    status: int | None
    """HTTP status of a final refusal, None if the carrier failed for this SIM only."""
    error_message: str
    """The carrier's words."""
    reason: str
    """Full text, for the quarantine."""


@dataclass(frozen=True, slots=True)
class ScanPosition:
    """How far the device list of a run has been read."""

    scan_pass: int
    scan_first_page: int
    """First page of the present pass."""
    scan_duplicates: str
    """Signature of the duplicates that made this pass necessary; empty in the first pass."""
    list_is_complete: bool
    devices_seen: int
    """SIMs in the list, 0 until it is complete."""
    last_staged_page: int | None
    """Last committed page of this pass, None before the first."""
    pass_is_complete: bool
    list_is_whole: bool
    """False when the carrier refuses to list SIMs that were last modified long ago."""
    has_gap: bool
    """True when a page stays empty although later pages have SIMs."""
    next_after: str | None
    """The carrier's mark of the place where the next page begins; None where pages have numbers."""

    @property
    def next_page(self) -> int:
        """The page to read next."""
        return self.scan_first_page if self.last_staged_page is None else self.last_staged_page + 1


@dataclass(frozen=True, slots=True)
class ListWindow:
    """A window of modification dates of a run's device list."""

    window_number: int
    """From 1, the oldest."""
    modified_since: datetime
    modified_till: datetime | None
    """None = open."""
    first_page: int | None
    """Its first page in the list, None until it is reached."""


@dataclass(frozen=True, slots=True)
class ListDuplicates:
    """SIMs that appear more than once in a device list."""

    duplicate_count: int
    first_page: int | None
    signature: str
    """The same for the same SIMs at the same places, empty without duplicates."""


@dataclass(frozen=True, slots=True)
class UsageDuplicates:
    """SIMs that appear on more than one page of a bulk usage read."""

    duplicate_count: int
    repeated_page: int | None
    """First page that holds only SIMs of earlier pages."""


@dataclass(frozen=True, slots=True)
class RecordCount:
    """Records of a paged read and the SIMs that they belong to."""

    records: int
    sims: int


@dataclass(frozen=True, slots=True)
class QueuedReads:
    """SIMs whose bulk usage is in doubt, and how many of them were queued for a single read."""

    doubtful: int
    queued: int


@dataclass(frozen=True, slots=True)
class RefusedPlan:
    """A rate plan whose bulk usage the carrier refuses."""

    rate_plan_code: str
    device_count: int
    """SIMs on the plan: the calls that one sync needs for it."""
    reason: str
    """The carrier's words."""


@dataclass(frozen=True, slots=True)
class StagingProgress:
    """Progress of a run's staging, for the sensor that waits for it."""

    run_id: int
    status: str
    error: str | None
    pages: int
    list_is_complete: bool
    progress_at: datetime
    work_rows_left: int
    """By the count rule of the run's carrier family."""
    work_rows_given_up: int
    """Rows that the sync has abandoned after its retries; they are not waited for."""
    read_at: datetime
    """The database's time of this reading."""


@dataclass(frozen=True, slots=True)
class NotificationFacts:
    """What the queue message of a run carries besides the run itself."""

    integration: str
    integration_type: int | None
    """Number of the integration in the existing system; None = not set in the reference file."""
    work_rows_left: int


@dataclass(frozen=True, slots=True)
class BadRecordCount:
    """SIMs with unusable records, in the device list alone and in the list and the usage together."""

    devices_read: int
    devices_bad: int
    sims_read: int
    """Those of the list alone where their share of bad ones is within the limit anyway."""
    sims_bad: int


@dataclass(frozen=True, slots=True)
class DeviceCounts:
    """SIMs changed by a device merge."""

    devices_inserted: int
    devices_updated: int
    devices_vanished: int
    devices_missing: int


@dataclass(frozen=True, slots=True)
class RunBalance:
    """Figures that must add up: SIMs listed = merged + quarantined, usage records = staged + quarantined."""

    devices_seen: int
    devices_merged: int
    devices_quarantined: int
    usage_quarantined: int
    usage_staged: int


@dataclass(frozen=True, slots=True)
class SyncedDay:
    """A local day on which a sync read the SIMs of a provider, and the last time it did."""

    usage_date: date
    as_of: datetime


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """A quarantined record with its provider and the status of its run."""

    id: int
    service_provider_id: int
    service_provider: str
    run_id: int
    kind: str
    """``device`` or ``usage``."""
    record_key: str
    iccid: str | None
    """The SIM of the record, None without a valid ICCID."""
    source: str | None
    """``device_list``, ``device_details``, ``rate_plan_usage``, ``device_usage`` or ``refusal``; None in records of an
    earlier version."""
    usage_type: str | None
    rate_plan_code: str | None
    rate_plan_version: int | None
    scan_pass: int | None
    page_number: int | None
    row_number: int | None
    reason: str
    raw: Any
    """The record as the carrier sent it, as far as jsonb can hold it."""
    is_exact: bool
    """False if ``raw`` differs from what the carrier sent."""
    quarantined_at: datetime
    resolved_at: datetime | None
    resolution: str | None
    run_status: str
    run_is_merged: bool


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """Figures of a sync for its report."""

    detail_last_sync_date: datetime | None
    detail_queue_count: int
    detail_updated_count: int
    devices_inserted: int
    devices_updated: int
    devices_vanished: int
    devices_missing: int
    usage_last_sync_date: datetime | None
    usage_queue_count: int
    usage_updated_count: int
    usage_unconfirmed_count: int
    """SIMs whose usage could not be read or confirmed; their counters are those of an earlier sync."""
    single_usage_reads: int
    """Single reads that count towards ``usage_calls_per_run``."""
    pages: int
    device_count: int
    cycle_data_usage: str
    """Bytes that all SIMs have used in the run's billing period; text, because JSON numbers are not exact."""
    unknown_activation_count: int
    """ACTIVATED SIMs without an activation date: the whole period is billed for them."""
    unknown_activation_cost: str
    """Their rate charges, in currency: with proration, up to so much of the bill may not be due."""
    unknown_status_count: int
    """SIMs with a null status, or one that Control Center is not known to have."""
    details_backlog_count: int
    """SIMs whose details were never read completely."""
    list_is_exact: bool
    list_is_whole: bool
    warnings: list[str]
    devices_quarantined: int
    usage_quarantined: int
    rate_plans_without_bulk_usage: list[str]
    unassociated_communication_plans: list[str]


@dataclass(frozen=True, slots=True)
class SyncLogLine:
    """A line of the sync log; the fields are the columns of the CSV file."""

    ID: int
    ICCID: str
    MSISDN: str | None
    RawDataUsage: Decimal | None
    CurrentDataUsage: int
    RawSMSUsage: Decimal | None
    CurrentSMSUsage: int
    RawVoiceUsage: Decimal | None
    CurrentVoiceUsage: int
    BillingCycleStartDate: datetime
    BillingCycleEndDate: datetime
    UsageDate: datetime | None
    ServiceProviderId: int


@dataclass(frozen=True, slots=True)
class HistorianLine:
    """A line of the device history file; the fields are the columns of the CSV file. Data is in bytes."""

    ServiceProviderId: int
    ServiceProviderName: str
    ICCID: str
    IMSI: str | None
    MSISDN: str | None
    IMEI: str | None
    Status: str | None
    RatePlan: str | None
    CommunicationPlan: str | None
    DateActivated: datetime | None
    CtdDataUsage: int
    CtdSMSUsage: int
    CtdVoiceUsage: int
    CtdSessionCount: int
    LastUsageDate: datetime | None
    BillingCycleStartDate: datetime
    BillingCycleEndDate: datetime
    IsActive: bool
    ModifiedDate: datetime
    SyncDate: datetime | None


class StagedDevice(NamedTuple):
    """A row of ``amop.device_staging``: a SIM at its place in the device list."""

    run_id: int
    scan_pass: int
    page_number: int
    row_number: int
    iccid: str
    status: str | None
    rate_plan: str | None
    communication_plan: str | None


class StagedUsage(NamedTuple):
    """A row of ``amop.device_usage_staging``: the counter of a SIM in one zone."""

    run_id: int
    iccid: str
    usage_type: str
    """``DATA``, ``SMS``, ``VOICE`` or ``SESSIONS``."""
    rate_plan_code: str
    """Empty for a single read."""
    rate_plan_version: int
    page_number: int
    row_number: int
    usage: int
    received_at: datetime
    zone: str
    """Empty where the carrier names no zone."""
