"""Ids that a command names: refuse those that the warehouse does not have, instead of showing an empty table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from amop import ids
from amop.cli.connection import warehouse_conninfo
from amop.database.connection import transaction
from amop.maintenance.operations import UnknownIdError
from amop.maintenance.store.known_ids import KnownIds, known_ids


def warehouse_with(
    *,
    provider: int | None = None,
    run: int | None = None,
    session: int | None = None,
    records: Sequence[int] = (),
    message: str | None = None,
) -> str:
    """Return the connection string of the warehouse, after a check of the ids that the command names.

    Args:
        provider: a service provider.
        run: a device sync run.
        session: an optimization session.
        records: quarantined records.
        message: key of a message to AMOP.

    Raises:
        UnknownIdError: the warehouse has no such row; the message names all of them and how to list what it has.
        WarehouseNotDefinedError, ConnectionFormError: as for `warehouse_conninfo`.
    """
    conninfo = warehouse_conninfo()
    with transaction(conninfo, application_name="amop cli") as connection:
        known = known_ids(
            connection,
            service_provider_id=_storable(provider),
            run_id=_storable(run),
            session_id=_storable(session),
            record_ids=[record for record in records if record <= ids.LARGEST_ID],
            dedupe_key=None if message is None else message.replace("\x00", ""),
        )
    unknown = list(_unknown(known, provider, run, session, records, message))
    if unknown:
        raise UnknownIdError("; ".join(unknown))
    return conninfo


def _storable(number: int | None) -> int | None:
    """Return an id that PostgreSQL can compare: one beyond all ids becomes 0, which no row has."""
    return 0 if number is not None and number > ids.LARGEST_ID else number


def _unknown(
    known: KnownIds,
    provider: int | None,
    run: int | None,
    session: int | None,
    records: Sequence[int],
    message: str | None,
) -> Iterator[str]:
    if not known.has_provider:
        yield f"no such service provider: {provider}; see `bin/amop status`"
    if not known.has_run:
        yield f"no such device sync run: {run}; see `bin/amop runs list`"
    if not known.has_session:
        yield f"no such optimization session: {session}; see `bin/amop sessions list`"
    if missing := [str(record) for record in records if record not in known.record_ids]:
        yield f"no such quarantined record: {', '.join(missing)}; see `bin/amop quarantine list --all`"
    if not known.has_message:
        yield f"no such message to AMOP: {message}; see `bin/amop messages list`"
