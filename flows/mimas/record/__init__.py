"""What a run of Mimas decided and what came of it: kept in the home, shown in Prefect and in a terminal."""

from flows.mimas.record.decision_record import (
    DecisionNotKept,
    DecisionRecord,
    MimasRunFolder,
    RuleRecord,
    mimas_run_folder,
)
from flows.mimas.record.outcome import EventName, MimasOutcome
from flows.mimas.record.showing import mimas_run_text

__all__ = [
    "DecisionNotKept",
    "DecisionRecord",
    "EventName",
    "MimasOutcome",
    "MimasRunFolder",
    "RuleRecord",
    "mimas_run_folder",
    "mimas_run_text",
]
