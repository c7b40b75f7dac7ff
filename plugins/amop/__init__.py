"""AMOP: carrier device sync and rate-plan optimization for Apache Airflow."""
