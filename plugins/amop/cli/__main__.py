"""Run the command line: ``python -m amop.cli``."""

from amop.cli.main import main

if __name__ == "__main__":
    main()
