"""Airflow's side of the package: task groups, operators, sensors, triggers. No other module imports Airflow.

Raises:
    ImportError: Airflow is older than 3.3.
"""

from airflow import __version__ as _airflow_version

from amop import __version__ as _version

OLDEST_AIRFLOW = (3, 3)

if tuple(int(part) for part in _airflow_version.split(".")[:2]) < OLDEST_AIRFLOW:
    raise ImportError(
        f"amop-airflow {_version} requires Apache Airflow {'.'.join(map(str, OLDEST_AIRFLOW))} or newer, "
        f"but Airflow {_airflow_version} is installed. Upgrade Airflow, for example with requirements.txt."
    )
