"""Count the rows that the operators' page of a world shows."""

from __future__ import annotations

import csv
import io

from sandbox.carrier.catalogue import SERVICE_PROVIDERS
from sandbox.world.airflow_api import AirflowApi

VIEWS = {
    "Today": "?csv=today",
    "Sessions": "sessions?csv=sessions",
    "SIMs": f"sims?csv=sims&q={SERVICE_PROVIDERS[0].iccid_prefix}",
    "Savings": "savings?csv=savings",
    "Findings": "findings?csv=findings",
    "What if": "what-if?csv=what_ifs",
    "Outbox": "outbox?csv=outbox",
    "Quarantine": "quarantine?csv=quarantine",
}
"""View → the export of its table; the view *SIMs* searches for those of one provider."""


def rows_of_views(api: AirflowApi) -> dict[str, int]:
    """Return how many rows the table of each view has.

    Raises:
        AirflowApiError: a view did not answer.
    """
    return {
        view: len(list(csv.reader(io.StringIO(api.text_at(f"/amop/{address}"))))) - 1 for view, address in VIEWS.items()
    }
