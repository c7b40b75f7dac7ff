"""The providers that the trigger forms offer by name.

A form is made when a DAG file is parsed, which must not read the warehouse. So the first task of every sync keeps the
names in a Variable of Airflow, one for each integration, from which the forms take them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Param, Variable

from amop import ids
from amop.foreign_text import clean_text

log = logging.getLogger(__name__)

TITLE = "Service provider"


def known_providers(integration: str) -> dict[int, str]:
    """Return the names of an integration's active providers by id, as of its last sync; empty before the first one."""
    text = Variable.get(ids.providers_variable(integration), default=None)
    try:
        return {int(provider_id): str(name) for provider_id, name in json.loads(text or "{}").items()}
    except (ValueError, AttributeError, TypeError):  # someone has edited it; the next sync writes it again
        return {}


def keep_providers(integration: str, names: Mapping[int, str]) -> None:
    """Keep the names of an integration's active providers for the forms; only a change is written. Never raises."""
    cleaned = {provider_id: clean_text(name) for provider_id, name in sorted(names.items())}
    try:
        if known_providers(integration) != cleaned:
            Variable.set(ids.providers_variable(integration), json.dumps(cleaned))
    except Exception:  # a form without names works by id
        log.warning("The names of the providers could not be kept for the forms", exc_info=True)


def providers_param(integration: str) -> Param:
    """Return the parameter of the daily DAG: several providers, chosen by name where names are known."""
    known = known_providers(integration)
    offered: dict[str, Any] = {"examples": list(known), "values_display": _labels(known)} if known else {}
    return Param(
        [],
        type="array",
        items={"type": "integer", "minimum": 1, "maximum": ids.LARGEST_ID},
        title=f"{TITLE}s",
        description="Ids of the providers to sync; empty = all active ones of this integration.",
        **offered,
    )


def provider_param(integration: str, description: str, *, types: Sequence[str]) -> Param:
    """Return the parameter of a DAG for one provider, with the names of all in its description.

    Args:
        integration: whose providers.
        description: what the parameter is for.
        types: ``integer``, and ``null`` where it may be empty.
    """
    names = "; ".join(_labels(known_providers(integration)).values())
    arguments: dict[str, Any] = {
        "type": list(types) if len(types) > 1 else types[0],
        "minimum": 1,
        "maximum": ids.LARGEST_ID,
        "title": TITLE,
        "description": f"{description} {names}".strip(),
    }
    return Param(None, **arguments) if "null" in types else Param(**arguments)


def _labels(known: Mapping[int, str]) -> dict[str, str]:
    return {str(provider_id): f"{provider_id} = {name}" for provider_id, name in known.items()}
