"""The operators' page in Airflow: a FastAPI application behind Airflow's own sign-in.

`amop.page` says what the views show; this package knows Airflow, HTTP and HTML. It only reads: every route is a GET,
and an approval is answered through Airflow's own API.
"""
