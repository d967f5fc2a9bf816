"""What runs when: a table of rules for each science area."""

from flows.mimas.rules.discovery import decide, load_rules, own_rules, rules_in_force
from flows.mimas.rules.rule_set import RuleSet, beamline_warning

__all__ = ["RuleSet", "beamline_warning", "decide", "load_rules", "own_rules", "rules_in_force"]
