"""Run the sandbox AMOP: ``python -m sandbox.amop --port 8020``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sandbox.amop.server import PROGRESS_PATH, SYNC_PATH, TOKEN_VARIABLE, AmopServer
from sandbox.http_server import LOOPBACK, serve_until_stopped


def main(
    port: Annotated[int, typer.Option(help="TCP port; 0 picks a free one, which is printed.")] = 8020,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    progress_path: Annotated[str, typer.Option(help="Path of the progress callback.")] = PROGRESS_PATH,
    sync_path: Annotated[str, typer.Option(help="Path of the daily-sync callback.")] = SYNC_PATH,
    record_file: Annotated[
        Path | None,
        typer.Option(help="Append every message to this JSON Lines file, and reload it at the next start."),
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with certificate.pem and key.pem; given, HTTPS is served.")
    ] = None,
) -> None:
    """Serve the sandbox AMOP until SIGINT or SIGTERM. Read the bearer token from SANDBOX_AMOP_TOKEN."""
    try:
        server = AmopServer(
            progress_path=progress_path,
            sync_path=sync_path,
            record_file=record_file,
            token=os.environ.get(TOKEN_VARIABLE) or None,
        )
    except ValueError as error:
        typer.echo(f"sandbox AMOP: {error}", err=True)
        raise typer.Exit(2) from None
    serve_until_stopped(
        server.application(),
        host,
        port,
        lambda address: typer.echo(f"sandbox AMOP ready: {address}"),
        certificates=certificates,
    )


if __name__ == "__main__":
    typer.run(main)
