"""``amop messages``: list what AMOP and others have not received; send refused messages again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amop.cli.connection import warehouse_conninfo
from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table, print_text
from amop.messages import outbox
from amop.messages.store import UndeliveredReport, UnsentMessage
from amop.wording import several

app = typer.Typer(no_args_is_help=True, help="List undelivered messages and reports; send refused messages again.")

Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Maximum number of rows of each list.")]
Session = Annotated[int | None, typer.Option("--session", min=1, help="All refused messages of this session.")]
Key = Annotated[str | None, typer.Option("--key", help="The message with this key, such as daily_sync:12:1.")]


@app.command("list")
def list_command(limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show the messages that AMOP has not accepted, and the reports that could not be delivered yet."""
    messages, reports = outbox.undelivered(warehouse_conninfo(), limit=limit)
    if as_json:
        print_json({"messages": [asdict(each) for each in messages], "reports": [asdict(each) for each in reports]})
        return
    for title, kind, rows in (
        ("Messages to AMOP", UnsentMessage, messages),
        ("Reports", UndeliveredReport, reports),
    ):
        columns = list(kind.__dataclass_fields__)
        print_table(title, columns, [list(asdict(each).values()) for each in rows])


@app.command("resend")
def resend_command(session: Session = None, key: Key = None) -> None:
    """Send refused (dead-lettered) messages again, after the cause is fixed; `amop_relay` sends them."""
    if (session is None) == (key is None):
        raise typer.BadParameter("give either --session or --key")
    conninfo = warehouse_with(session=session, message=key)
    count = outbox.resend_messages(conninfo, session_id=session, dedupe_key=key)
    print_text(f"{several(count, 'message is', 'messages are')} sent again by the next run of amop_relay")
