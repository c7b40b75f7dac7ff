"""The proof of an answer as a JSON file: the certificate and the terms of the bill, for anyone to check again.

An optimization instance is stored with the same document. Nothing in it is trusted: `amop.solver.verify`
computes everything again that it claims.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amop.optimization.csv_files import OptimizationInputs
from amop.optimization.csv_table import InputFileError, Problem, Problems, read_table
from amop.solver import Certificate, OptimizationResult, OptimizerInputError, Terms
from amop.solver.certificate import ChangeProof, TreeProof
from amop.solver.model import Integers
from amop.solver.proof_tree import FINEST_SCALE, ComponentTree, CountedSet, Leaf, Split
from amop.wording import several

Scale = Annotated[int, Field(ge=1, le=FINEST_SCALE)]
Money = Annotated[int, Field(ge=0, le=10**30)]

ANSWER_COLUMNS = ("device_id", "rate_plan_code")


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Terms(_Entry):
    period_days: Annotated[int, Field(ge=1, le=366)]
    uses_proration: bool
    prorate_allowance: bool
    pool_scope: Literal["service_provider", "comm_group"]


class _Changes(_Entry):
    saving: Money
    most: int | None
    count: int
    change_price: Money
    scale: Scale
    price: list[int]
    objective: int
    price_bound: int
    bound: int


class _ComponentTree(_Entry):
    pools: list[int]
    sets: list[tuple[str, str | None]]
    nodes: list[tuple[Literal["blocks", "sims"], int, int] | tuple[list[int], list[tuple[int, int]]]]


class _Tree(_Entry):
    bound_micro: int
    scale: Scale
    trees: list[_ComponentTree]


class _Proof(_Entry):
    pools: list[str]
    price_scale: Scale
    prices: list[int]
    bill_micro: int
    price_bound_micro: int
    lower_bound_micro: int
    changes: _Changes | None = None
    tree: _Tree | None = None
    terms: _Terms


def proof_document(result: OptimizationResult) -> dict[str, Any]:
    """Return the certificate of a result with the terms of its bill, as a JSON-serializable document."""
    return result.certificate.as_json() | {"terms": asdict(result.model.terms)}


def read_proof(path: Path) -> tuple[Certificate, Terms]:
    """Return the certificate in a file, and the terms of its bill.

    Raises:
        InputFileError: the file cannot be read, or is no proof; the message says where.
    """
    try:
        proof = _Proof.model_validate_json(path.read_bytes())
        terms = Terms(**proof.terms.model_dump())
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = " of ".join(str(part) for part in reversed(first["loc"])) or "the document"
        raise InputFileError(f"{path}: not a proof of the optimizer: {place}: {first['msg']}") from None
    except OptimizerInputError as error:
        raise InputFileError(f"{path}: {error}") from None
    return _certificate(proof), terms


def read_answer(path: Path, inputs: OptimizationInputs) -> Integers:
    """Return the rate plan of each SIM in an answer file, shape (N,), int64; its lines may be in any order.

    Raises:
        InputFileError: a SIM or a rate plan is unknown, or a SIM has no line or two.
    """
    problems = Problems()
    table = read_table(path, ANSWER_COLUMNS, problems)
    if table is None:
        problems.raise_if_any()
        raise AssertionError("a file without a table has a problem")
    device_id = table.unique_texts("device_id", problems)
    known = inputs.device_id.to_list()
    device = table.index_of("device_id", known, problems, "{value} is not in the devices file", allow_empty=False)
    plan = table.index_of(
        "rate_plan_code", inputs.rate_plans.code, problems, "{value} is not in the rate plans file", allow_empty=False
    )
    assignment = np.full(len(known), -1, dtype=np.int64)
    assignment[device[device >= 0]] = plan[device >= 0]
    if not problems.count and len(device_id) < len(known):
        missing = known[int(np.flatnonzero(assignment < 0)[0])]
        count = len(known) - len(device_id)
        text = f"{missing!r} has no line; of {several(len(known), 'SIM')} {count:,} have none"
        problems.add(Problem(str(path), 0, "device_id", text))
    problems.raise_if_any()
    return assignment


def _certificate(proof: _Proof) -> Certificate:
    changes, tree = proof.changes, proof.tree
    return Certificate(
        pool_name=tuple(proof.pools),
        price_scale=proof.price_scale,
        price=tuple(proof.prices),
        bill=proof.bill_micro,
        price_bound=proof.price_bound_micro,
        lower_bound=proof.lower_bound_micro,
        changes=None
        if changes is None
        else ChangeProof(
            min_saving=changes.saving,
            max_changes=changes.most,
            change_count=changes.count,
            change_price=changes.change_price,
            price_scale=changes.scale,
            price=tuple(changes.price),
            objective=changes.objective,
            price_bound=changes.price_bound,
            bound=changes.bound,
        ),
        tree=None
        if tree is None
        else TreeProof(tuple(_component_tree(one) for one in tree.trees), tree.scale, tree.bound_micro),
    )


def _component_tree(entry: _ComponentTree) -> ComponentTree:
    nodes: list[Split | Leaf] = []
    for node in entry.nodes:
        if len(node) == 3:
            nodes.append(Split(node[0] == "blocks", node[1], node[2]))
        else:
            nodes.append(Leaf(tuple(node[0]), tuple(node[1])))
    return ComponentTree(tuple(entry.pools), tuple(CountedSet(*one) for one in entry.sets), tuple(nodes))
