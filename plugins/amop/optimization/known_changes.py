"""What an optimization knows of plan changes that the last list of devices does not show yet, in sentences.

`amop.plan_since_list` in the warehouse finds them. An applied change counts: the carrier accepted it, and a change that
was read back and not confirmed counts as the plan that the carrier showed. A change that was sent and whose outcome is
not known does not: the SIM may be on either plan, so it keeps the one that is known until the outcome or a list is. An
approved change that was not sent is no change yet: the next optimization replaces it.
"""

from __future__ import annotations

from amop.wording import several


def known_change_notes(applied_plan_count: int | None, change_in_doubt_count: int | None) -> list[str]:
    """Return what to know of the plans that an instance started from; empty where the last list shows all of them.

    Args:
        applied_plan_count: billed SIMs whose plan was applied after the last list; None before there is an instance.
        change_in_doubt_count: placed SIMs with a plan change whose outcome was not known.
    """
    notes = []
    if applied_plan_count:
        sims = several(applied_plan_count, "SIM is", "SIMs are")
        notes.append(f"{sims} on the plan that was applied since the last list of devices: the saving starts from it.")
    if change_in_doubt_count:
        keeps = several(change_in_doubt_count, "SIM keeps its plan", "SIMs keep their plans")
        change = "a change of it" if change_in_doubt_count == 1 else "a change of each"
        notes.append(f"{keeps} for now: {change} was sent to the carrier, and its outcome was not known.")
    return notes
