"""HiGHS without a word: it prints a banner to standard output when it is first made, before it can be told not to."""

from __future__ import annotations

import os
import sys

import highspy


def quiet_solver() -> highspy.Highs:
    """Return a solver of one thread that prints nothing."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        solver = highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
    solver.silent()
    solver.setOptionValue("threads", 1)
    return solver
