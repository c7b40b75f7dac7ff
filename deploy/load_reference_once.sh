#!/usr/bin/env bash
# Load a reference file into a warehouse without providers; leave any other warehouse as it is.
set -euo pipefail
if python -m amop.cli status --json \
    | python -c 'import json, sys; sys.exit(not json.load(sys.stdin)["service_providers"])'; then
    echo "The warehouse has providers: nothing is loaded."
else
    python -m amop.cli load-reference "$1"
fi
