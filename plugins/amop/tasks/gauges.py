"""The step of ``amop_relay`` that exports gauges through Airflow's metrics: StatsD, Datadog or OpenTelemetry."""

from __future__ import annotations

import logging

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

from amop.tasks.connections import warehouse_conninfo, warehouse_now

log = logging.getLogger(__name__)

BACKENDS = ("statsd_on", "statsd_datadog_enabled", "otel_on")
"""Switches of Airflow's section ``[metrics]``."""


def export_gauges() -> int:
    """Export the gauges where Airflow's metrics are on; return how many."""
    from amop.maintenance.gauges import read_gauges

    if not any(conf.getboolean("metrics", name, fallback=False) for name in BACKENDS):
        log.info("Airflow's metrics are off: no gauge is exported")
        return 0
    gauges = read_gauges(warehouse_conninfo(), now=warehouse_now())
    for gauge in gauges:
        stats.gauge(gauge.name, gauge.value, tags=gauge.tags)
    _flush()
    return len(gauges)


def _flush() -> None:
    """Send what OpenTelemetry still holds: the process of a task may end before its next export."""
    if conf.getboolean("metrics", "otel_on", fallback=False):
        from opentelemetry.metrics import get_meter_provider

        flush = getattr(get_meter_provider(), "force_flush", None)
        if flush is not None:
            flush()
