"""The question to a person, by Airflow's own human-in-the-loop operator, and what takes it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.sdk import BaseHook, Context, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.triggers.base import TriggerEvent
from psycopg.rows import dict_row

from amop import ids, time_limits
from amop.orchestration.connections import carrier_account, conninfo_of, warehouse_conninfo
from amop.warehouse import sql
from amop.warehouse.connection import session_settings

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 20.0
ANSWER_FORM = {
    ids.APPROVAL_COMMENT: Param(
        None, type=["null", "string"], title="Comment", description="Kept with the answer; may be empty."
    )
}
"""``params`` of the question: what a person may fill in besides the choice."""


def calls_per_second(connection_id: str, service_provider_name: str) -> float:
    """Return the pace of the carrier account behind a connection."""
    return carrier_account(connection_id, service_provider_name).calls_per_second


class PlanChangeApprovalTrigger(HITLTrigger):
    """Airflow's trigger of the question, which also answers ``Reject`` as nobody when it is no longer wanted.

    That is so when a newer instance has made the changes stale, when too little time is left in the billing period, or
    when somebody has decided in the warehouse. The reason is the answer's comment.
    """

    def __init__(self, *, instance_id: int, ti_id: UUID | str, poke_interval: float = SECONDS_BETWEEN_LOOKS) -> None:
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
        """Yield one event: a person's answer, or ``Reject`` by nobody; a lost database is only waited for."""
        conninfo = conninfo_of(await BaseHook.aget_connection(ids.WAREHOUSE_CONNECTION))
        while True:
            # An answer wakes the task by itself; one that came before the task had gone to sleep is found here.
            answer = await self._handle_response()
            if answer is None and (reason := await self._why_not_wanted(conninfo)) is not None:
                log.info("The question is taken back: %s", reason)
                self.params = ParamsDict({ids.APPROVAL_COMMENT: reason})
                answer = await self._handle_timeout()
            if answer is not None:
                yield answer
                return
            await asyncio.sleep(self.poke_interval)

    async def _why_not_wanted(self, conninfo: str) -> str | None:
        try:
            async with await psycopg.AsyncConnection.connect(
                conninfo,
                row_factory=dict_row,
                autocommit=True,
                **session_settings(conninfo, application_name="amop approve_changes", statement=time_limits.LOOK),
            ) as connection:
                cursor = await connection.execute(
                    sql.load("changes/why_not_wanted"), {"instance_id": self.instance_id, "now": datetime.now(UTC)}
                )
                row = await cursor.fetchone()
        except psycopg.OperationalError as error:
            log.warning("The warehouse cannot be reached, looking again: %s", type(error).__name__)
            return None
        return "its optimization is gone" if row is None else row["reason"]


class PlanChangeApproval(HITLOperator):
    """Ask a person whether the plan changes of an instance may be applied; no worker is held meanwhile.

    It ends as success whatever the answer is; what follows reads the answer. `HITLOperator` waits without a trigger; a
    trigger is added here, because a question must end by itself when its changes are stale or too late.

    Args:
        instance: what ``open_instance`` gave: ``instance["instance_id"]`` is used.
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
        """Write the question from the warehouse, then wait for its answer in the triggerer."""
        from amop.orchestration.approval_mail import ApprovalMail
        from amop.pipeline.plan_changes import approval_request

        instance_id = self.instance["instance_id"]
        request = approval_request(warehouse_conninfo(), instance_id, call_rate=calls_per_second)
        self.subject, self.body = request.subject, request.body
        self.notifiers = [ApprovalMail()]  # made here: every process that reads the DAG would have to load boto3
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            trigger = PlanChangeApprovalTrigger(instance_id=instance_id, ti_id=context["ti"].id)
            self.defer(trigger=trigger, method_name=waiting.method_name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return the answer for the next task: ``is_approval``, ``by`` (None = nobody) and ``comment``."""
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        return {
            "is_approval": answer["chosen_options"] == [ids.APPROVE],
            "by": None if person is None else person["name"] or person["id"],
            "comment": str((answer["params_input"] or {}).get(ids.APPROVAL_COMMENT) or ""),
        }
