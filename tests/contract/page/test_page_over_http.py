"""The page over real HTTP, behind Airflow's own sign-in: who may see it, what it answers, and what it never says."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

import pytest
import requests
from psycopg.types.json import Jsonb

from amop.web.actions import ACTIONS
from amop.web.views import VIEWS
from tests.worlds.airflow_server import PASSWORD, AirflowServer
from tests.worlds.page_world import SCRIPT, PageWorld, ThousandProviders

pytestmark = pytest.mark.xdist_group("page")

LARGEST_FIRST_VIEW = 150 * 1024


def paths(world: PageWorld) -> list[str]:
    """Return an address of every route."""
    values = {
        "session_id": str(world.session_id),
        "device_id": str(world.sims[3]),
        "what_if_id": str(world.what_if_id),
        "name": "page.css",
        "path:path": "no/such/view",
    }
    return [re.sub(r"\{([^}]+)\}", lambda found: values[found[1]], path).removeprefix("/") for path in VIEWS]


def test_every_route_is_closed_to_an_anonymous_caller(server: AirflowServer, world: PageWorld) -> None:
    assert {path: server.get(path, None).status_code for path in paths(world)} == dict.fromkeys(paths(world), 401)


def test_every_route_is_closed_to_a_user_without_a_right(server: AirflowServer, world: PageWorld) -> None:
    assert {path: server.get(path, "guest").status_code for path in paths(world)} == dict.fromkeys(paths(world), 403)


def test_a_forged_token_opens_nothing(server: AirflowServer, world: PageWorld) -> None:
    for headers in ({"Authorization": "Bearer x.y.z"}, {"Cookie": "_token=x.y.z"}):
        answer = requests.get(f"{server.address}/amop/", headers=headers, timeout=30)
        assert answer.status_code in {401, 403}
        assert "AT&amp;T" not in answer.text


@pytest.mark.parametrize("user", ["admin", "operator", "user", "viewer"])
def test_every_view_is_open_to_a_user_who_may_read_the_dags(user: str, server: AirflowServer, world: PageWorld) -> None:
    expected = {path: 404 if path == "no/such/view" else 200 for path in paths(world)}
    assert {path: server.get(path, user).status_code for path in paths(world)} == expected


def test_only_a_user_who_may_answer_a_request_is_offered_to(server: AirflowServer, world: PageWorld) -> None:
    path = f"session/{world.session_id}"
    assert "data-approval" in server.get(path, "user").text
    page = server.get(path, "viewer").text
    assert "data-approval" not in page
    assert "You may not answer" in page
    answer = requests.patch(
        f"{server.address}/api/v2/dags/carrier_optimization_jasper/dagRuns/session_{world.session_id}/taskInstances"
        "/approve_changes/-1/hitlDetails",
        json={"chosen_options": ["Approve"], "params_input": {}},
        headers={"Authorization": f"Bearer {server.token('viewer')}"},
        timeout=30,
    )
    assert answer.status_code == 403  # Airflow decides, not the page


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written_through_a_view(method: str, server: AirflowServer, world: PageWorld) -> None:
    cookies = {"_token": server.token("admin")}
    for path in paths(world):
        answer = requests.request(method, f"{server.address}/amop/{path}", cookies=cookies, timeout=30)
        assert answer.status_code == 405, path


def post(server: AirflowServer, path: str, user: str | None, **headers: str) -> requests.Response:
    cookies = {"_token": server.token(user)} if user else {}
    own = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    return requests.post(f"{server.address}/amop/{path}", cookies=cookies, headers=own | headers, timeout=30)


def test_a_finding_is_dismissed_and_shown_again_by_a_user_who_may_change_runs(
    server: AirflowServer, world: PageWorld
) -> None:
    path, shown = f"findings/{world.finding_id}", "89011700000000000003"
    for user, code in ((None, 401), ("guest", 403)):
        assert post(server, f"{path}/dismiss", user).status_code == code
    assert post(server, f"{path}/dismiss", "viewer").status_code == 404  # there is none that a viewer may dismiss
    assert "hx-post" not in server.get("findings", "viewer").text
    assert shown in server.get("findings", "user").text
    answer = post(server, f"{path}/dismiss", "user")
    assert (answer.status_code, shown in answer.text) == (200, False)
    assert world.value("SELECT dismissed_by FROM amop.finding WHERE id = %s", world.finding_id) == "user"
    assert shown in server.get("findings", "viewer", dismissed="yes").text
    assert post(server, f"{path}/restore", "user").status_code == 200
    assert shown in server.get("findings", "viewer").text
    assert post(server, "findings/987654321/dismiss", "user").status_code == 404


def open_record(world: PageWorld, key: str, raw: dict[str, Any]) -> int:
    """Quarantine a record of the device list of the last sync."""
    world.execute("UPDATE amop.device_sync_run SET devices_merged_at = ended_at WHERE id = %s", world.run_id)
    return int(
        world.insert(
            "device_quarantine",
            run_id=world.run_id,
            kind="device",
            record_key=key,
            raw=Jsonb(raw),
            reason="planted",
            source="device_list",
            scan_pass=1,
            page_number=9,
            row_number=len(key),
        )
    )


def test_a_quarantined_record_is_retried_by_a_user_who_may_change_runs(server: AirflowServer, world: PageWorld) -> None:
    iccid = "89011700000000005555"
    valid = {"iccid": iccid, "status": "ACTIVATED", "ratePlan": "Small 1", "communicationPlan": "Meters"}
    good, bad = open_record(world, "good", valid), open_record(world, "bad", {"iccid": "letters"})
    assert post(server, f"quarantine/{good}/retry", "viewer").status_code == 404
    assert "hx-post" not in server.get("quarantine", "viewer").text
    answer = post(server, f"quarantine/{good}/retry", "user")
    assert f"Record {good} is resolved." in answer.text
    assert world.value("SELECT status FROM amop.device WHERE iccid = %s", iccid) == "ACTIVATED"
    assert world.value("SELECT resolution FROM amop.device_quarantine WHERE id = %s", good) == "merged by retry"
    answer = post(server, f"quarantine/{bad}/retry", "user")
    assert f"Record {bad} stays in quarantine: " in answer.text
    assert world.value("SELECT resolution FROM amop.device_quarantine WHERE id = %s", bad) is None


def test_a_quarantined_record_is_accepted_as_it_is_in_the_users_name(server: AirflowServer, world: PageWorld) -> None:
    record = open_record(world, "accepted", {"iccid": "letters"})
    assert post(server, f"quarantine/{record}/accept", "viewer").status_code == 404
    answer = post(server, f"quarantine/{record}/accept", "user")
    assert f"Record {record} is accepted" in answer.text
    row = "SELECT resolution FROM amop.device_quarantine WHERE id = %s"
    assert world.value(row, record) == "accepted by user"
    assert post(server, f"quarantine/{record}/retry", "user").status_code == 404  # it is open no longer


def test_only_a_user_who_may_trigger_the_dag_is_offered_a_what_if(server: AirflowServer, world: PageWorld) -> None:
    page = server.get("what-if", "user", provider=1).text
    assert "api/v2/dags/what_if_jasper/dagRuns" in page
    assert "Small 1,0.9,0,1,0.55,1,0.01,false,," in page
    page = server.get("what-if", "viewer").text
    assert "dagRuns" not in page
    assert "You may not start a what-if" in page
    answer = requests.post(
        f"{server.address}/api/v2/dags/what_if_jasper/dagRuns",
        json={"logical_date": None, "conf": {}},
        headers={"Authorization": f"Bearer {server.token('viewer')}"},
        timeout=30,
    )
    assert answer.status_code == 403  # Airflow decides, not the page


def test_no_other_site_can_make_a_browser_press_a_button(server: AirflowServer, world: PageWorld) -> None:
    path = f"findings/{world.finding_id}/dismiss"
    for headers in (
        {"HX-Request": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ):
        assert post(server, path, "admin", **headers).status_code == 403, headers
    assert world.value("SELECT dismissed_at FROM amop.finding WHERE id = %s", world.finding_id) is None


def test_a_refusal_of_a_request_from_elsewhere_says_so(server: AirflowServer, world: PageWorld) -> None:
    answer = post(server, f"findings/{world.finding_id}/dismiss", "admin", **{"HX-Request": ""})
    assert "The request did not come from this page" in answer.text
    assert "HX-Request: true" in answer.text
    assert "the right to read" not in answer.text
    assert "the right to read the device sync DAGs" in post(server, "findings/1/dismiss", "guest").text


def check(server: AirflowServer, user: str | None, rate_plans: str, size: str = "", provider: int = 1) -> Any:
    """Check the form of a what-if; return the faults, or the status code of a refusal."""
    answer = requests.post(
        f"{server.address}/amop/what-if/check",
        json={"service_provider_id": provider, "rate_plans": rate_plans, "ladder_size": size},
        cookies={"_token": server.token(user)} if user else {},
        headers={"HX-Request": "true", "Sec-Fetch-Site": "same-origin"},
        timeout=30,
    )
    return answer.json()["faults"] if answer.ok else answer.status_code


def test_the_form_of_a_what_if_is_checked_by_the_rules_of_its_run(server: AirflowServer, world: PageWorld) -> None:
    table = world.plan_table()
    assert check(server, "user", table) == {}
    assert (
        "line 5: rate_charge 'O.9'" in check(server, "user", table.replace("Small 1,0.9", "Small 1,O.9"))["rate_plans"]
    )
    faults = check(server, "user", table + "New,1,0,5,0.75,1,0,true,Flet,Smal 1\n", size="9")
    assert list(faults) == ["rate_plans"]
    assert "offered like 'Smal 1', which no SIM may have" in faults["rate_plans"]
    assert "0 new rate plans, fewer than 2" in check(server, "user", table, size="2")["ladder_size"]
    assert "optimize it first" in check(server, "user", table, provider=2)["provider"]
    assert check(server, "user", table, provider=77) == 404
    assert [check(server, user, table) for user in ("viewer", "guest", None)] == [404, 403, 401]


def test_every_route_that_writes_is_closed_like_the_views(server: AirflowServer, world: PageWorld) -> None:
    for path in ACTIONS:
        address = re.sub(r"\{[^}]+\}", "1", path).removeprefix("/")
        assert post(server, address, None).status_code == 401, path
        assert post(server, address, "guest").status_code == 403, path
        assert post(server, address, "admin", **{"HX-Request": ""}).status_code == 403, path


def test_no_text_of_the_tables_becomes_markup(server: AirflowServer, world: PageWorld) -> None:
    for path in paths(world):
        answer = server.get(path, "admin", **({"resolved": "yes"} if path == "quarantine" else {}))
        assert SCRIPT not in answer.text, path
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"], path
    assert "&lt;script&gt;document.title" in server.get("", "admin").text
    searched = server.get("outbox", "admin", q=SCRIPT)
    assert searched.status_code == 200
    assert SCRIPT not in searched.text


@pytest.mark.parametrize(
    "address",
    [
        "session/0",
        "session/99999999999999999999",
        "session/x",
        "sim/-1",
        "outbox?page=0",
        "outbox?state=lost",
        "outbox?q=%00",
        "outbox?sort_outbox=id;drop",
        "quarantine?resolved=maybe",
        "sessions?provider=1e3",
        "sims?q=" + "9" * 200,
    ],
)
def test_an_invalid_address_is_refused_without_a_trace(address: str, server: AirflowServer, world: PageWorld) -> None:
    path, _, query = address.partition("?")
    answer = server.get(f"{path}?{query}", "admin")
    assert answer.status_code == 422
    assert "Invalid request" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("session/0", "session_id in the address: input should be greater than or equal to 1."),
        ("sim/x", "device_id in the address: input should be a valid integer"),
        ("outbox?page=0", "page in the address: input should be greater than or equal to 1."),
        ("outbox?state=lost&page=x", "state in the address: input should be"),
        ("outbox?q=%00", "q in the address: has a character that is not allowed."),
        ("outbox?sort_outbox=id;drop", "sort_outbox in the address is not the name of a column."),
    ],
)
def test_a_wrong_part_of_an_address_is_named_with_what_is_wrong(
    address: str, said: str, server: AirflowServer, world: PageWorld
) -> None:
    path, _, query = address.partition("?")
    assert said in html.unescape(server.get(f"{path}?{query}", "admin").text)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "Field service_provider_id of the form: is missing; Field rate_plans of the form: is missing"),
        ({"service_provider_id": 0}, "Field service_provider_id of the form: input should be greater than or equal"),
        ([], "The form must be a JSON object with all of its fields."),
        (None, "The form must be a JSON object with all of its fields."),
    ],
)
def test_a_wrong_field_of_a_form_is_named_with_what_is_wrong(
    form: Any, said: str, server: AirflowServer, world: PageWorld
) -> None:
    answer = requests.post(
        f"{server.address}/amop/what-if/check",
        data="{" if form is None else json.dumps(form),
        cookies={"_token": server.token("user")},
        headers={"HX-Request": "true", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 422
    assert said in html.unescape(answer.text)


def test_an_unknown_column_keeps_the_order(server: AirflowServer, world: PageWorld) -> None:
    for path, table in (("", "today"), ("outbox", "outbox"), (f"session/{world.session_id}/changes", "changes")):
        assert server.get(path, "admin", **{f"sort_{table}": "-password"}).status_code == 200


def test_a_session_or_sim_that_does_not_exist_is_not_found(server: AirflowServer, world: PageWorld) -> None:
    for path in ("what-if/987654321", "session/987654321", "session/987654321/changes", "sim/987654321"):
        answer = server.get(path, "admin")
        assert (answer.status_code, "Not found" in answer.text) == (404, True)


def test_each_table_is_exported_as_csv(server: AirflowServer, world: PageWorld) -> None:
    answer = server.get(f"session/{world.session_id}/changes", "viewer", csv="changes", state="proposed")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="amop-changes.csv"'
    lines = answer.text.splitlines()
    count = world.value("SELECT count(*) FROM amop.rate_plan_change WHERE instance_id = %s", world.instance_id)
    assert len(lines) == 1 + count
    assert lines[0].endswith("applied_at,currency")
    assert server.get("", "viewer", csv="nothing").status_code == 404


def test_amounts_have_currency_two_decimals_and_the_exact_value(server: AirflowServer, world: PageWorld) -> None:
    exact = world.instance(world.instance_id)["current_cost"]
    page = server.get("", "viewer").text
    assert f'<data value="{exact}" title="USD {exact:,f}">USD {exact:,.2f}</data>' in page


def test_a_first_view_is_small_whichever_it_is(server: AirflowServer, world: PageWorld) -> None:
    for path in paths(world):
        page = server.get(path, "viewer").text
        files = re.findall(r'(?:src|href)="/amop/(static/[^"?]+)', page)
        assert files or "static" in path, path
        sizes = [len(page.encode()), *(len(server.get(file, "viewer").content) for file in files)]
        assert sum(sizes) <= LARGEST_FIRST_VIEW, path


def test_a_thousand_providers_are_shown_in_pages(server: AirflowServer, warehouse_dsn: str) -> None:
    many = ThousandProviders(warehouse_dsn)
    server.connect_to(many.dsn)
    for path in many.paths:
        answer = server.get(path, "viewer")
        assert answer.status_code == 200, path
        assert len(answer.content) <= LARGEST_FIRST_VIEW, path
    today = server.get("", "viewer").text
    assert "0 of 1,000 providers are fine" in today
    assert "Page 1 of 20" in today
    assert 'href="?page_today=2"' in today
    assert "Page 20 of 20" in server.get("", "viewer", page_today="20").text
    assert "Page 20 of 20" in server.get("", "viewer", page_today="999").text
    assert "Page 1 of 20" in server.get("", "viewer", page_today="x").text
    assert len(server.get("", "viewer", csv="today").text.splitlines()) == 1001


def test_an_empty_warehouse_and_a_missing_one_are_explained(
    server: AirflowServer, warehouse_dsn: str, empty_database_dsn: str
) -> None:
    server.connect_to(warehouse_dsn)
    assert "No provider is active yet." in server.get("", "viewer").text
    for path in ("sessions", "sims", "savings", "findings", "what-if", "outbox", "quarantine"):
        answer = server.get(path, "viewer")
        assert (answer.status_code, 'class="empty"' in answer.text) == (200, True), path
    for dsn, words in (
        (empty_database_dsn, "Run: bin/amop migrate"),
        (None, "Airflow has no usable connection amop_warehouse"),
        ("host=127.0.0.1 port=1 dbname=x user=secret_user password=secret_word", "The warehouse cannot be reached"),
    ):
        server.connect_to(dsn)
        answer = server.get("", "viewer")
        assert answer.status_code == 503
        assert words in answer.text
        for secret in ("Traceback", "secret_user", "secret_word", "psycopg", PASSWORD):
            assert secret not in answer.text


def test_a_view_that_reads_too_long_is_stopped(server: AirflowServer, world: PageWorld) -> None:
    """A view waits for a lock at most as long as a statement may take, and says what happened."""
    import psycopg

    with psycopg.connect(world.dsn) as blocking:
        blocking.execute("LOCK TABLE amop.optimization_session IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        answer = server.get("sessions", "viewer")
        assert time.monotonic() - begun < 15
        blocking.rollback()
    assert answer.status_code == 503
    assert "The warehouse" in answer.text
    assert server.get("sessions", "viewer").status_code == 200


def test_the_page_is_in_airflows_navigation(server: AirflowServer, world: PageWorld) -> None:
    headers = {"Authorization": f"Bearer {server.token('admin')}"}
    plugins: dict[str, Any] = requests.get(f"{server.address}/api/v2/plugins", headers=headers, timeout=30).json()
    (plugin,) = (each for each in plugins["plugins"] if each["name"] == "amop")
    assert [(view["name"], view["href"], view["url_route"]) for view in plugin["external_views"]] == [
        ("AMOP", "amop/", "amop")
    ]
