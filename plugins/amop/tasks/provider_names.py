"""The providers that the trigger forms offer by name.

A form is made when a DAG file is parsed, which must not read the warehouse. So the first task of each sync of all
providers keeps the names in a Variable of Airflow, one for each integration, from which the forms take them. Only the
DAG processor reads it there: a task parses the file, too, but shows no form.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import Param, Variable, get_parsing_context

from amop import ids
from amop.foreign_text import clean_text, storable_error

log = logging.getLogger(__name__)

TITLE = "Service provider"

MOST_IN_TEXT = 30
"""Names in the description of a parameter; the rest is counted."""

DIGITS = "^[1-9][0-9]{0,14}$"
"""An id as text: the list of Airflow's form hands on the chosen ids as texts, and null where none is left."""


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
    except Exception as error:  # a form without names works by id
        log.warning("The names of the providers could not be kept for the forms: %s", storable_error(error))


def chosen_ids(chosen: Iterable[int | str] | None) -> list[int]:
    """Return the ids of a run's parameter, whether from the form, the REST API or the schedule; empty = all."""
    return [int(provider_id) for provider_id in chosen or ()]


def providers_param(integration: str) -> Param:
    """Return the parameter of the daily DAG: several providers, chosen by name where names are known."""
    known = _offered(integration)
    offered: dict[str, Any] = {"examples": list(known), "values_display": _labels(known)} if known else {}
    return Param(
        [],
        type=["null", "array"],
        items={"type": ["integer", "string"], "minimum": 1, "maximum": ids.LARGEST_ID, "pattern": DIGITS},
        title=f"{TITLE}s",
        description="Providers to sync, by id; empty = all active ones of this integration.",
        **offered,
    )


def provider_param(integration: str, description: str, *, types: Sequence[str]) -> Param:
    """Return the parameter of a DAG for one provider, with the names of all in its description.

    Args:
        integration: whose providers.
        description: what the parameter is for.
        types: ``integer``, and ``null`` where it may be empty.
    """
    labels = list(_labels(_offered(integration)).values())
    more = [f"{len(labels) - MOST_IN_TEXT} more"] if len(labels) > MOST_IN_TEXT else []
    names = "; ".join([*labels[:MOST_IN_TEXT], *more])
    arguments: dict[str, Any] = {
        "type": list(types) if len(types) > 1 else types[0],
        "minimum": 1,
        "maximum": ids.LARGEST_ID,
        "title": TITLE,
        "description": f"{description} {names}".strip(),
    }
    return Param(None, **arguments) if "null" in types else Param(**arguments)


def _offered(integration: str) -> dict[int, str]:
    """Return the known providers where a form is made; never raises, as a DAG file must be parsed without them."""
    if get_parsing_context().dag_id is not None:  # a task is about to run, or one DAG is loaded for a command
        return {}
    try:
        return known_providers(integration)
    except Exception as error:  # such as a secrets backend that denies the name
        log.warning("The forms of %s offer no names: %s", integration, storable_error(error))
        return {}


def _labels(known: Mapping[int, str]) -> dict[str, str]:
    return {str(provider_id): f"{provider_id} = {name}" for provider_id, name in known.items()}
