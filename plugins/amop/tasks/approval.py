"""The approval request, by Airflow's own human-in-the-loop operator, and its withdrawal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.sdk import BaseHook, Context, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.triggers.base import TriggerEvent

from amop import ids, time_limits
from amop.plan_changes.store.decisions import approval_state
from amop.tasks.connections import carrier_account, conninfo_of, warehouse_conninfo, warehouse_now
from amop.tasks.polling import polling_connection

log = logging.getLogger(__name__)

POLL_SECONDS = 20.0
ANSWER_FORM = {
    ids.APPROVAL_COMMENT: Param(
        None, type=["null", "string"], title="Comment", description="Kept with the answer; may be empty."
    )
}
"""``params`` of the approval request: the fields of its form."""


def calls_per_second(connection_id: str, service_provider_name: str, integration: str) -> float:
    """Return the rate limit of the carrier account behind a connection."""
    return carrier_account(connection_id, service_provider_name, integration).calls_per_second


class PlanChangeApprovalTrigger(HITLTrigger):
    """Airflow's trigger of the approval request, which also answers ``Reject``, without a user, to withdraw it.

    A request is withdrawn when a newer instance has made the changes stale, when too little time is left in the billing
    period, or when the decision was made in the warehouse. The reason is the answer's comment.
    """

    def __init__(self, *, instance_id: int, ti_id: UUID | str, poke_interval: float = POLL_SECONDS) -> None:
        super().__init__(
            ti_id=UUID(str(ti_id)),
            options=[ids.APPROVE, ids.REJECT],
            defaults=[ids.REJECT],
            params={},
            timeout_datetime=None,
            poke_interval=poke_interval,
        )
        self.instance_id = instance_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments that the triggerer rebuilds this trigger from."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"instance_id": self.instance_id, "ti_id": str(self.ti_id), "poke_interval": self.poke_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: a user's answer, or the withdrawal; wait while the database is unreachable."""
        conninfo = conninfo_of(await BaseHook.aget_connection(ids.WAREHOUSE_CONNECTION))
        while True:
            # An answer wakes the task directly; one that came before the task was deferred is found here.
            answer = await self._handle_response()
            if answer is None and (reason := await self._withdrawal_reason(conninfo)) is not None:
                log.info("The approval request is withdrawn: %s", reason)
                self.params = ParamsDict({ids.APPROVAL_COMMENT: reason})
                answer = await self._handle_timeout()
            if answer is not None:
                yield answer
                return
            await asyncio.sleep(self.poke_interval)

    async def _withdrawal_reason(self, conninfo: str) -> str | None:
        try:
            async with polling_connection(conninfo, application_name="amop approve_changes") as connection:
                state = await approval_state.run_async(connection, instance_id=self.instance_id, now=None)
        except psycopg.OperationalError as error:
            log.warning("The warehouse cannot be reached, polling again: %s", type(error).__name__)
            return None
        return "its optimization no longer exists" if state is None else state.withdrawal_reason


class PlanChangeApproval(HITLOperator):
    """Request approval for the plan changes of an instance; no worker is held meanwhile.

    The task succeeds whatever the answer is; the next task reads the answer. `HITLOperator` waits without a trigger; a
    trigger is added here, because a request must end automatically when its changes are stale or too late.

    Args:
        instance: instance and session from ``open_instance``.
    """

    template_fields = (*HITLOperator.template_fields, "instance")

    def __init__(self, *, instance: Any, **kwargs: Any) -> None:
        super().__init__(
            subject="Apply rate plan changes?",
            options=[ids.APPROVE, ids.REJECT],
            defaults=[ids.REJECT],
            response_timeout=time_limits.APPROVAL,
            **kwargs,
        )
        self.instance = instance

    def execute(self, context: Context) -> None:
        """Build the request from the warehouse, then wait for the answer in the triggerer."""
        from amop.plan_changes.decide import approval_request
        from amop.tasks.approval_mail import ApprovalMail

        instance_id = self.instance["instance_id"]
        request = approval_request(warehouse_conninfo(), instance_id, call_rate=calls_per_second, now=warehouse_now())
        self.subject, self.body = request.subject, request.body
        self.notifiers = [ApprovalMail()]  # made here: every process that reads the DAG would have to load boto3
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            trigger = PlanChangeApprovalTrigger(instance_id=instance_id, ti_id=context["ti"].id)
            self.defer(trigger=trigger, method_name=waiting.method_name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return the answer for the next task: ``is_approval``, ``by`` (None = the system) and ``comment``."""
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        return {
            "is_approval": answer["chosen_options"] == [ids.APPROVE],
            "by": None if person is None else person["name"] or person["id"],
            "comment": str((answer["params_input"] or {}).get(ids.APPROVAL_COMMENT) or ""),
        }
