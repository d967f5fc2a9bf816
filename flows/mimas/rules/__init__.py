"""What runs when: a table of rules for each science area."""

from flows.mimas.rules.every_area import RULES, decide

__all__ = ["RULES", "decide"]
