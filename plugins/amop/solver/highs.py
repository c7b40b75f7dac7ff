"""HiGHS without its banner, and a sparse matrix in its format."""

from __future__ import annotations

import os
import sys
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from amop.solver.model import Integers


def silent_solver() -> highspy.Highs:
    """Return a solver with one thread that prints nothing.

    HiGHS prints a banner to file descriptor 1 when the first instance is made, before its output can be switched off.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        solver = highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)
    solver.silent()
    solver.setOptionValue("threads", 1)
    return solver


def set_matrix(program: Any, rows: Integers, columns: Integers, values: npt.NDArray[np.float64]) -> None:
    """Set the constraint matrix of a program from triplets, each of shape (entries,).

    Args:
        program: a `highspy.HighsLp` whose number of columns is set.
        rows: row of each entry.
        columns: column of each entry.
        values: the entries.
    """
    order = np.lexsort((rows, columns))
    starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=program.num_col_))])
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = starts
    program.a_matrix_.index_, program.a_matrix_.value_ = rows[order], values[order]
