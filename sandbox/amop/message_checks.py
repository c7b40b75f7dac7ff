"""Validate messages to AMOP against the contract. Every check returns all errors of a message, not only the first."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

PROGRESS_STEPS = (0, 20, 30, 40, 50, 100)
PATH_OF_JOB = {
    "Progress": "/get_optimization_progress_bar_data",
    "ErrorMessage": "/get_optimization_error_details_data",
}
PROGRESS_KEYS = (
    "path", "job_name", "SessionId", "OptimizationSessionGuid", "ErrorMessage", "Progress", "CustomerId",
    "AdditionalJson", "DeviceCount",
)  # fmt: skip
ADDITIONAL_COUNTS = (
    "BillPeriodId",
    "SiteId",
    "ServiceProviderId",
    "OptimizationType",
    "DeviceCount",
    "TenantId",
)
ADDITIONAL_TIMES = ("BillingPeriodStartDate", "BillingPeriodEndDate")
ADDITIONAL_KEYS = (*ADDITIONAL_COUNTS, *ADDITIONAL_TIMES, "OptimizationFrom")
DAILY_SYNC_KEYS = ("key_name", "tenant_id", "tenant_name")
KEY_NAMES = ("jasper_devices", "thingspace_devices", "telegence_devices", "teal_devices", "pond_inventories")


def progress_errors(body: Any) -> list[str]:
    """Return the errors of an optimization message (Progress or ErrorMessage); empty if it is valid."""
    data, errors = _data_of(body, PROGRESS_KEYS)
    if data is None:
        return errors
    job = data.get("job_name")
    if job not in PATH_OF_JOB:
        errors.append(f"job_name is {job!r}, not one of {', '.join(PATH_OF_JOB)}")
    elif data.get("path") != PATH_OF_JOB[job]:
        errors.append(f"path of job {job} is {data.get('path')!r}, not {PATH_OF_JOB[job]!r}")
    errors += _job_errors(job, data)
    session = data.get("SessionId")
    if not (isinstance(session, str) and session.isdecimal()):
        errors.append(f"SessionId is {session!r}, not a string of digits")
    errors += _guid_errors(data.get("OptimizationSessionGuid"))
    if not isinstance(data.get("CustomerId"), str):
        errors.append(f"CustomerId is {data.get('CustomerId')!r}, not a string")
    if not _is_count(data.get("DeviceCount")):
        errors.append(f"DeviceCount is {data.get('DeviceCount')!r}, not an integer of at least 0")
    return errors + _additional_errors(data.get("AdditionalJson"), data.get("DeviceCount"))


def _job_errors(job: Any, data: dict[str, Any]) -> list[str]:
    """Return the errors of the fields Progress and ErrorMessage, which depend on the job."""
    progress, text = data.get("Progress"), data.get("ErrorMessage")
    errors = []
    if job == "ErrorMessage":
        if not _is_count(progress) or progress != 0:
            errors.append(f"Progress of an ErrorMessage is {progress!r}, not 0")
        if not isinstance(text, str) or not text.strip():
            errors.append("ErrorMessage is empty")
    else:
        if not _is_count(progress) or progress not in PROGRESS_STEPS:
            errors.append(f"Progress is {progress!r}, not one of {PROGRESS_STEPS}")
        if text is not None:
            errors.append(f"ErrorMessage of a Progress is {text!r}, not null")
    return errors


def _additional_errors(text: Any, device_count: Any) -> list[str]:
    if not isinstance(text, str):
        return [f"AdditionalJson is a {type(text).__name__}, not a JSON string"]
    try:
        document = json.loads(text)
    except ValueError:
        return ["AdditionalJson is not JSON"]
    data, errors = _data_of(document, ADDITIONAL_KEYS, where="AdditionalJson.data")
    if data is None:
        return [f"AdditionalJson: {error}" for error in errors]
    for key in ADDITIONAL_COUNTS:
        if key in data and not _is_count(data[key]):
            errors.append(f"AdditionalJson.data.{key} is {data[key]!r}, not an integer of at least 0")
    for key in ADDITIONAL_TIMES:
        if key in data and not _is_time(data[key]):
            errors.append(f"AdditionalJson.data.{key} is {data[key]!r}, not an ISO 8601 time")
    if "OptimizationFrom" in data and not (isinstance(data["OptimizationFrom"], str) and data["OptimizationFrom"]):
        errors.append(f"AdditionalJson.data.OptimizationFrom is {data['OptimizationFrom']!r}, not a non-empty string")
    if "DeviceCount" in data and data["DeviceCount"] != device_count:
        errors.append(f"DeviceCount is {device_count!r}, but {data['DeviceCount']!r} in AdditionalJson")
    return errors


def daily_sync_errors(body: Any) -> list[str]:
    """Return the errors of a daily-sync notice; empty if it is valid."""
    data, errors = _data_of(body, DAILY_SYNC_KEYS)
    if data is None:
        return errors
    if data.get("key_name") not in KEY_NAMES:
        errors.append(f"key_name is {data.get('key_name')!r}, not one of {', '.join(KEY_NAMES)}")
    tenant = data.get("tenant_id")
    if not (isinstance(tenant, str) and tenant.isdecimal()):
        errors.append(f"tenant_id is {tenant!r}, not a string of digits")
    if not (isinstance(data.get("tenant_name"), str) and data["tenant_name"]):
        errors.append(f"tenant_name is {data.get('tenant_name')!r}, not a non-empty string")
    return errors


def order_errors(messages: list[dict[str, Any]]) -> list[str]:
    """Return the errors in the order of one session's messages.

    Args:
        messages: the ``data`` object of each message, oldest first.
    """
    errors = []
    steps = [data["Progress"] for data in messages if data["job_name"] == "Progress"]
    if steps != list(PROGRESS_STEPS[: len(steps)]):
        errors.append(f"progress was {steps}, not {list(PROGRESS_STEPS)} in order, each once")
    jobs = [data["job_name"] for data in messages]
    if "ErrorMessage" in jobs and jobs.index("ErrorMessage") != len(jobs) - 1:
        errors.append(f"{len(jobs) - 1 - jobs.index('ErrorMessage')} messages followed an ErrorMessage")
    if len({data["SessionId"] for data in messages}) > 1:
        errors.append("one session GUID with several session ids")
    return errors


def _data_of(body: Any, keys: tuple[str, ...], where: str = "data") -> tuple[dict[str, Any] | None, list[str]]:
    """Return the object under ``data``, None if there is none, and the errors of its keys."""
    if not isinstance(body, dict) or set(body) != {"data"} or not isinstance(body["data"], dict):
        return None, ["the body is not an object whose only key is data, an object"]
    data = body["data"]
    errors = [f"{where}.{key} is missing" for key in keys if key not in data]
    errors += [f"{where}.{key} is not an expected key" for key in data if key not in keys]
    return data, errors


def _guid_errors(value: Any) -> list[str]:
    try:
        is_guid = isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        is_guid = False
    return [] if is_guid else [f"OptimizationSessionGuid is {value!r}, not a GUID"]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False
