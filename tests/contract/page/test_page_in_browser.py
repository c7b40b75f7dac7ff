"""The page in a real browser: figures, themes, widths, keyboard, live filters, approval, and Airflow's own frame."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.worlds.airflow_server import AirflowServer
from tests.worlds.browser import browser
from tests.worlds.page_world import PageWorld

pytestmark = pytest.mark.xdist_group("page")

NARROW, USUAL, WIDEST = 360, 1280, 3840
PICTURES_VARIABLE = "AMOP_PICTURES"
"""A folder for screenshots; without it none is kept."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


class Visitor:
    """A signed-in user with a browser; every error of a script or of the content policy fails the test."""

    def __init__(self, context: BrowserContext, server: AirflowServer) -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def open(self, path: str = "") -> Page:
        """Open a view and return it."""
        self.page.goto(f"{self.server.address}/amop/{path}")
        return self.page


def visit(chromium: Browser, server: AirflowServer, user: str = "admin", width: int = USUAL, **more: Any) -> Visitor:
    context = chromium.new_context(viewport={"width": width, "height": 900}, **more)
    context.set_default_timeout(20_000)
    context.add_cookies([{"name": "_token", "value": server.token(user), "url": server.address}])
    return Visitor(context, server)


def views(world: PageWorld) -> dict[str, str]:
    """Return the address of each view by its name."""
    return {
        "today": "",
        "sessions": "sessions",
        "session": f"session/{world.session_id}",
        "changes": f"session/{world.session_id}/changes",
        "sims": "sims?q=89011700000000000003",
        "sim": f"sim/{world.sims[3]}",
        "savings": "savings",
        "findings": "findings",
        "what-if": "what-if?provider=1",
        "what-if-result": f"what-if/{world.what_if_id}",
        "outbox": "outbox",
        "quarantine": "quarantine",
    }


def keep_picture(page: Page, name: str) -> None:
    if folder := os.environ.get(PICTURES_VARIABLE):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, USUAL, WIDEST])
