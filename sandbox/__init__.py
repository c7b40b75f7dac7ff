"""A local world to run the package against.

* `sandbox.carrier`: a carrier that enforces the vendor's limits.
* `sandbox.amop`: an AMOP 2.0 that validates and records every message.
* `sandbox.world`: starts both, with PostgreSQL, an AWS emulator and Airflow.
* `sandbox.demo`: runs a whole billing cycle on that world and checks every figure.

Imports go one way: ``demo`` → ``world`` → ``carrier`` and ``amop`` → `sandbox.http_server`.
"""
