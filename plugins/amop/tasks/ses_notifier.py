"""Airflow's SES notifier with time limits on its calls."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.notifications.ses import SesNotifier

from amop.tasks.connections import aws_hook

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.ses import SesHook


class LimitedSesNotifier(SesNotifier):
    """Airflow's SES notifier on connection ``aws_default``, whose calls have time limits."""

    @cached_property
    def hook(self) -> SesHook:
        """Airflow's hook, with time limits on its calls."""
        from airflow.providers.amazon.aws.hooks.ses import SesHook

        return aws_hook(SesHook)
