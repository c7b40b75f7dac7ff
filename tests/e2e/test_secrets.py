"""Secrets planted in the world are found nowhere but where they belong. The last of the end-to-end tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

from amop import ids
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.aws_resources import ARCHIVE_BUCKET, BUCKET, QUEUE, aws_client, sent_mails
from sandbox.world.world import AIRFLOW_DATABASE, WAREHOUSE_DATABASE, World
from tests.worlds.canaries import command_lines, echo, files, find, tables
from tests.worlds.e2e_world import ON_THE_WORLD, ROOT, rows, run_of, sandbox_page, wait_for_runs
from tests.worlds.refusing_aws import refusing_aws
from tests.worlds.reliability import RecordFault

pytestmark = ON_THE_WORLD

JASPER, ROGERS, POD19 = (ids.device_sync_dag(name) for name in ("jasper", "rogers", "pod19"))
OPTIMIZATION = ids.carrier_optimization_dag("jasper")


def canaries(world: World) -> dict[str, str]:
    return {
        "carrier API key": world.secrets.carrier_api_key,
        "AMOP token": world.secrets.amop_token,
        "database password": world.secrets.postgres_password,
        "AWS secret key": world.secrets.aws_secret_key,
    }


def run_a_whole_day(world: World, api: AirflowApi) -> None:
    """Sync and optimize a provider, so that logs, objects and messages of a day exist whatever ran before."""
    api.wait_for_dags({JASPER, OPTIMIZATION})
    run_id = api.trigger(JASPER, {"optimization": "always"})
    assert wait_for_runs(api, {JASPER: run_id}) == {JASPER: "success"}
    session_id = run_of(world, run_id)["optimization_session_id"]
    assert wait_for_runs(api, {OPTIMIZATION: ids.optimization_run_id(session_id)}) == {OPTIMIZATION: "success"}


def fail_in_ways_that_could_reveal_a_secret(world: World, api: AirflowApi) -> None:
    """Let carrier and AMOP refuse with their secrets in every form, and the command line use a wrong password."""
    said = echo("api_rogers", world.secrets.carrier_api_key)
    sandbox_page(
        world.carrier_address,
        "faults",
        post={"account": "api_rogers", "status": 403, "times": 1, "error_message": said},
    )
    sandbox_page(
        world.amop_address,
        "faults",
        post={"status": 422, "times": 3, "error_message": echo("amop", world.secrets.amop_token)},
    )
    api.wait_for_dags({ROGERS, ids.AMOP_RELAY_DAG})
    run_id = api.trigger(ROGERS, {"optimization": "always"})
    wrong = json.dumps(
        {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": world.ports["postgres"],
            "login": "nobody",
            "password": world.secrets.postgres_password,
            "schema": "warehouse",
        }
    )
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", "status"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW_CONN_AMOP_WAREHOUSE": wrong},
    )
    assert done.returncode == 1 and "the warehouse cannot be reached" in done.stderr
    (world.directory / "cli-output.log").write_text(done.stdout + done.stderr)
    assert wait_for_runs(api, {ROGERS: run_id}) == {ROGERS: "failed"}
    wait_for_runs(api, {ids.AMOP_RELAY_DAG: api.trigger(ids.AMOP_RELAY_DAG, {})})


def sync_while_aws_refuses(world: World) -> None:
    """Sync a provider while S3, SQS and SES refuse every request with their secret in every form."""
    environment = world.environment()
    with refusing_aws(world.secrets.aws_secret_key) as aws:
        connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
        connection["extra"]["endpoint_url"] = aws.address
        environment |= {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection), "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", POD19, "2026-11-18"],
            env=os.environ | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    (world.directory / "refused-by-aws.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert aws.refused >= 3
    (run,) = rows(world, "SELECT * FROM amop.device_sync_run WHERE service_provider_id = 2 ORDER BY id DESC LIMIT 1")
    assert run["status"] == "complete" and len(run["report_warnings"]) == 3  # archive, queue message, sync log
    assert all("refused, you sent" in warning for warning in run["report_warnings"])


def objects_and_messages(world: World) -> Iterator[tuple[str, bytes]]:
    s3, sqs = aws_client("s3", world.aws_address), aws_client("sqs", world.aws_address)
    for name, bucket in (("s3", BUCKET), ("archive", ARCHIVE_BUCKET)):
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            yield f"{name} {entry['Key']}", answer["Body"].read()
            yield f"{name} {entry['Key']}", repr(answer["Metadata"]).encode()
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=600
    ).get("Messages"):
        yield from (("sqs", repr(message).encode()) for message in messages)
    yield from (("mail", repr(mail).encode()) for mail in sent_mails(world.aws_address))
    for page in ("messages", "sessions", "stats"):
        yield f"AMOP {page}", json.dumps(sandbox_page(world.amop_address, page)).encode()


def test_no_planted_secret_is_anywhere_after_whole_days_and_failures(
    world: World, api: AirflowApi, reliability: RecordFault
) -> None:
    run_a_whole_day(world, api)
    fail_in_ways_that_could_reveal_a_secret(world, api)
    sync_while_aws_refuses(world)
    searched: dict[str, int] = {}

    def counted(blobs: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for where, blob in blobs:
            searched[where.partition(" ")[0]] = searched.get(where.partition(" ")[0], 0) + len(blob)
            yield where, blob

    planted = canaries(world)
    # The one file that holds them is also the proof that the search finds them.
    settings = world.settings_file
    assert {name for name, _ in find(planted, [("settings", settings.read_bytes())])} == set(planted)
    postgres = world.postgres()
    found = find(planted, counted(files(world.directory, but={settings})))
    for database in (AIRFLOW_DATABASE, WAREHOUSE_DATABASE):
        found += find(planted, counted(tables(postgres.conninfo(database))))
    found += find(planted, counted(objects_and_messages(world)))
    found += find(planted, counted(command_lines()))
    assert found == []
    for place in (
        "public.xcom",
        "public.rendered_task_instance_fields",
        "public.dag_run",
        "public.log",
        "amop.amop_outbox",
        "amop.device_sync_run",
        "s3",
        "archive",
        "sqs",
        "AMOP",
    ):
        assert searched.get(place, 0) > 0, place
    assert sum(path.endswith(".log") for path in searched) > 20
    reliability(
        fault="canary secrets planted (API key, AMOP token, database password, AWS key), whole days and failing runs",
        injected=len(planted),
        expected="0 found in logs, files, both databases, objects, queue, AMOP messages, command lines",
        seen=f"{len(found)} found in {len(searched)} places, {sum(searched.values()) / 1e6:.0f} MB",
    )
