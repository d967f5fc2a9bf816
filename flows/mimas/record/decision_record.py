"""What a run of Mimas has decided and what came of it: kept in its folder before the first launch, and read back there.

A run that was killed half-way and is taken up again carries out what it had decided: ISPyB and the rules may say
something else by then, and half of one decision with half of another is none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from blocks.errors import PlazaError
from blocks.full_disks import when_there_is_room
from blocks.home_folder import MIMAS_RUNS
from blocks.identifiers import Dcid
from blocks.settings import get_settings
from flows.mimas.decision import Decision, Ruling
from flows.mimas.record.outcome import MimasOutcome
from flows.mimas.scenario import Event, Invocation, ISPyBJobInvocation, RecipeInvocation, Scenario
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

FORMAT: Final = 1


class DecisionNotKept(PlazaError):
    """A decision can't be written to the home folder, so nothing of it is carried out."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class RuleRecord(_Record):
    """What a rule said.

    Parameters
    ----------
    because
        The conditions that decided, each with what was seen.
    asks_for
        What it asks for, in words.
    fault
        Why it couldn't say anything; empty: it could.
    """

    rule: str
    matched: bool
    because: tuple[str, ...]
    asks_for: tuple[str, ...] = ()
    fault: str = ""


class DecisionRecord(_Record):
    """A decision, whole: what it was made of, what is to be launched, and why.

    Parameters
    ----------
    given
        Parameters for the recipes that came with the event.
    faults
        What kept the rules from deciding on all that they're for.
    site_rules
        What the site has added to Plaza's rules, replaced or switched off.
    warnings
        What makes no sense in ISPyB, or in the event, and didn't count; rules that can't be explained.
    has_reading
        What was read of the data collection is kept for the recipe runs.
    outcome
        What came of it; None: it hasn't been carried out to its end.
    """

    scenario: Scenario
    recipes: tuple[RecipeInvocation, ...]
    jobs: tuple[ISPyBJobInvocation, ...]
    rules: tuple[RuleRecord, ...]
    given: Mapping[str, Any] = {}
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    site_rules: tuple[str, ...] = ()
    has_reading: bool = False
    recipe_id: str = ""
    outcome: MimasOutcome | None = None
    format: int = FORMAT

    @classmethod
    def of(
        cls, decision: Decision, given: Mapping[str, Any] | None = None, warnings: Iterable[str] = (), **facts: Any
    ) -> DecisionRecord:
        """Make that of a decision."""
        return cls(
            scenario=decision.scenario,
            recipes=decision.recipes,
            jobs=decision.jobs,
            rules=tuple(map(_rule_record, decision.rulings)),
            given=given or {},
            faults=decision.faults,
            warnings=(*warnings, *decision.unexplained),
            **facts,
        )

    @property
    def matched(self) -> tuple[str, ...]:
        """Names of the rules that applied."""
        return tuple(rule.rule for rule in self.rules if rule.matched)

    @property
    def is_to_be_carried_out(self) -> bool:
        """It has not been to its end, or all was and nothing was amiss: then to carry it out again changes nothing."""
        outcome = self.outcome
        return outcome is None or bool(outcome.interrupted) or not (outcome.failed or outcome.faults)

    def is_for(self, dcid: Dcid, event: Event, given: Mapping[str, Any]) -> bool:
        """Tell whether it's the decision on an event."""
        return (self.scenario.dcid, self.scenario.event, self.given) == (dcid, event, given)


@dataclass(frozen=True)
class MimasRunFolder:
    """The files of one run of Mimas; the folder's name is the flow run's id."""

    path: Path

    @property
    def decision(self) -> Path:
        """What it decided, and what came of it (JSON)."""
        return self.path / "decision.json"

    @property
    def log(self) -> Path:
        """Its log lines (JSON lines)."""
        return self.path / "log.jsonl"

    async def keep(self, record: DecisionRecord) -> None:
        """Write a decision, whole, to disk; waits for room on a disk that is full.

        Raises
        ------
        DecisionNotKept
            It can't be written.
        """
        content = record.model_dump_json().encode()
        try:
            await when_there_is_room(lambda: write_atomically(self.decision, content))
        except OSError as error:
            raise DecisionNotKept(
                f"what Mimas decided can't be written to {self.decision} ({error}), so nothing more is launched: mend "
                f"the home folder, then `plaza resume {self.path.name}`"
            ) from error

    def read(self) -> DecisionRecord | None:
        """Read the decision back; None: there is none, or, with a warning, none that can be read."""
        try:
            return DecisionRecord.model_validate_json(self.decision.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:  # another version's, say
            logger.warning("what was decided can't be read from %s, it's decided anew: %s", self.decision, error)
            return None


def mimas_run_folder(flow_run: object, home: Path | None = None) -> MimasRunFolder:
    """Return the folder of a run of Mimas, whether there is one or not."""
    return MimasRunFolder((home or get_settings().home) / MIMAS_RUNS / str(flow_run))


def _rule_record(ruling: Ruling) -> RuleRecord:
    return RuleRecord(
        rule=ruling.rule,
        matched=ruling.matched,
        because=ruling.because,
        asks_for=tuple(map(_named, ruling.invocations)),
        fault=ruling.fault,
    )


def _named(wanted: Invocation) -> str:
    return wanted.recipe if isinstance(wanted, RecipeInvocation) else f"job {wanted.recipe}"
