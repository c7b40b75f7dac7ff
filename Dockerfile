# Airflow with this package, installed from the hashed lock. For CeleryExecutor and users with roles, build it with
# --build-arg REQUIREMENTS=requirements-celery.txt; on a newer base, with --build-arg PYTHON_IMAGE=….
ARG PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579
FROM ${PYTHON_IMAGE}

RUN useradd --create-home --uid 50000 --gid 0 airflow
WORKDIR /opt/amop
ARG REQUIREMENTS=requirements.txt
COPY requirements-bootstrap.txt ${REQUIREMENTS} ./
RUN pip install --no-cache-dir --require-hashes -r requirements-bootstrap.txt \
    && uv pip install --system --no-cache --require-hashes --compile-bytecode -r ${REQUIREMENTS}
COPY --chown=root:root dags dags
COPY --chown=root:root plugins plugins
COPY --chown=root:root include include
COPY --chown=root:root deploy deploy
COPY --chown=root:root bin/amop bin/amop

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/amop/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/amop/plugins \
    PYTHONPATH=/opt/amop/plugins
# A new volume takes over the owner of the folder that it is mounted on. Group 0 may write, as in Airflow's own image.
RUN mkdir -p /opt/airflow/logs && chown -R airflow:0 /opt/airflow && chmod -R g=u /opt/airflow
USER airflow
ENTRYPOINT ["airflow"]
CMD ["version"]
