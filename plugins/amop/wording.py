"""Amounts and counted nouns as people read them, the same on the page, in messages, mails and the command line."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

NOTHING = "–"
"""Stands for a value that is not known."""

CENT = Decimal("0.01")


def money(amount: Decimal | None, currency: str) -> str:
    """Return an amount with its currency and 2 decimals, rounded half up."""
    if amount is None:
        return NOTHING
    return f"{currency} {hundredths(amount):,f}"


def exact_money(amount: Decimal | None, currency: str) -> str:
    """Return an amount with its currency and all of its decimals."""
    return NOTHING if amount is None else f"{currency} {amount:,f}"


def hundredths(number: Decimal) -> Decimal:
    """Return a number with 2 decimals, rounded half up."""
    return number.quantize(CENT, rounding=ROUND_HALF_UP) + 0  # never -0.00


def several(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 message``, ``2 messages``, ``1,000 messages``.

    Args:
        number: the count.
        one: the noun, with what follows it where that depends on the number, as in ``message waits``.
        many: the same for all other numbers; None = the noun with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def reached(
    applied: int, whole: int, reached_saving: Decimal | None, saving: Decimal | None, currency: str
) -> str | None:
    """Return what the applied plan changes of a session have done to the bill, as a clause; None if none was applied.

    Args:
        applied: number of applied changes.
        whole: number of all changes.
        reached_saving: the bill before any change less the bill with the applied ones; None if it is not known.
        saving: the same of all changes.
        currency: of the amounts.
    """
    if not 0 < applied < whole:
        return None
    done = f"{applied:,} of {several(whole, 'change')} {'was' if applied == 1 else 'were'} applied"
    if reached_saving is not None:
        amount = money(abs(reached_saving), currency)
        side = "lower" if reached_saving > 0 else "higher"
        done += f": the bill is {f'{amount} {side} than' if reached_saving else 'the same as'} before"
    return f"{done}; all {whole:,} would save {money(saving, currency)}"


def capped(cap: int | None, more: int | None, saving: Decimal | None, currency: str) -> str | None:
    """Return what a limit on plan changes has kept from being saved, as a clause; None where it was not reached.

    Args:
        cap: the limit.
        more: further changes that the best plans without the limit need.
        saving: what these plans save more.
        currency: of the amount.
    """
    if cap is None or more is None or saving is None:
        return None
    name = f"capped by maximum_changes = {cap:,}"
    if saving <= 0:
        return f"{name}; without the cap no cheaper plans were found"
    changes = several(more, "more change") if more > 0 else "other changes"
    return f"{name}; without the cap {changes} would save {money(saving, currency)}"
