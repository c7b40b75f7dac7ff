"""Lineage from the carrier's device list to its plan changes: what each task reads and writes, and how many rows.

Airflow records an event of each outlet when its task has succeeded; the event carries the run, the provider or the
instance, and the rows. Consumers see them in the assets view, in the REST API and as ``triggering_asset_events``.
"""

from __future__ import annotations

from airflow.sdk import Asset, get_current_context

from amop import ids


def carrier_list(integration: str) -> Asset:
    """Return the asset of the SIMs and their usage at the carrier."""
    return Asset(ids.carrier_list_asset(integration))


def staging(integration: str) -> Asset:
    """Return the asset of the staging tables of an integration's runs."""
    return Asset(ids.staging_asset(integration))


def devices(integration: str) -> Asset:
    """Return the asset of the devices of an integration, complete for a provider."""
    return Asset(ids.devices_asset(integration))


def optimization_results(integration: str) -> Asset:
    """Return the asset of the results and proposed plan changes of an integration."""
    return Asset(ids.optimization_results_asset(integration))


def carrier_plans(integration: str) -> Asset:
    """Return the asset of the SIMs' rate plans at the carrier."""
    return Asset(ids.carrier_plans_asset(integration))


def record_rows(rows: int, **facts: object) -> None:
    """Let the events of the current task's outlets carry a number of rows and further facts.

    Args:
        rows: what was read, written or changed.
        **facts: ids and counts; no secret, no identifier of a SIM.
    """
    context = get_current_context()
    for asset in context["task"].outlets:
        if isinstance(asset, Asset):
            context["outlet_events"][asset].extra = {"rows": rows, **facts}
