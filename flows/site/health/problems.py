"""What keeps a site from starting runs, each in a line that says what to do; decided from facts alone."""

from __future__ import annotations

from collections.abc import Iterator

from flows.display_text import moment, one_line
from flows.site.health.facts import ApiFacts, SiteFacts
from flows.site.processes import ProcessFacts
from flows.site.running_site import BRIDGE
from flows.site.supervision import ServiceState

HEARTBEAT_LATE_S = 75.0
"""The worker says every 30 s that it's there: twice in vain. Prefect waits for three."""
POLL_LATE_S = 20.0
"""The worker looks for runs every 2 s at rest; a busy server takes its time."""
MOST_DIFFERENCES = 5  # runs of which each is told, the last ones


def find_problems(facts: SiteFacts) -> tuple[str, ...]:
    """Return why a run wouldn't start and be carried out; none: it would."""
    full = [f"{disk}: FULL. Make room: what waits for it goes on by itself" for disk in facts.disks if disk.is_full]
    if facts.supervisor == "none":
        return (*full, "nothing runs here: start it with `plaza up`")
    return (*full, *_of_supervisor(facts), *_of_processes(facts), *(_of_parts(facts) if _can_tell(facts) else ()))


def find_warnings(facts: SiteFacts) -> tuple[str, ...]:
    """Return what somebody should look at though runs start."""
    return (
        *(f"{disk}: nearly full" for disk in facts.disks if disk.is_nearly_full),
        *([] if facts.sees_processes else ["the site is another user's: what its processes do can't be seen"]),
        *([f"{facts.api.late} runs have waited for more than 30 s"] if facts.api.late else []),
        *_of_messages(facts),
        *([f"spots are found without the kernel, several times slower: {facts.no_kernel}"] if facts.no_kernel else []),
    )


def find_wrong_numbers(facts: SiteFacts) -> Iterator[str]:
    """Yield what was found of spots that weren't DIALS's: runs start, and may write wrong numbers."""
    for found in facts.differences[-MOST_DIFFERENCES:]:
        run = found.recipe_run
        again = "".join(
            f"{count} images before it may be wrong: `plaza resume {run} --from {node}` has DIALS do them again. "
            for node, count in sorted(found.may_be_wrong.items())
        )
        yield (
            f"spots of {one_line(found.image)} weren't DIALS's ({found.what_differs}), seen {moment(found.at)} by run "
            f"{run} on {one_line(found.host)}, which went on by DIALS alone. {again}Until Plaza is mended, "
            f"PLAZA_SPOTS_CHECKED_ONE_IN=1 has all runs write DIALS's numbers; then `plaza status --acknowledge {run}`"
        )
    if len(facts.differences) > MOST_DIFFERENCES:
        yield f"… and {len(facts.differences) - MOST_DIFFERENCES} earlier runs had spots that weren't DIALS's"


def _can_tell(facts: SiteFacts) -> bool:
    return facts.supervisor == "runs" and not facts.site_file_fault


def _of_supervisor(facts: SiteFacts) -> Iterator[str]:
    if facts.supervisor == "silent":
        yield "supervisord is there and doesn't answer: `plaza up` lets it go on, or starts the site anew"
    elif facts.supervisor == "ending":
        yield "the site goes down: once it has, or at once, `plaza up` starts it again"
    elif facts.supervisor == "died":
        left = len(facts.processes)
        remain = f"{left} processes of the site remain" if left else "nothing of the site remains"
        yield f"the supervisor was killed; {remain}; `plaza up` starts it again"
    elif facts.site_file_fault:
        yield f"{facts.site_file_fault}: `plaza up` writes it anew"


def _of_processes(facts: SiteFacts) -> Iterator[str]:
    stopped = [process for process in facts.processes if process.is_stopped]
    for process in stopped[:5]:
        name = _whose(process, facts)
        yield f"process {process.pid} ({name}) is stopped and does nothing: `kill -CONT {process.pid}`, or end it"
    if len(stopped) > 5:
        yield f"… and {len(stopped) - 5} more processes are stopped"


def _whose(process: ProcessFacts, facts: SiteFacts) -> str:
    """Say what a process is: a service, or what one has started."""
    services = {service.pid: service.name for service in facts.services if service.pid}
    parents = {each.pid: each.parent for each in facts.processes}
    if process.pid in services:
        return services[process.pid]
    above = process.parent
    while above in parents and above not in services:
        above = parents[above]
    return f"{process.title[:60]}{f', of the {services[above]}' if above in services else ''}"


def _of_parts(facts: SiteFacts) -> Iterator[str]:
    for service in facts.services:
        if not service.is_running:
            yield f"the {service.name} doesn't run ({_standing(service)}"
    yield from _of_api(facts)
    yield from _of_worker(facts)
    yield from _of_cluster(facts)
    yield from _of_bridge(facts)