def test_every_view_fits_the_screen_in_both_themes(
    width: int, theme: Any, chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server, width=width, color_scheme=theme)
    for name, path in views(world).items():
        page = visitor.open(path)
        keep_picture(page, f"{name}-{theme}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.title() != "hacked"
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (background == "rgb(255, 255, 255)") is (theme == "light")
    assert visitor.problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_has_a_known_barrier(theme: Any, chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    visitor = visit(chromium, server, color_scheme=theme)
    for name, path in views(world).items():
        results = Axe().run(visitor.open(path))
        assert results.violations_count == 0, f"{name}: {results.generate_report()}"


def test_airflows_own_theme_wins_over_the_systems(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    visitor = visit(chromium, server, color_scheme="light")
    visitor.page.add_init_script("localStorage.setItem('theme', 'dark')")
    page = visitor.open()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(18, 22, 27)"


def test_what_will_it_cost_why_and_what_to_press_takes_two_clicks(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server)
    page = visitor.open()
    bill = world.instance(world.instance_id)["current_cost"]
    expect(page.locator("#table-today")).to_contain_text(f"USD {bill:,.2f}")
    page.get_by_role("link", name="Approve or reject").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Session {world.session_id}: AT&T")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def test_an_answer_goes_to_airflows_own_api(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    visitor = visit(chromium, server, user="user")
    page = visitor.open(f"session/{world.session_id}")
    page.get_by_role("button", name="Reject").click()
    # Airflow itself has no such request in this test.
    expect(page.locator("[data-answer]")).to_have_text("There is no such request any more.")
    sent: list[Any] = []

    def take(route: Route) -> None:
        sent.append((route.request.method, route.request.url, json.loads(route.request.post_data or "")))
        route.fulfill(status=200, json={})

    page.route("**/hitlDetails", take)
    page.get_by_label("Comment").fill("checked with the tenant")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("[data-answer]")).to_have_text("Approved. Airflow continues the run.")
    run = f"dagRuns/session_{world.session_id}/taskInstances/approve_changes/-1/hitlDetails"
    assert sent == [
        (
            "PATCH",
            f"{server.address}/api/v2/dags/carrier_optimization_jasper/{run}",
            {"chosen_options": ["Approve"], "params_input": {"comment": "checked with the tenant"}},
        )
    ]


def test_lists_are_filtered_and_sorted_in_place(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    visitor = visit(chromium, server)
    page = visitor.open("quarantine")
    rows = page.locator("#table-quarantine tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("ICCID or EID, provider or reason").fill("letters")
    expect(rows).to_have_count(1)
    page.get_by_label("ICCID or EID, provider or reason").fill("")
    page.get_by_label("Show").select_option("yes")
    expect(rows).to_have_count(3)
    page.get_by_role("link", name="Reason").click()
    expect(page.locator("th[aria-sort]")).to_contain_text("Reason")
    assert "resolved=yes" in page.url
    assert "sort_quarantine=-reason" in page.url
    assert visitor.problems == []


def test_a_finding_is_dismissed_and_shown_again_in_place(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server, user="user")
    page = visitor.open("findings")
    rows = page.locator("#table-findings tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Dismiss: Usage spike, 89011700000000000003").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_role("button", name="Dismiss: Pool heading over its allowance, pool Fleet")).to_be_visible()
    page.get_by_label("Show", exact=True).select_option("yes")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Show again: Usage spike, 89011700000000000003").click()
    expect(rows).to_have_count(1)
    page.get_by_label("Show", exact=True).select_option("")
    expect(rows).to_have_count(2)
    assert visitor.problems == []


def test_a_quarantined_record_is_accepted_in_place(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    record = world.insert(
        "device_quarantine",
        run_id=world.run_id,
        kind="device",
        record_key="another",
        raw="{}",
        reason="wanted",
        iccid="89011700000000000003",
        source="device_list",
    )
    visitor = visit(chromium, server, user="user")
    page = visitor.open("quarantine?q=wanted")
    page.get_by_role("button", name=f"Accept record {record}").click()
    expect(page.get_by_role("status")).to_contain_text(f"Record {record} is accepted")
    expect(page.locator("#table-quarantine tbody tr")).to_have_count(0)
    world.execute("DELETE FROM amop.device_quarantine WHERE id = %s", record)
    assert visitor.problems == []


def test_a_what_if_is_started_through_airflows_own_api(
    chromium: Browser, server: AirflowServer, world: PageWorld, tmp_path: Path
) -> None:
    visitor = visit(chromium, server, user="user")
    page = visitor.open("what-if?provider=1")
    sent: list[Any] = []

    def take(route: Route) -> None:
        sent.append((route.request.method, route.request.url, json.loads(route.request.post_data or "")))
        route.fulfill(status=200, json={"dag_run_id": "manual__a b"})

    page.route("**/dagRuns", take)
    table = tmp_path / "plans.csv"
    rate_plans = world.plan_table() + "New 1,1,0,5,0.5,1,0,false,,\nNew 2,1,0,9,0.5,1,0,false,,\n"
    table.write_text(rate_plans)
    page.get_by_label("or a file").set_input_files(table)
    expect(page.get_by_label("Rate plans as CSV")).to_have_value(rate_plans)
    page.get_by_label("Choose this many").fill("2")
    page.get_by_role("button", name="Compute").click()
    link = page.get_by_role("link", name="See the run in Airflow")
    expect(link).to_have_attribute("href", "/dags/what_if_jasper/runs/manual__a%20b")
    conf = {"service_provider_id": 1, "rate_plans": rate_plans, "ladder_size": 2}
    address = f"{server.address}/api/v2/dags/what_if_jasper/dagRuns"
    assert sent == [("POST", address, {"logical_date": None, "conf": conf})]
    assert visitor.problems == []


def test_a_typo_in_a_what_if_is_said_beside_its_field_and_nothing_is_started(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server, user="user")
    page = visitor.open("what-if?provider=1")
    started: list[str] = []
    page.on("request", lambda request: started.append(request.url) if "dagRuns" in request.url else None)
    plans, size = page.get_by_label("Rate plans as CSV"), page.get_by_label("Choose this many")
    plans.fill(world.plan_table().replace("Small 1,0.9", "Small 1,O.9"))
    size.fill("two")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#plans-fault")).to_contain_text("line 5: rate_charge 'O.9' is not a number")
    expect(page.locator("#size-fault")).to_contain_text("'two' is not a whole number")
    expect(plans).to_be_focused()
    expect(plans).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-answer]")).to_have_text("Nothing was started: correct what is marked.")
    keep_picture(page, "what-if-faults")
    assert Axe().run(page).violations_count == 0
    plans.fill(world.plan_table())
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#plans-fault")).to_be_hidden()
    expect(plans).not_to_have_attribute("aria-invalid", "true")
    assert started == []
    assert visitor.problems == []


def test_time_series_are_drawn_in_both_themes_and_printed_as_the_server_drew_them(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server, color_scheme="light")
    world.execute(  # a chart of savings needs a second billing period
        "INSERT INTO amop.realised_saving SELECT %s, usage_read_at, applied_changes, forecast_saving, old_plans_cost,"
        " applied_plans_cost, realised_saving, projected_usage_mb, real_usage_mb, absolute_error_mb, projection_error,"
        " weighted_error, measured_at FROM amop.realised_saving",
        world.instance_id,
    )
    for path in (f"sim/{world.sims[3]}", "savings"):
        page = visitor.open(path)
        chart, picture = page.locator("figure .uplot"), page.locator("figure > svg")
        expect(chart).to_have_count(1)
        expect(chart).to_be_visible()
        expect(picture).to_be_hidden()
        page.emulate_media(color_scheme="dark")
        expect(chart).to_have_count(1)
        page.emulate_media(media="print")
        expect(chart).to_be_hidden()
        expect(picture).to_be_visible()
        page.emulate_media(media="screen", color_scheme="light")
    world.execute("DELETE FROM amop.realised_saving WHERE instance_id = %s", world.instance_id)
    without = visit(chromium, server, java_script_enabled=False).open(f"sim/{world.sims[3]}")
    expect(without.locator("figure > svg")).to_be_visible()
    assert visitor.problems == []


def test_the_page_works_without_a_script(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    visitor = visit(chromium, server, java_script_enabled=False)
    page = visitor.open("outbox")
    page.get_by_label("State").select_option("dead")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#table-outbox tbody tr")).to_have_count(1)
    page = visitor.open(f"session/{world.session_id}")
    expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    expect(page.get_by_role("link", name="The request in Airflow")).to_be_visible()


def test_a_search_is_done_by_keyboard_alone(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    page = visit(chromium, server).open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(9):
        page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("15550001234")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="89011700000000000003")).to_be_visible()


def test_a_session_that_has_ended_is_told_where_to_sign_in(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server)
    page = visitor.open("quarantine")
    page.context.clear_cookies()
    page.get_by_label("ICCID or EID, provider or reason").fill("x")
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    page.goto(f"{server.address}/amop/")
    expect(page.get_by_role("link", name="Sign in to Airflow")).to_be_visible()


def test_the_page_opens_from_airflows_navigation_and_leads_back(
    chromium: Browser, server: AirflowServer, world: PageWorld
) -> None:
    visitor = visit(chromium, server)
    page = visitor.page
    page.goto(f"{server.address}/")
    page.get_by_role("link", name="AMOP").click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_contain_text("1 of 4 providers is fine")
    assert "/plugin/amop" in page.url  # the address that `make up` prints
    keep_picture(page, "in-airflow")
    frame.get_by_role("link", name="See the failed sync").click()
    page.wait_for_url("**/dags/device_sync_rogers/runs/**")


def test_a_view_is_printed_without_its_controls(chromium: Browser, server: AirflowServer, world: PageWorld) -> None:
    page = visit(chromium, server).open(f"session/{world.session_id}")
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation", name="Views")).to_be_hidden()
    expect(page.get_by_role("heading", name="Bill of the period")).to_be_visible()
