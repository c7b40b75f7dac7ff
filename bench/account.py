"""The account that `bench.carrier` serves: names and key, and its form as the package's account."""

from __future__ import annotations

from pathlib import Path

from amop.carriers.account import CarrierAccount

USER, KEY = "api_bench", "bench-key-of-no-value"
PLANS = [f"Plan {number}" for number in range(10)]


def account_of(base_url: str, calls_per_second: float) -> CarrierAccount:
    """Return the account at an address, with the limit that the gate keeps."""
    return CarrierAccount.from_connection_fields(
        connection_id="carrier_bench",
        service_provider_name="Bench",
        host=base_url,
        schema=None,
        port=None,
        login=USER,
        password=KEY,
        extra={"calls_per_second": calls_per_second},
    )


def peak_megabytes() -> float:
    """Return the largest resident memory of this process; unlike ``ru_maxrss`` it does not begin with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
