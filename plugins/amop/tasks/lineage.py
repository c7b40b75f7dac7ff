"""Lineage from the carrier's device list to its plan changes: what each task reads and writes, and how many rows.

Airflow records an event of each outlet when its task has succeeded; the event carries the run, the provider or the
instance, and the rows. Consumers see them in the assets view, in the REST API and as ``triggering_asset_events``. With
the extra ``openlineage``, `amop.tasks.openlineage` sends the same to a catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from airflow.sdk import Asset, AssetAlias, get_current_context

from amop import ids
from amop.config import INTEGRATIONS


def carrier_list(integration: str) -> Asset:
    """Return the asset of the SIMs and their usage at the carrier."""
    return Asset(ids.carrier_list_asset(integration))


def staging(integration: str) -> Asset:
    """Return the asset of the staging tables of an integration's runs."""
    return Asset(ids.staging_asset(integration))


def archive(integration: str) -> Asset:
    """Return the asset of the archived responses of an integration's carrier."""
    return Asset(ids.archive_asset(integration))


def merged(integration: str) -> Asset:
    """Return the asset of the devices and usage of an integration while a run merges them."""
    return Asset(ids.merged_asset(integration))


def devices(integration: str) -> Asset:
    """Return the asset of the devices of an integration, complete for a provider."""
    return Asset(ids.devices_asset(integration))


def optimization_draft(integration: str) -> Asset:
    """Return the asset of what an optimization writes before it is complete: inputs, solution, results."""
    return Asset(ids.optimization_draft_asset(integration))


def optimization_results(integration: str) -> Asset:
    """Return the asset of the results and proposed plan changes of an integration."""
    return Asset(ids.optimization_results_asset(integration))


def carrier_plans(integration: str) -> Asset:
    """Return the asset of the SIMs' rate plans at the carrier."""
    return Asset(ids.carrier_plans_asset(integration))


ANY_DEVICES = AssetAlias(ids.ANY_DEVICES_ALIAS)
ANY_MERGED = AssetAlias(ids.ANY_MERGED_ALIAS)

_OF_ALIAS: dict[AssetAlias, Callable[[str], Asset]] = {ANY_DEVICES: devices, ANY_MERGED: merged}
"""The asset that an alias stands for once a task knows the integration it works on."""

_ASSETS = (carrier_list, staging, archive, merged, devices, optimization_draft, optimization_results, carrier_plans)
_INTEGRATION_OF: dict[str, str] = {asset(name).name: name for name in INTEGRATIONS for asset in _ASSETS}

_RECORDED = "amop_lineage"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a task has recorded of its rows; each is None where the task has not counted it."""

    written: int | None = None
    read: int | None = None
    integration: str | None = None


def record_rows(
    written: int, facts: Mapping[str, object], *, read: int | None = None, integration: str | None = None
) -> None:
    """Let the events of the current task's outlets carry a number of rows and further facts.

    Args:
        written: rows that were written or changed.
        facts: ids and counts; no secret, no identifier of a SIM.
        read: rows that were read from the first inlet.
        integration: the integration of the rows, for a task that works on any of them.
    """
    context = get_current_context()
    extra = {"rows": written, **({} if read is None else {"read": read}), **facts}
    for outlet in context["task"].outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra = extra
        elif outlet in _OF_ALIAS and integration is not None:
            context["outlet_events"][outlet].add(_OF_ALIAS[outlet](integration), extra=extra)
    _keep(context, Recorded(written, read, integration))


def record_read(read: int, *, integration: str | None = None) -> None:
    """Keep how many rows the current task has read, for a task without outlets.

    Args:
        read: rows that were read from the first inlet.
        integration: the integration of the rows, for a task that works on any of them.
    """
    _keep(get_current_context(), Recorded(read=read, integration=integration))


def recorded(context: Any) -> Recorded:
    """Return what the task of a context has recorded; empty before and where it records nothing."""
    return cast("Recorded", context.get(_RECORDED, Recorded()))


def dataset_names(assets: list[Any], integration: str | None) -> list[str]:
    """Return the names of the package's assets among the inlets or outlets of a task.

    Args:
        assets: inlets or outlets.
        integration: what the task has recorded. Without it, a task that works on any integration has no names: which
            of its assets it uses is not known before it has run.
    """
    resolved = [
        _OF_ALIAS[asset](integration) if integration is not None and asset in _OF_ALIAS else asset for asset in assets
    ]
    names = [asset.name for asset in resolved if isinstance(asset, Asset) and asset.name in _INTEGRATION_OF]
    known = {_INTEGRATION_OF[name] for name in names}
    if integration is not None:
        return [name for name in names if _INTEGRATION_OF[name] == integration]
    return names if len(known) == 1 else []


def _keep(context: Any, rows: Recorded) -> None:
    context[_RECORDED] = rows
