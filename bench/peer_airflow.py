"""The peer that Airflow itself offers: `HttpOperator` with pagination, then `insert_rows` of the PostgreSQL hook.

Runs in the package's environment, which has both providers.

python -m bench.peer_airflow postgresql://… http://127.0.0.1:8010
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote

from bench.account import peak_megabytes

CREATE = "CREATE TABLE device (iccid text PRIMARY KEY, status text, rate_plan text, communication_plan text)"
COLUMNS = ["iccid", "status", "rate_plan", "communication_plan"]


def next_page(response: Any) -> dict[str, Any] | None:
    """Return the parameters of the next call, None after the last page."""
    document = response.json()
    if document["lastPage"]:
        return None
    return {"data": {"pageSize": 50, "pageNumber": document["pageNumber"] + 1}}


def rows_of(responses: list[Any]) -> list[tuple[str, ...]]:
    """Return the SIMs of all responses."""
    return [
        (device["iccid"], device["status"], device["ratePlan"], device["communicationPlan"])
        for response in responses
        for device in response.json()["devices"]
    ]


def main(dsn: str, base_url: str) -> None:
    """Read the list, insert its SIMs and print what it cost."""
    os.environ["AIRFLOW_CONN_BENCH_CARRIER"] = f"http://api_bench:{quote('bench-key-of-no-value')}@{base_url[7:]}"
    os.environ["AIRFLOW_CONN_BENCH_DATABASE"] = dsn
    from airflow.providers.http.operators.http import HttpOperator
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    begun, processor = time.perf_counter(), time.process_time()
    operator = HttpOperator(
        task_id="operator",
        http_conn_id="bench_carrier",
        endpoint="/rws/api/v1/devices",
        method="GET",
        data={"pageSize": 50, "pageNumber": 1},
        pagination_function=next_page,
        response_filter=rows_of,
    )
    rows = operator.execute({})
    hook = PostgresHook(postgres_conn_id="bench_database")
    hook.run(CREATE)
    hook.insert_rows("device", rows, COLUMNS, commit_every=1000, replace=True, replace_index="iccid")
    cost = {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - processor,
        "peak_megabytes": peak_megabytes(),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main(*sys.argv[1:3])
