"""Validation of a carrier's records: what is accepted, what is rejected and why; no function raises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.device_sync.validation import (
    DeviceDetails,
    ListedDevice,
    Rejected,
    record_key,
    validate_details,
    validate_listed_device,
    validate_usage,
)

ICCID = "8901000000000000001"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("iccid", "status", "ratePlan", "communicationPlan", "imsi", "msisdn", "imei", "dateActivated")
RECORDS = JSON | st.dictionaries(st.sampled_from(KEYS), JSON)


@given(RECORDS)
def test_any_json_is_accepted_or_rejected_with_a_reason_and_never_raises(raw: Any) -> None:
    result = validate_listed_device(raw)
    if isinstance(result, Rejected):
        assert result.reason
        assert 0 < len(result.record_key) <= 100
        assert "\x00" not in result.reason + result.record_key
        (result.reason + result.record_key).encode()
    for fault in validate_details(raw).faults:
        assert fault.field in KEYS
        assert fault.reason
        assert "\x00" not in fault.reason
        fault.reason.encode()


@given(JSON)
def test_usage_is_a_non_negative_bigint_or_a_reason(value: Any) -> None:
    usage = validate_usage(value)
    assert isinstance(usage, str) or (type(usage) is int and 0 <= usage < 2**63)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_every_non_negative_bigint_is_accepted_unchanged(value: int) -> None:
    assert validate_usage(value) == value


@pytest.mark.parametrize(("value", "usage"), [(None, 0), (0, 0), (5.0, 5), (-0.0, 0), (2**63 - 1, 2**63 - 1)])
def test_null_usage_is_zero_and_whole_floats_are_whole(value: Any, usage: int) -> None:
    assert validate_usage(value) == usage


@pytest.mark.parametrize(
    "value",
    [-1, -0.5, 1.5, "5", "", True, False, 2**63, 1e300, float("nan"), float("inf"), [5], {}, 10**4000],
)
def test_negative_textual_broken_or_too_large_usage_is_refused(value: Any) -> None:
    assert isinstance(validate_usage(value), str)


@pytest.mark.parametrize(
    "iccid",
    [None, 8901000000000000001, "", "1" * 17, "1" * 23, f"{ICCID} ", f"{ICCID}\n", "89010000000000000x1",
     "٨" * 19, "8" * 10 + "\x00" + "8" * 9],
)  # fmt: skip
def test_iccid_is_18_to_22_ascii_digits_and_nothing_else(iccid: Any) -> None:
    assert isinstance(validate_listed_device({"iccid": iccid}), Rejected)


@pytest.mark.parametrize("length", [18, 19, 20, 21, 22])
def test_null_plan_and_status_are_allowed_and_blank_is_null(length: int) -> None:
    iccid = "8" * length
    raw = {"iccid": iccid, "status": None, "ratePlan": " ", "communicationPlan": None}
    assert validate_listed_device(raw) == ListedDevice(iccid, None, None, None)


@pytest.mark.parametrize("key", ["status", "ratePlan", "communicationPlan"])
def test_an_absent_key_is_not_null(key: str) -> None:
    raw = {"iccid": ICCID, "status": None, "ratePlan": None, "communicationPlan": None}
    del raw[key]
    assert validate_listed_device(raw) == Rejected(ICCID, f"{key} absent; a SIM without one has null")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Activated", "ACTIVATED"), ("retired ", "RETIRED"), ("Test Ready", "TEST_READY"),
        ("activation-ready", "ACTIVATION_READY"), ("Frozen", "Frozen"), (" ", None),
    ],
)  # fmt: skip
def test_known_statuses_are_spelled_as_in_control_center_and_unknown_ones_are_unchanged(
    text: str, status: str | None
) -> None:
    raw = {"iccid": ICCID, "status": text, "ratePlan": None, "communicationPlan": None}
    assert validate_listed_device(raw) == ListedDevice(ICCID, status, None, None)


@pytest.mark.parametrize("value", ["a\x00b", "x" * 257, "\ud800", 5, ["plan"]])
def test_plan_with_nul_lone_surrogate_overlong_or_not_text_is_rejected_under_its_iccid(value: Any) -> None:
    raw = {"iccid": ICCID, "status": None, "ratePlan": value, "communicationPlan": None}
    rejected = validate_listed_device(raw)
    assert isinstance(rejected, Rejected)
    assert rejected.record_key == ICCID
    assert rejected.reason.startswith("ratePlan ")


@pytest.mark.parametrize(
    "text",
    ["2026-10-20 14:03:11.000+0000", "2026-10-20T14:03:11Z", "2026-10-20T16:03:11+02:00", "2026-10-20T14:03:11"],
)
def test_activation_date_is_read_in_the_vendors_form_and_in_iso_8601(text: str) -> None:
    details = validate_details({"iccid": ICCID, "dateActivated": text, "imsi": "310", "msisdn": 15551234, "imei": None})
    assert details == DeviceDetails("310", "15551234", None, datetime(2026, 10, 20, 14, 3, 11, tzinfo=UTC))


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", 1790000000, "2026\x00"])
def test_an_unreadable_activation_date_does_not_spoil_the_other_details(value: Any) -> None:
    details = validate_details({"iccid": ICCID, "dateActivated": value, "imsi": "310", "imei": 35})
    assert (details.imsi, details.imei, details.date_activated) == ("310", "35", None)
    assert [fault.field for fault in details.faults] == ["dateActivated"]


def test_every_unreadable_detail_is_named() -> None:
    details = validate_details({"iccid": ICCID, "imsi": [1], "msisdn": "1\x00", "imei": {}, "dateActivated": 5})
    assert [fault.field for fault in details.faults] == ["imsi", "msisdn", "imei", "dateActivated"]
    assert validate_details({"imsi": "310"}).imsi is None, "an answer without ICCID is of no SIM"


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), st.integers(-720, 840))  # noqa: DTZ001
def test_every_moment_in_every_offset_is_returned_in_utc(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    details = validate_details({"iccid": ICCID, "dateActivated": moment.isoformat()})
    assert details.date_activated is not None
    assert details.date_activated == moment
    assert details.date_activated.utcoffset() == timedelta(0)


def test_record_keys_of_different_records_differ() -> None:
    keys = {record_key(raw) for raw in [{"iccid": ICCID}, {}, None, {"iccid": None, "status": "A"}]}
    assert len(keys) == 4
    assert record_key({"a": 1, "b": 2}) == record_key({"b": 2, "a": 1})
