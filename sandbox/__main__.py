"""Run the sandbox: ``python -m sandbox demo|up|down|airflow``."""

from sandbox.cli import app

if __name__ == "__main__":
    app()
