"""AMOP: carrier device sync and rate plan optimization for Apache Airflow."""

__version__ = "0.2.0"