def _standing(service: ServiceState) -> str:
    """Say what supervisord says of a service that doesn't run, and who has it go on."""
    see = f"see {service.name}.log among the logs"
    if service.is_left:
        return f"{service.state}; {service.note or 'not started'}): `plaza up` starts it; {see}"
    if service.state == "STOPPING":
        return f"{service.state}): it's being stopped; {see}"
    return f"{service.state}; {service.note or 'just started'}): {see}; it's tried again by itself"


def _of_api(facts: SiteFacts) -> Iterator[str]:
    api = facts.api
    if not api.answers:
        yield "Prefect's API doesn't answer (yet): see server.log among the logs"
    elif not api.has_database:
        yield "Prefect's API answers, its database doesn't: see database.log and server.log among the logs"
    elif not api.has_pool:
        yield "the work pool plaza isn't there: `plaza deploy` makes it"
    else:
        yield from _of_pool(facts, api)


def _of_pool(facts: SiteFacts, api: ApiFacts) -> Iterator[str]:
    for name in api.paused:
        yield f"{name} is paused, so no run of it starts: `plaza prefect {_resumption(name)}`"
    for queue in api.full_queues:
        yield f"no run of {queue} starts before one of them ends: `plaza prefect work-queue ls`"
    if api.pool_limit is not None and api.busy >= api.pool_limit:
        living = sum(process.is_flow_run for process in facts.processes)
        if api.pool_limit == 0:
            yield (
                "the work pool plaza lets no run start (its limit is 0): "
                "`plaza prefect work-pool clear-concurrency-limit plaza`"
            )
        elif facts.sees_processes and living < api.busy:
            yield (
                f"{api.busy} runs hold the {api.pool_limit} places of the work pool, but only {living} are at work: "
                "`plaza resume --interrupted` takes up those that were killed"
            )
    if missing := [name for name in facts.expected if name not in api.deployments]:
        yield f"not deployed: {', '.join(missing)}. `plaza deploy` does it"


def _resumption(name: str) -> str:
    kind, _, own = name.rpartition(" ")
    return f"work-pool resume {own}" if kind.endswith("pool") else f"work-queue resume {own} --pool plaza"


def _of_worker(facts: SiteFacts) -> Iterator[str]:
    worker, api = facts.service("worker"), facts.api
    if worker is None or not worker.is_running:
        return
    servers = [process for process in facts.started_by("worker") if process.is_fork_server]
    if facts.sees_processes and not any(process.is_ready_fork_server for process in servers):
        yield "the worker has no fork server ready: runs wait for it, some seconds. If that lasts, see worker.log"
    elif not api.has_pool:
        return  # nothing is known of it, and that has been said
    elif api.heartbeat_age_s is None or api.heartbeat_age_s > worker.uptime_s + 1:
        yield "the worker has not reported to Prefect since its start: it's not ready (yet); see worker.log"
    elif api.heartbeat_age_s > HEARTBEAT_LATE_S:
        yield f"the worker was last heard of {api.heartbeat_age_s:.0f} s ago: see worker.log among the logs"
    elif api.polled_age_s is None or api.polled_age_s > POLL_LATE_S:
        since = "not" if api.polled_age_s is None else f"for {api.polled_age_s:.0f} s not"
        yield f"the worker has {since} asked for runs: see worker.log among the logs"


def _of_cluster(facts: SiteFacts) -> Iterator[str]:
    cluster = facts.service("analysis-cluster")
    if cluster is None or not cluster.is_running:
        return
    if not facts.cluster_answers:
        yield "the Dask scheduler doesn't answer (yet): see analysis-cluster.log among the logs"
    elif facts.sees_processes and not any(process.is_dask_worker for process in facts.started_by("analysis-cluster")):
        yield "the analysis cluster has no worker (yet): images wait; see analysis-cluster.log among the logs"


def _of_bridge(facts: SiteFacts) -> Iterator[str]:
    service, state = facts.service(BRIDGE), facts.bridge
    if service is None or not service.is_running:
        return
    if state is None:
        yield "the bridge has not said how it is (yet): see bridge.log among the logs"
    elif state.broker is None:
        yield one_line(state.last_error)
    elif state.connected_since is None:
        yield (
            f"the broker {state.broker} is away, so Zocalo's clients aren't heard; nothing is lost, and the bridge "
            f"goes on as soon as it's back. {one_line(state.last_error)}"
        )


def _of_messages(facts: SiteFacts) -> Iterator[str]:
    state = facts.bridge
    if state is not None:
        yield from (one_line(warning) for warning in state.warnings)
    if state is not None and state.held:
        yield f"the bridge holds {state.held} messages that it can't take now: {one_line(state.last_error)}"
    if state is not None and state.outbox:
        not_taken = f"; nothing takes those for {one_line(state.not_taken_by)}" if state.not_taken_by else ""
        yield f"{state.outbox} messages wait to be published by the bridge{not_taken}: see bridge.log among the logs"
