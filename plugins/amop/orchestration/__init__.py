"""The only place that imports Airflow: task groups, tasks, triggers."""
