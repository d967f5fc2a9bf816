"""A deployment's schedules as Prefect has them: ours are those of the files, an operator's own stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.deploying.planned import PlannedSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import DeploymentSchedule


def schedules_differ(planned: Sequence[PlannedSchedule], present: Sequence[DeploymentSchedule]) -> bool:
    """Tell whether the schedules of the files aren't there as they are wanted; one that was paused is."""
    known = {schedule.slug: schedule for schedule in present}
    return any(not _is_same(wanted, known.get(wanted.slug)) for wanted in planned)


def schedules_to_apply(
    planned: Sequence[PlannedSchedule], present: Sequence[DeploymentSchedule]
) -> list[DeploymentScheduleCreate]:
    """Return all schedules that a deployment is to have: an update removes those that it doesn't name.

    One that an operator has paused stays paused, and what operators have added stays.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    known = {schedule.slug: schedule for schedule in present}
    ours = [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=wanted.cron, timezone=wanted.timezone),
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


def _is_same(wanted: PlannedSchedule, present: DeploymentSchedule | None) -> bool:
    if present is None:
        return False
    schedule = present.schedule
    return getattr(schedule, "cron", None) == wanted.cron and schedule.timezone == wanted.timezone
