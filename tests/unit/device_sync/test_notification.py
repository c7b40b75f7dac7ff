"""The notification on the device notification queue."""

from __future__ import annotations

import pytest

from amop.device_sync.notification import Notification

NOTIFICATION = Notification("{}", {}, group_id="service_provider_1", deduplication_id="device_sync_run_7")


def test_a_fifo_queue_gets_a_group_and_the_same_deduplication_id_on_every_repetition() -> None:
    url = "https://sqs.us-east-1.amazonaws.com/1/devices.fifo"
    assert NOTIFICATION.queue_arguments(url) == {
        "MessageGroupId": "service_provider_1",
        "MessageDeduplicationId": "device_sync_run_7",
    }


@pytest.mark.parametrize("url", ["https://sqs.us-east-1.amazonaws.com/1/devices", "http://127.0.0.1:1/1/fifo"])
def test_a_standard_queue_gets_neither(url: str) -> None:
    assert NOTIFICATION.queue_arguments(url) == {}
