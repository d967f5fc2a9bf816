"""`plaza mimas replay`: what other rules would have started for past data collections."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows.cli.ispyb.option import IspybURL, open_ispyb
from flows.cli.mimas.event_option import EventName, events_of
from flows.cli.mimas.period_options import Since, Until, moment_of
from flows.cli.mimas.trial_rules import RulesFile, rules_to_ask, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.mimas.what_if.replay import ReplayedPage
    from flows.mimas.what_if.rule_comparison import RuleComparison
    from tasks.ispyb_access.reading.past.facts import UnreadCollection
    from tasks.ispyb_access.reading.past.statements import Period

MOST_TOLD: Final = 20  # data collections that can't be decided on; the others are counted
CLEAR_LINE: Final = "\r\x1b[K"


def replay(
    since: Since,
    until: Until = None,
    beamlines: Annotated[
        list[str] | None,
        typer.Option("--beamline", metavar="NAME", help="On this beamline, as in i03; may be given again."),
    ] = None,
    event: EventName = None,
    rules: RulesFile = None,
    summary: Annotated[bool, typer.Option("--summary", help="Print the counts only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each event that differs; the last has the counts.")
    ] = False,
    ispyb: IspybURL = None,
) -> None:
    """Compare what rules ask for with what changed rules would ask for, for past data collections.

    With --rules FILE the changed rules are those with FILE in the place of the site's rule file, compared with the
    rules in force; without, they are the rules in force, compared with Plaza's own. Lines with + are what would start,
    with - what would not any longer. ISPyB counts as it is now; nothing is run or written, and nothing goes to the
    cloud. Data collections that can't be decided on are told and left out. Exits with 1 if a rule is wrong.
    """
    now = datetime.now()
    period = _period(moment_of(since, "--since", now), None if until is None else moment_of(until, "--until", now))
    events, comparison = events_of(event), _comparison(rules)
    from flows.mimas.what_if.replay import replay as replayed

    with open_ispyb(ispyb) as engine:
        if beamlines:
            from tasks.ispyb_access.overviews.collections import check_beamlines

            check_beamlines(engine, beamlines)
            period = dataclasses.replace(period, beamlines=tuple(beamlines))
        pages = replayed(engine, period, events, comparison)
        total = _print_pages(_with_progress(pages), as_json=as_json, summary=summary)
    _print_counts(total, comparison, as_json=as_json)
    for fault, count in comparison.faults.items():
        warn(f"{fault}; at {count} of the events, which were decided without it")
    if comparison.faults:
        raise typer.Exit(1)


@dataclasses.dataclass
class _Total:
    looked_at: int = 0
    undecided: int = 0


def _period(since: datetime, until: datetime | None) -> Period:
    from tasks.ispyb_access.reading.past.statements import Period

    if until is not None and until <= since:
        raise typer.BadParameter(f"expected a time after {since:%Y-%m-%d %H:%M}", param_hint="--until")
    return Period(since, until)


def _comparison(file: Path | None) -> RuleComparison:
    from flows.mimas.rules import own_rules
    from flows.mimas.what_if.rule_comparison import RuleComparison

    in_force = rules_to_ask(None)
    return RuleComparison(own_rules(), in_force) if file is None else RuleComparison(in_force, rules_to_ask(file))


def _print_pages(pages: Iterator[ReplayedPage], *, as_json: bool, summary: bool) -> _Total:
    from flows.cli.mimas.replay_output import difference_json, difference_lines

    total = _Total()
    for page in pages:
        _tell_undecided(page.undecided, total.undecided)
        total.looked_at += page.looked_at
        total.undecided += len(page.undecided)
        if not summary:
            for difference in page.differences:
                typer.echo(difference_json(difference) if as_json else "\n".join(difference_lines(difference)))
    if total.undecided > MOST_TOLD:
        warn(f"{total.undecided - MOST_TOLD} more data collections could not be decided on")
    return total


def _tell_undecided(undecided: Sequence[UnreadCollection], before: int) -> None:
    for some in undecided[: max(0, MOST_TOLD - before)]:
        warn(f"data collection {some.dcid} is left out: {some.reason}")


def _print_counts(total: _Total, comparison: RuleComparison, *, as_json: bool) -> None:
    from flows.cli.mimas.replay_output import count_rows, sum_json
    from flows.cli.tables import print_table

    by_recipe = comparison.by_recipe()
    if as_json:
        typer.echo(sum_json(total.looked_at, total.undecided, by_recipe))
        return
    seen = f"{total.looked_at} data collections looked at"
    if not by_recipe:
        typer.echo(f"Nothing differs: {seen}.")
        return
    typer.echo("")
    print_table(("recipe", "+", "-", "changed"), count_rows(by_recipe))
    typer.echo(seen)


def _with_progress(pages: Iterator[ReplayedPage]) -> Iterator[ReplayedPage]:
    """Show on a terminal how far it is; rules that print do so beside what is printed for programs."""
    is_seen, looked_at = sys.stderr.isatty(), 0
    while True:
        with redirect_stdout(sys.stderr):
            page = next(pages, None)
        if is_seen:
            typer.echo(CLEAR_LINE, err=True, nl=False)
        if page is None:
            return
        yield page
        looked_at += page.looked_at
        if is_seen:
            typer.echo(f"{looked_at} data collections, {page.done:.0%}", err=True, nl=False)
