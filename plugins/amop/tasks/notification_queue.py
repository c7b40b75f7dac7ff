"""The device notification queue (SQS): its watcher, and reading, deleting and dead-lettering of its messages."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
from airflow.sdk import Asset, AssetWatcher, Variable
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from amop import ids, time_limits
from amop.messages.queue_message import QueueMessage
from amop.tasks.connections import aws_hook

log = logging.getLogger(__name__)

MESSAGES_AT_ONCE = 10
"""Most messages of one call; the limit of SQS."""

VISIBILITY = time_limits.BRIEF_TASK
"""A received message is delivered again after this long unless it was deleted."""

ATTRIBUTES: dict[str, Any] = {
    "MessageAttributeNames": ["All"],
    "AttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
}


class NotificationQueueTrigger(SqsSensorTrigger):
    """Airflow's trigger of an SQS queue, which also receives the attributes of the messages.

    The queue may be given by name. An outage of SQS ends no watcher: it is asked again later.
    """

    async def poll_sqs(self, client: Any) -> Any:
        """Receive messages with their attributes; they stay on the queue."""
        url = self.sqs_queue
        if "://" not in url:
            url = (await client.get_queue_url(QueueName=url))["QueueUrl"]
        response = await client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=self.max_messages,
            WaitTimeSeconds=self.wait_time_seconds,
            VisibilityTimeout=self.visibility_timeout,
            **ATTRIBUTES,
        )
        return {"Messages": [_plain(message) for message in response.get("Messages", [])]}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event with the messages that were received."""
        while True:
            try:
                async for event in super().run():
                    yield event
                return
            except (BotoCoreError, ClientError, OSError) as error:
                log.warning("The queue %s cannot be read, trying again: %s", self.sqs_queue, error)
                await asyncio.sleep(self.waiter_delay)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without its binary attributes, which an event cannot carry."""
    attributes = message.get("MessageAttributes", {}).items()
    texts = {name: {"StringValue": value["StringValue"]} for name, value in attributes if "StringValue" in value}
    kept = {name: message[name] for name in ("MessageId", "ReceiptHandle", "Body", "Attributes") if name in message}
    return kept | {"MessageAttributes": texts}


def notifications_asset() -> Asset:
    """Return the asset of the queue's messages; it is watched where the queue's Variable is set."""
    queue = Variable.get(ids.NOTIFICATION_QUEUE_VARIABLE, default=None)
    if not queue:
        return Asset(ids.NOTIFICATIONS_ASSET)
    trigger = NotificationQueueTrigger(
        sqs_queue=str(queue),
        aws_conn_id=ids.AWS_CONNECTION,
        max_messages=MESSAGES_AT_ONCE,
        wait_time_seconds=10,
        visibility_timeout=round(VISIBILITY.total_seconds()),
        delete_message_on_reception=False,
        waiter_delay=1,
    )
    return Asset(ids.NOTIFICATIONS_ASSET, watchers=[AssetWatcher(name=ids.NOTIFICATION_WATCHER, trigger=trigger)])


def messages_of_events(context: Any) -> list[QueueMessage]:
    """Return the messages of the events that started the DAG run, each once; none for a manual run."""
    events = (context.get("triggering_asset_events") or {}).get(Asset(ids.NOTIFICATIONS_ASSET), [])
    found = [
        QueueMessage.from_sqs(raw)
        for event in events
        for raw in (event.extra.get("payload") or {}).get("message_batch", [])
    ]
    return list({message.message_id: message for message in found}.values())


@dataclass(frozen=True)
class NotificationQueue:
    """The queue behind the Variable, with blocking calls for tasks."""

    client: Any
    url: str

    @classmethod
    def open(cls, name_or_url: str) -> NotificationQueue:
        """Return the queue of a name or URL."""
        client = aws_hook(SqsHook).get_conn()
        is_url = "://" in name_or_url
        return cls(client, name_or_url if is_url else client.get_queue_url(QueueName=name_or_url)["QueueUrl"])

    def receive(self) -> Iterator[QueueMessage]:
        """Yield the messages that are on the queue now."""
        while messages := self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=MESSAGES_AT_ONCE,
            VisibilityTimeout=round(VISIBILITY.total_seconds()),
            **ATTRIBUTES,
        ).get("Messages"):
            yield from map(QueueMessage.from_sqs, messages)

    def delete(self, message: QueueMessage) -> None:
        """Delete a message from the queue; deleting it twice does nothing."""
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt_handle)

    def dead_letter(self, message: QueueMessage, reason: str) -> bool:
        """Send a message to the queue's dead-letter queue with attribute ``Reason``; False if it has none."""
        given = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
        policy = json.loads(given.get("Attributes", {}).get("RedrivePolicy", "{}"))
        target = policy.get("deadLetterTargetArn")
        if not target:
            return False
        *_, account, name = str(target).split(":")
        url = self.client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        # SQS accepts ten attributes: the reason takes the place of the last one of a message that has ten.
        kept = {name: text for name, text in list(message.attributes.items())[:9] if text and name != "Reason"}
        texts = kept | {"Reason": reason[:1000]}
        group = {"MessageGroupId": "rejected", "MessageDeduplicationId": message.message_id}
        self.client.send_message(
            QueueUrl=url,
            MessageBody=message.body or "{}",
            MessageAttributes={name: {"DataType": "String", "StringValue": text} for name, text in texts.items()},
            **(group if url.endswith(".fifo") else {}),
        )
        return True
