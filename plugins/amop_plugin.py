"""The Airflow plugin of the package: the operators' page, in Airflow's navigation and below ``/amop/``.

Airflow loads it from the plugins folder, or through the entry point ``airflow.plugins`` of the installed package.
"""

from airflow.plugins_manager import AirflowPlugin

from amop.web.lazy_app import LazyApp


class AmopPlugin(AirflowPlugin):
    """The plugin ``amop``."""

    name = "amop"
    fastapi_apps = [{"name": "AMOP", "app": LazyApp(), "url_prefix": "/amop"}]  # noqa: RUF012 as Airflow declares it
    external_views = [  # noqa: RUF012
        {"name": "AMOP", "href": "amop/", "destination": "nav", "url_route": "amop", "nav_top_level": True}
    ]
