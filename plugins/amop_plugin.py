"""The Airflow plugin of the package: the operators' page, in Airflow's navigation and below ``/amop/``, and its links.

Airflow loads it from the plugins folder, or through the entry point ``airflow.plugins`` of the installed package.
"""

# Half of what a DAG file imports: the processes that Airflow forks, one for each file and task, inherit it.
import psycopg  # noqa: F401
from airflow.plugins_manager import AirflowPlugin

from amop.web.lazy_app import LazyApp
from amop.web.task_links import PageLink


class AmopPlugin(AirflowPlugin):
    """The plugin ``amop``."""

    name = "amop"
    fastapi_apps = [{"name": "AMOP", "app": LazyApp(), "url_prefix": "/amop"}]  # noqa: RUF012 as Airflow declares it
    global_operator_extra_links = [PageLink()]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "AMOP", "href": "amop/", "destination": "nav", "url_route": "amop", "nav_top_level": True}
    ]
