"""A deployment's schedules as Prefect has them: ours are those of the files, an operator's own stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from blocks.errors import ConfigurationError
from blocks.validation_faults import describe
from flows.deploying.planned import PlannedSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.schedules import CronSchedule


def schedules_differ(planned: Sequence[PlannedSchedule], present: Sequence[DeploymentSchedule]) -> bool:
    """Tell whether the schedules of the files aren't there as they are wanted; one that was paused is."""
    known = {schedule.slug: schedule for schedule in present}
    return any(not _is_same(wanted, known.get(wanted.slug)) for wanted in planned)


def schedules_to_apply(
    planned: Sequence[PlannedSchedule], present: Sequence[DeploymentSchedule]
) -> list[DeploymentScheduleCreate]:
    """Return all schedules that a deployment is to have: an update removes those that it doesn't name.

    One that an operator has paused stays paused, and what operators have added stays.

    Raises
    ------
    ConfigurationError
        A schedule of the files is none.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    known = {schedule.slug: schedule for schedule in present}
    ours = [
        DeploymentScheduleCreate(
            schedule=cron_schedule(wanted),
            active=known[wanted.slug].active if wanted.slug in known else wanted.active,
            slug=wanted.slug,
        )
        for wanted in planned
    ]
    names = {wanted.slug for wanted in planned}
    others = [
        DeploymentScheduleCreate(
            schedule=schedule.schedule,
            active=schedule.active,
            max_scheduled_runs=schedule.max_scheduled_runs,
            parameters=schedule.parameters,
            slug=schedule.slug,
        )
        for schedule in present
        if schedule.slug not in names
    ]
    return ours + others


def cron_schedule(planned: PlannedSchedule) -> CronSchedule:
    """Return a schedule as Prefect has it.

    Raises
    ------
    ConfigurationError
        It has no such times, or there's no such time zone.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        return CronSchedule(cron=planned.cron, timezone=planned.timezone)
    except ValidationError as error:
        raise ConfigurationError(f"schedule {planned.slug!r}: {describe(error)}") from error


def _is_same(wanted: PlannedSchedule, present: DeploymentSchedule | None) -> bool:
    from prefect.client.schemas.schedules import CronSchedule

    if present is None or not isinstance(present.schedule, CronSchedule):
        return False
    return (present.schedule.cron, present.schedule.timezone) == (wanted.cron, wanted.timezone)
