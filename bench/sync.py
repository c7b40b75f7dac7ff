"""Measure the sync beside its peers, with limits lifted and at the vendor's limit: sections of ``make bench``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from bench import peers
from bench.carrier import bench_carrier
from bench.markdown import markdown
from bench.sync_process import SyncCost
from bench.sync_world import Warehouse, sync, warehouse

VENDOR_PAGE, LARGE_PAGE = 50, 1_000
GOAL_SIMS_PER_SECOND, GOAL_TIMES_DLT, GOAL_MEGABYTES = 60_000, 2.5, 80.0

CALLS_PER_SECOND = 5.0
FREE_CALLS = 5
"""Calls that an idle account may make at once: the pace is counted from the first call after them."""
LATENCIES = {20: 1.03, 100: 1.06, 200: 1.06, 400: 1.06}
"""Mean response time in milliseconds → goal, as a multiple of the floor."""
CALLS = 40
CALLS_BEFORE = 21
"""Calls that are made first and not counted: the gate learns how fast the carrier is."""
OUTLIERS = 0.01
PROCESSES = 2

Row = dict[str, object]


def limits_lifted(sims: Iterable[int], peer_sims: int) -> list[str]:
    """Return the section of syncs and peers whose carrier has no limit."""
    ours: list[Row] = []
    with warehouse() as server:
        for page in (VENDOR_PAGE, LARGE_PAGE):
            for count in sims:
                ours += _sync_rows(server, count, page)
        theirs = _peer_rows(server, peer_sims)
    return [
        "The carrier has no limit of calls and answers at once, in a process of its own; the device list goes from its"
        " API into `amop.device`, the transactions are durable. The second run of the same list is the rerun. Memory is"
        " that of the process that syncs (its imports included); CPU is that of the same process, PostgreSQL's own is"
        f" not in it. Goals: {GOAL_SIMS_PER_SECOND:,} SIMs a second, {GOAL_TIMES_DLT} times the best dlt,"
        f" {GOAL_MEGABYTES:.0f} MB, no row and no WAL in the merge of a rerun.",
        "",
        *markdown(ours),
        f"The peers load the same list of {peer_sims:,} SIMs in pages of {VENDOR_PAGE} from the same carrier into the"
        " same server, one row a SIM, known SIMs updated. ConnectorX is no destination: it only reads databases.",
        "",
        *markdown(theirs),
    ]


def _sync_rows(server: Warehouse, count: int, page: int) -> list[Row]:
    with bench_carrier(count, page_size=page) as carrier:
        conninfo = server.migrated()
        rows = []
        for name in ("first", "rerun"):
            server.checkpoint()
            cost = sync(conninfo, carrier.base_url, name)
            rows.append(_sync_row(f"{count:,}", f"{page:,}", name, cost))
    return rows


def _sync_row(count: str, page: str, name: str, cost: SyncCost) -> Row:
    return {
        "SIMs": count,
        "page": page,
        "run": name,
        "SIMs a second": f"{cost.sims / cost.seconds:,.0f}",
        "staging, s": f"{cost.staging_seconds:.2f}",
        "merge, s": f"{cost.merge_seconds:.2f}",
        "SIMs a CPU second": f"{cost.sims / cost.cpu_seconds:,.0f}",
        "peak MB (before the first call)": f"{cost.peak_megabytes:.0f} ({cost.start_megabytes:.0f})",
        "rows changed": f"{cost.rows_changed:,}",
        "WAL of staging, bytes a SIM": f"{cost.staging_wal_bytes / cost.sims:.0f}",
        "WAL of the merge, bytes a SIM": f"{cost.merge_wal_bytes / cost.sims:.0f}",
    }


def _peer_rows(server: Warehouse, count: int) -> list[Row]:
    with bench_carrier(count, page_size=VENDOR_PAGE) as carrier:
        conninfo = server.migrated()
        server.checkpoint()
        own = sync(conninfo, carrier.base_url, "first")
        package = peers.PeerCost(
            own.sims, own.seconds, own.cpu_seconds, own.peak_megabytes, own.staging_wal_bytes + own.merge_wal_bytes
        )
        runs: dict[str, Callable[[], peers.PeerCost]] = {"this package": lambda: package}
        for name, program in peers.LISTS.items():
            runs[name] = lambda program=program: peers.run_list(server, program, carrier.base_url)  # type: ignore[misc]
        runs["HttpOperator + insert_rows"] = lambda: peers.run_airflow(server, carrier.base_url)
        runs["Singer tap + target-postgres"] = lambda: peers.run_singer(server, carrier.base_url)
        return [_peer_row(name, run, package) for name, run in runs.items()]


def _peer_row(name: str, run: Callable[[], peers.PeerCost], package: peers.PeerCost) -> Row:
    try:
        cost = run()
    except peers.PeerUnavailableError as error:
        return {"loader": name, "SIMs a second": str(error), "this package is faster by": "", "SIMs a CPU second": "",
                "peak MB": "", "WAL, bytes a SIM": ""}  # fmt: skip
    return {
        "loader": name,
        "SIMs a second": f"{cost.rows / cost.seconds:,.0f}",
        "this package is faster by": f"{cost.seconds / package.seconds:.2f} times",
        "SIMs a CPU second": f"{cost.rows / cost.cpu_seconds:,.0f}" if cost.cpu_seconds else "not measured",
        "peak MB": f"{cost.peak_megabytes:.0f}" if cost.peak_megabytes else "not measured",
        "WAL, bytes a SIM": f"{cost.wal_bytes / cost.rows:.0f}",
    }


def loaders(count: int) -> list[str]:
    """Return the section of loaders alone: rows in memory into a table like ``device_staging``."""
    rows: list[Row] = []
    with warehouse() as server:
        for name, program in peers.LOADERS.items():
            try:
                cost = peers.run_loader(server, program, count)
                rows.append({"loader": name, "rows a second": f"{cost.rows / cost.seconds:,.0f}"})
            except peers.PeerUnavailableError as error:
                rows.append({"loader": name, "rows a second": str(error)})
    return [f"{count:,} rows of eight columns into a table like `device_staging`.", "", *markdown(rows)]


def vendor_limit(calls: int) -> list[str]:
    """Return the section of syncs at the vendor's limit of five calls a second, one at a time."""
    rows: list[Row] = []
    with warehouse() as server:
        for outliers in (0.0, OUTLIERS):
            for latency, goal in LATENCIES.items():
                rows.append(_pace_row(server, calls, latency, outliers, goal))
        violations, both = _two_processes(server, calls)
    return [
        f"The floor is calls / min({CALLS_PER_SECOND:.0f} a second, 1 / mean response time); response times vary by"
        f" 25 %, outliers are {100 * OUTLIERS:.0f} % of the calls, of two seconds. The best possible is a"
        " client that knows when its calls arrive; neither it nor any other can make up for a call that was slow. The"
        " carrier counts calls when they"
        f" arrive, in a sliding window, and refuses those over the limit. {calls} calls each, after"
        f" {CALLS_BEFORE} by which the account is known and the {FREE_CALLS} that an idle account may make at once.",
        "",
        *markdown(rows),
        "At 200 ms five calls fill a second exactly: a call that is faster than the mean must wait, and a slower one"
        " cannot catch up, so the best possible client needs 1.04 times the floor. The gate adds the spread of the"
        " response times, because it cannot know whether a call was late before or after its arrival (ADR 3). Tried"
        " before: a window after the end of calls, 1.23 times the floor at 200 ms. Not used: TCP acknowledgements as"
        " proof of the arrival, since they come up to 40 ms late and a gateway may count later than it acknowledges.",
        "",
        f"{PROCESSES} processes at once on one account (response times of 100 ms, outliers): {both} calls,"
        f" {violations} violations.",
        "",
    ]


