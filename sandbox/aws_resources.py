"""The queue and the bucket of the sandbox world, in an AWS emulator.

python -m sandbox.aws_resources http://127.0.0.1:5000
"""

from __future__ import annotations

from typing import Annotated, Any

import boto3
import typer

REGION = "us-east-1"
QUEUE = "DeviceNotificationQueue"
BUCKET = "amop-reports"


def aws_client(service: str, endpoint_url: str) -> Any:
    """Return a boto3 client of the emulator, which checks no credentials."""
    session = boto3.session.Session(
        region_name=REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 (the emulator checks none)
    )
    return session.client(service, endpoint_url=endpoint_url)


def create_aws_resources(endpoint_url: str) -> None:
    """Create the device notification queue and the reports bucket; what exists is left alone."""
    aws_client("sqs", endpoint_url).create_queue(QueueName=QUEUE)
    aws_client("s3", endpoint_url).create_bucket(Bucket=BUCKET)


def main(endpoint_url: Annotated[str, typer.Argument(help="Address of the emulator.")]) -> None:
    """Create the queue and the bucket of the sandbox world."""
    create_aws_resources(endpoint_url)
    typer.echo(f"queue {QUEUE} and bucket {BUCKET} are there")


if __name__ == "__main__":
    typer.run(main)
