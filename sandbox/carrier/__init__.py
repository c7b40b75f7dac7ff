"""The sandbox carrier: the part of Cisco Control Center's REST API that the package uses, with the vendor's limits.

Run it with ``python -m sandbox.carrier``; in tests use `sandbox.carrier.running.running_carrier`.

The server has several accounts. The API user of HTTP Basic selects the account. A call above the vendor's limits (five
calls in any second and one call at a time for each API user) gets 429 with ``Retry-After: 1`` and is counted as a
violation. Vendor reference: developer.cisco.com/docs/control-center (Search Devices, Get Device Details, Get Device
Usage, Get Usage by Rate Plan, Edit Device Details).

Admin endpoints, which need no key and have no limits:

* ``GET /sandbox/stats``: call counters by account; ``DELETE`` resets them.
* ``GET /sandbox/truth/{account}``: the true data of every SIM of an account.
* ``POST /sandbox/faults``: add one fault (`sandbox.carrier.faults.Fault`); ``GET`` lists, ``DELETE`` removes all.
* ``POST /sandbox/password`` ``{"account": …, "is_wrong": true}``: refuse the API key of an account.
* ``POST /sandbox/devices`` ``{"account": …, "iccids": […], "set": {…}}`` or ``"remove": true``: change SIMs.
* ``POST /sandbox/usage`` ``{"account": …, "until": …}``: set the usage counters to a time of the billing period.
* ``POST /sandbox/accounts`` ``{"users": […], "like": …, "device_count": …}``: add accounts with the key of another one
  and the same SIMs each; they are gone when the carrier restarts.
"""
