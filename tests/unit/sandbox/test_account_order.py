"""The order of modification of a sandbox account stays right while SIMs are changed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sandbox.carrier.account import CarrierAccount
from sandbox.carrier.fleet import generate_fleet

AS_OF = datetime(2026, 11, 10, 12, tzinfo=UTC)


def test_touched_sims_are_listed_last_in_the_order_in_which_they_were_touched() -> None:
    moments = [AS_OF]
    fleet = generate_fleet(integration="jasper", account="api", device_count=200, seed=7, as_of=AS_OF)
    account = CarrierAccount(fleet, clock=lambda: moments[-1])
    dice = random.Random(5)
    touched: list[str] = []
    for number in range(300):
        if number % 3 == 0:
            moments.append(moments[-1] + timedelta(seconds=dice.random()))
        iccid = dice.choice(list(account.sims))
        account.touch([iccid])
        touched = [*(other for other in touched if other != iccid), iccid]
        if number % 50 == 49:
            account.remove(touched.pop(0))
        listed = account.modified_between(datetime(2000, 1, 1, tzinfo=UTC), None)
        assert listed == sorted(account.sims, key=lambda sim: (account.sims[sim].date_updated, sim))
        assert listed[-len(touched) :] == touched
    since = account.sims[touched[-3]].date_updated
    assert account.modified_between(since, None) == touched[-3:]