def _pace_row(server: Warehouse, calls: int, latency: int, outliers: float, goal: float) -> Row:
    count = (calls + FREE_CALLS) * VENDOR_PAGE
    with bench_carrier(count, page_size=VENDOR_PAGE, latency_ms=latency, outliers=outliers, limited=True) as carrier:
        conninfo = server.migrated()
        subprocess.run(_calls(conninfo, carrier.base_url, CALLS_BEFORE), check=True)
        before = carrier.stats()
        sync(conninfo, carrier.base_url, "first", calls_per_second=CALLS_PER_SECOND)
        stats = carrier.stats()
    arrived, spent = stats["arrived"][before["calls"] :], stats["seconds"][before["calls"] :]
    mean = sum(spent) / len(spent)
    floor = (len(arrived) - FREE_CALLS) / min(CALLS_PER_SECOND, 1 / mean)
    wall = arrived[-1] - arrived[FREE_CALLS - 1]
    ratio = wall / floor
    return {
        "response time, ms": latency,
        "outliers": f"{100 * outliers:.0f} %",
        "mean with outliers, ms": f"{1000 * mean:.0f}",
        "times the floor": f"{ratio:.3f}",
        "times the best possible": f"{wall / best_possible(spent):.3f}",
        "goal": f"{goal:.2f}",
        "reached": "met" if ratio <= goal else "**missed**",
        "calls": f"{len(arrived)} (least possible {calls + FREE_CALLS})",
        "violations": stats["violations"],
    }


def best_possible(spent: list[float]) -> float:
    """Return the seconds between the same two calls if each were sent the moment that the carrier would admit it."""
    arrivals: list[float] = []
    for number in range(len(spent)):
        earliest = arrivals[-1] + spent[number - 1] if arrivals else 0.0
        limit = arrivals[number - FREE_CALLS] + 1.0 if number >= FREE_CALLS else 0.0
        arrivals.append(max(earliest, limit))
    return arrivals[-1] - arrivals[FREE_CALLS - 1]


def _calls(conninfo: str, base_url: str, calls: int) -> list[str]:
    return [sys.executable, "-m", "bench.calls", conninfo, base_url, str(calls)]


def _two_processes(server: Warehouse, calls: int) -> tuple[int, int]:
    """Return the violations and the calls of two processes that call as one API user."""
    conninfo = server.migrated()
    with ExitStack() as stack:
        carrier = stack.enter_context(bench_carrier(1, latency_ms=100, outliers=OUTLIERS, limited=True))
        command = _calls(conninfo, carrier.base_url, calls)
        processes = [subprocess.Popen(command) for _ in range(PROCESSES)]
        codes = [process.wait() for process in processes]
        assert codes == [0] * PROCESSES
        stats = carrier.stats()
    return stats["violations"], stats["calls"]
