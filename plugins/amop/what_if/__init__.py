"""What if: the bill of a provider's SIMs with other rate plans, by the same solver and with the same proof."""
