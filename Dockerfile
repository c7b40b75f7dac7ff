# Airflow with this package, installed from the hashed lock. For CeleryExecutor, build it with
# --build-arg REQUIREMENTS=requirements-celery.txt
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 50000 airflow
WORKDIR /opt/amop
ARG REQUIREMENTS=requirements.txt
COPY requirements-bootstrap.txt ${REQUIREMENTS} ./
RUN pip install --no-cache-dir --require-hashes -r requirements-bootstrap.txt \
    && uv pip install --system --no-cache --require-hashes --compile-bytecode -r ${REQUIREMENTS}
COPY --chown=root:root dags dags
COPY --chown=root:root plugins plugins
COPY --chown=root:root include include
COPY --chown=root:root bin/amop bin/amop

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/amop/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/amop/plugins \
    PYTHONPATH=/opt/amop/plugins
RUN mkdir -p /opt/airflow && chown airflow: /opt/airflow
USER airflow
ENTRYPOINT ["airflow"]
CMD ["version"]
