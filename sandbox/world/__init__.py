"""The sandbox world: PostgreSQL, an AWS emulator, the sandbox carrier, the sandbox AMOP and Airflow on loopback ports.

`sandbox.world.lifecycle` starts and stops it; `sandbox.world.world` holds its ports, secrets and environment.
"""
