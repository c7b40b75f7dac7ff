"""The use cases, free of Airflow: device sync, clean-up, optimization."""
