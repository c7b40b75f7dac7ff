"""The parser of the clean-up of the existing system, as DOMAIN.md and CONTRACT.md describe it; for tests.

It is written apart from `amop.messages.queue_message`, so that both sides of the queue are compared.
"""

from __future__ import annotations

from dataclasses import dataclass


class OldParserError(ValueError):
    """The existing system rejects the message."""


@dataclass(frozen=True)
class OldMessage:
    """What the existing clean-up reads from a message."""

    integration_type: int
    service_provider_id: int
    retry_count: int
    max_retries: int
    delay_between_retries: int
    remaining_rows: int
    should_queue_carrier_optimization: bool
    optimization_session_id: int


def parse_as_old_cleanup(attributes: dict[str, dict[str, str]]) -> OldMessage:
    """Return the message; an attribute that is missing, not a String or not of its type is an error."""

    def text(name: str) -> str:
        attribute = attributes.get(name)
        if attribute is None or attribute.get("DataType") != "String" or not attribute.get("StringValue"):
            raise OldParserError(f"message attribute {name} is missing or is not a String")
        return attribute["StringValue"]

    def number(name: str) -> int:
        given = text(name)
        if not given.isascii() or not given.isdigit():
            raise OldParserError(f"message attribute {name} is not a number: {given}")
        return int(given)

    flag = text("ShouldQueueCarrierOptimization").lower()
    if flag not in {"true", "false"}:
        raise OldParserError(f"message attribute ShouldQueueCarrierOptimization is not a flag: {flag}")
    return OldMessage(
        integration_type=number("IntegrationType"),
        service_provider_id=number("ServiceProviderId"),
        retry_count=number("RetryCount"),
        max_retries=number("MaxRetries"),
        delay_between_retries=number("DelayBetweenRetries"),
        remaining_rows=number("RemainingRowsToProcess"),
        should_queue_carrier_optimization=flag == "true",
        optimization_session_id=number("OptimizationSessionId"),
    )
