"""Development tools: checks of changed files, SQL lint, lock files, dependency audit and the list of the DAGs."""
