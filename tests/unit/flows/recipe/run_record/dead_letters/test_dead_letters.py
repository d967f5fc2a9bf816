"""Dead letters and their way back into their recipe run, whatever is killed in between."""

import asyncio
import json
import shutil
import time
from collections import Counter

import pytest
from msgspec import structs, to_builtins

from blocks.errors import DamagedDeadLetter, PassingFault, RecipeError, UnknownDeadLetter, UnknownRecipeRun
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.reinject import reinject
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter, read_dead_letter
from flows.recipe.run_record.dead_letters.selection import DeadLetterSelection, age_text, read_age, short_names
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, Ended, HistoryEntry
from flows.recipe.run_record.folder import RunFolder, run_folder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import Manifest
from flows.recipe.run_record.resumption import repeat_from, take_up
from flows.recipe.run_record.run_state import replay
from tasks.step import Send, StepParameters, message_step, registry
from tests.support.fake_resources import FakeResources

RUN = "0b1c2d3e-0000-4000-8000-000000000001"
RECIPE = {
    "1": {"queue": "trial.choosy", "output": 2},
    "2": {"queue": "trial.keep"},
    "start": [[1, {"good": False, "name": name}] for name in "abc"],
}


def letter(number=3, run=RUN, **changes):
    return DeadLetter(
        **{
            "recipe_run": run,
            "number": number,
            "recipe": "trial",
            "dcid": 7,
            "node": 1,
            "step": "choosy",
            "queue": "trial.choosy",
            "payload": {"good": False},
            "environment": {"ID": run},
            "error": "ValueError: bad",
            "traceback": "",
            "history": [HistoryEntry(1.0, "ValueError: bad")],
            "at": 1.0,
            **changes,
        }
    )


@pytest.fixture
def letters(home):
    return DeadLetters()


class Run:
    """A recipe run without Prefect: each `go` is a process that takes it up and brings it to its end."""

    def __init__(self, patch):
        self.folder = run_folder(RUN)
        self.folder.path.mkdir(parents=True)
        Manifest("trial", "trial.json", "", 7, {}, {}, RECIPE).write(self.folder)
        self.seen, self.kept = [], []

        @message_step(queue="trial.choosy", parameters=StepParameters, outputs=("out",), default_output="out")
        def choosy(parameters, message, context):
            self.seen.append(message.payload["name"])
            if not message.payload["good"]:
                raise ValueError(f"{message.payload['name']} is bad")
            return [Send(message.payload["name"])]

        @message_step(queue="trial.keep", parameters=StepParameters)
        def keep(parameters, message, context):
            self.kept.append(message.payload)
            return ()

        steps = {step.queue: step for step in (choosy, keep)}
        patch.setattr(registry, "STEPS", dict.fromkeys(steps, ""))
        patch.setattr("flows.recipe.engine.run.load_step", steps.__getitem__)

    def go(self):
        """Run to the end; return each node's record."""
        return asyncio.run(asyncio.wait_for(self._go(), 20))

    async def _go(self):
        letters = DeadLetters()

        def keep_dead_letter(refused):
            letters.put(
                letter(
                    refused.message.number,
                    payload=refused.message.payload,
                    environment=refused.message.environment,
                    error=refused.error,
                    history=refused.history,
                )
            )

        with Journal(self.folder.journal) as journal:
            state = take_up(self.folder, journal, letters)
            journal.record(Began.now())
            run = RecipeRun(
                recipe_from_document(RECIPE), RUN, FakeResources(), journal=journal, keep_dead_letter=keep_dead_letter
            )
            records = await run.run(state)
            journal.record(Ended(time.time(), "Failed"))
        return records


@pytest.fixture
def run(home, monkeypatch):
    return Run(monkeypatch)


def mended(letters, number):
    old = letters.get(f"{RUN}-{number}")
    new = structs.replace(old, payload={**old.payload, "good": True}).noting("changed payload")
    letters.change(old, new)
    return new


def numbers(letters):
    return [letter.number for letter in letters.all()]


def test_a_letter_that_was_mended_continues_its_recipe_and_others_stay(run, letters):
    assert run.go()[1].refused == 3
    letters.reinject(mended(letters, 2), run.folder)
    assert numbers(letters) == [1, 3]
    records = run.go()
    assert run.seen == ["a", "b", "c", "b"]
    assert run.kept == ["b"]
    assert numbers(letters) == [1, 3]
    assert records[1].refused == 2
    assert not run.folder.has_reinjected


def test_what_befell_a_message_stays_with_it_each_time_it_is_given_up(run, letters):
    run.go()
    for _ in range(3):
        [again] = [letter for letter in letters.all() if letter.payload["name"] == "a"]
        letters.reinject(again, run.folder)
        run.go()
    [again] = [letter for letter in letters.all() if letter.payload["name"] == "a"]
    deeds = [entry.error or entry.done for entry in again.history]
    assert deeds == ["ValueError: a is bad", *["re-injected", "ValueError: a is bad"] * 3]
    letters.reinject(mended(letters, again.number), run.folder)
    for number in (2, 3):
        letters.reinject(mended(letters, number), run.folder)
    records = run.go()
    assert sorted(run.kept) == ["a", "b", "c"]
    assert records[1].fault is None


@pytest.mark.parametrize("also_left", ["the letter", "the handed-over file", "both"])
def test_a_letter_is_taken_once_though_a_process_was_killed_before_it_removed_it(run, letters, also_left, tmp_path):
    run.go()
    new = mended(letters, 2)
    kept_letter = shutil.copy(letters.file_of(new), tmp_path / "letter")
    letters.reinject(new, run.folder)
    handed_over = run.folder.reinjected / "2.json"
    kept_file = shutil.copy(handed_over, tmp_path / "file")
    if also_left != "the handed-over file":  # killed within reinject()
        shutil.copy(kept_letter, letters.file_of(new))
    run.go()
    if also_left != "the letter":  # killed within take_up(), after the journal knew
        shutil.copy(kept_file, handed_over)
    for _ in range(2):
        run.go()
    assert run.kept == ["b"]
    assert Counter(run.seen)["b"] == 2
    assert 2 not in numbers(letters)
    assert not run.folder.has_reinjected


def test_a_letter_whose_refusal_the_journal_does_not_know_is_handled_once_as_it_was_mended(run, letters):
    run.go()
    lines = run.folder.journal.read_bytes().splitlines(keepends=True)
    first_refusal = next(index for index, line in enumerate(lines) if b"refused" in line)
    run.folder.journal.write_bytes(b"".join(lines[:first_refusal]))
    letters.reinject(mended(letters, 1), run.folder)
    run.seen.clear()
    run.go()
    assert sorted(run.seen) == ["a", "b", "c"]
    assert run.kept == ["a"]


def test_without_re_injected_letters_a_run_that_is_taken_up_tries_all_that_was_refused(run, letters):
    run.go()
    run.go()
    assert run.seen == [*"abcabc"]
    assert len(numbers(letters)) == 3
    assert min(numbers(letters)) > 1000  # in case that the end of the journal is lost


def test_repeating_a_node_forgets_what_waits_to_be_re_injected_there(run, letters):
    run.go()
    letters.reinject(letters.get(f"{RUN}-2"), run.folder)
    repeat_from(run.folder, 1, {}, letters)
    assert not run.folder.has_reinjected
    run.go()
    assert run.seen == [*"abcabc"]


def test_a_damaged_file_is_put_aside_and_the_run_goes_on(run, letters, caplog):
    run.go()
    letters.reinject(mended(letters, 2), run.folder)
    (run.folder.reinjected / "3.json").write_text("{")
    run.go()
    assert run.kept == ["b"]
    assert [file.name for file in run.folder.reinjected.iterdir()] == ["3.json.damaged"]
    assert "3.json.damaged" in caplog.text


@pytest.fixture
def scheduled(monkeypatch):
    """Which runs were to be taken up again."""
    runs = []

    async def schedule_again(folder: RunFolder):
        runs.append(folder.recipe_run)
        return f"{folder.recipe_run} goes on"

    monkeypatch.setattr("flows.recipe.resume.schedule_again", schedule_again)
    return runs


def test_letters_of_one_run_are_handed_over_together(run, letters, scheduled):
    run.go()
    [reinjection] = reinject(letters, letters.all())
    assert reinjection.error is None
    assert scheduled == [RUN]
    assert numbers(letters) == []
    run.go()
    assert run.seen == [*"abcabc"]


def test_letters_come_back_if_their_run_can_not_be_taken_up(run, letters, monkeypatch):
    run.go()

    async def no_server(folder):
        raise PassingFault("is the site up?")

    monkeypatch.setattr("flows.recipe.resume.schedule_again", no_server)
    [reinjection] = reinject(letters, letters.all())
    assert isinstance(reinjection.error, PassingFault)
    assert numbers(letters) == [1, 2, 3]
    assert not run.folder.has_reinjected


@pytest.mark.parametrize(
    ("changes", "fault", "complaint"),
    [
        ({"run": "gone-0001"}, UnknownRecipeRun, "gone-0001 has no folder any more"),
        ({"node": 9}, RecipeError, "of node 9; recipe trial has 1, 2"),
    ],
)
def test_a_letter_that_no_run_can_take_stays(run, letters, scheduled, changes, fault, complaint):
    run.go()
    stray = letter(9, **changes)
    letters.put(stray)
    [reinjection] = reinject(letters, [stray])
    assert isinstance(reinjection.error, fault)
    assert complaint in str(reinjection.error)
    assert letters.get(stray.name) == stray
    assert scheduled == []


def test_letters_of_other_runs_are_re_injected_though_one_can_not_be(run, letters, scheduled):
    run.go()
    letters.put(letter(1, run="gone-0001"))
    reinjections = list(reinject(letters, letters.all()))
    assert [reinjection.error is None for reinjection in reinjections] == [True, False]
    assert scheduled == [RUN]


# the store


@pytest.mark.parametrize("name", [f"{RUN}-12", "0b1c2d3e-12", f"{RUN}-1"])
def test_a_letter_is_found_by_its_name_or_the_start_of_it(letters, name):
    for number in (1, 12):
        letters.put(letter(number))
    letters.put(letter(12, run="f0000000-0000"))
    assert letters.get(name).number == int(name.rpartition("-")[2])


@pytest.mark.parametrize("name", ["", "0b1c", "e", f"{RUN}-3", "../x", "*", "0b1c2d3e-3"])
def test_a_name_that_means_no_letter_or_several_is_refused(letters, name):
    for number in (1, 12):
        letters.put(letter(number))
    with pytest.raises(UnknownDeadLetter, match="expected one dead letter"):
        letters.get(name)


def test_short_names_lead_to_their_letters(letters):
    for run in (RUN, "0b1c2d3e-1200-0000", "f0000000-1200", "f1111111-1200"):
        for number in (1, 12):
            letters.put(letter(number, run=run))
    kept = list(letters.all())
    names = short_names(kept)
    assert {name: letters.get(short).name for name, short in names.items()} == {name: name for name in names}
    assert names["f0000000-1200-1"] == "f0000000-1200-1"  # as that's how the run's own id starts
    assert short_names([letter(3)]) == {f"{RUN}-3": "0b1c2d3e-3"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "doesn't hold a dead letter"),
        ("[]", "Expected `object`, got `array`"),
        ("\x00\x00", "doesn't hold a dead letter"),
        ('{"number": "one"}', "Expected `int`, got `str` - at `$.number`"),
        ("[" * 100_000, "doesn't hold a dead letter"),
        (json.dumps({**to_builtins(letter()), "mood": 1}), "unknown field `mood`"),
        (json.dumps({**to_builtins(letter()), "environment": None}), "got `null` - at `$.environment`"),
        (json.dumps({**to_builtins(letter()), "number": 4}), "name it as that"),
    ],
)
def test_a_damaged_letter_is_told_and_the_others_are_read(letters, content, complaint):
    letters.put(letter(1))
    (letters.folder / f"{RUN}-3.json").write_text(content)
    (letters.folder / "notes.json").write_text("hello")
    damaged = []
    assert [letter.number for letter in letters.all(on_damage=damaged.append)] == [1]
    assert any(complaint in str(error) and f"{RUN}-3.json" in str(error) for error in damaged)
    assert any("notes.json" in str(error) for error in damaged)


def test_damage_is_logged_where_nobody_asks(letters, caplog):
    letters.put(letter())
    letters.file_of(letter()).write_text("{}")
    assert list(letters.all()) == []
    assert letter().name in caplog.text
    with pytest.raises(DamagedDeadLetter):
        letters.get(letter().name)


@pytest.mark.parametrize("payload", [None, 2**80, "\ud800", {"é": [1.5, {}]}, [{"a": None}]])
def test_any_payload_is_kept_as_it_was(letters, payload):
    letters.put(letter(payload=payload))
    assert letters.get(letter().name).payload == payload


def test_a_letter_that_was_changed_meanwhile_is_not_changed_over_it(letters):
    old = letter()
    letters.put(old)
    letters.change(old, letter(payload="mine"))
    with pytest.raises(UnknownDeadLetter, match="changed by somebody else"):
        letters.change(old, letter(payload="theirs"))
    assert letters.get(old.name).payload == "mine"
    letters.remove(old)
    with pytest.raises(UnknownDeadLetter):
        letters.change(old, letter(payload="theirs"))
    assert numbers(letters) == []


def test_a_purged_letter_is_kept_whole_and_can_be_purged_once(letters):
    letters.put(letter())
    file = letters.file_of(letter())
    kept = letters.purge(file)
    assert read_dead_letter(kept) == letter()
    assert numbers(letters) == []
    with pytest.raises(UnknownDeadLetter, match="somebody else has dealt with it"):
        letters.purge(file)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (DeadLetterSelection(), [1, 2, 3]),
        (DeadLetterSelection(run="0b1c"), [1, 2]),
        (DeadLetterSelection(recipe="other"), [2]),
        (DeadLetterSelection(recipe="trial", dcid=7), [1, 3]),
        (DeadLetterSelection(dcid=8), [2]),
        (DeadLetterSelection(step="choosy"), [1, 2]),
        (DeadLetterSelection(step="trial.choosy"), [1, 2]),
        (DeadLetterSelection(step="2"), [3]),
        (DeadLetterSelection(older_than_s=60), [1, 2]),
        (DeadLetterSelection(run="nothing"), []),
    ],
)
def test_letters_are_chosen_by_what_they_are_about(letters, selection, chosen):
    letters.put(letter(2, at=2.0, recipe="other", dcid=8))
    letters.put(letter(1, at=1.0))
    letters.put(letter(3, run="f0", at=4e9, node=2, step="keep", queue="trial.keep"))
    assert [letter.number for letter in selection.of(letters, pytest.fail)] == chosen


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("30d", 2592000), ("2w", 1209600), ("1.5h", 5400)]
)
def test_ages_are_read(text, seconds):
    assert read_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30 days", "1e3d", "infd"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(UnknownDeadLetter, match="expected a number and a unit"):
        read_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (864000, "10 d")]
)
def test_ages_are_told(seconds, text):
    assert age_text(seconds) == text


def test_the_journal_says_what_a_re_injected_message_replaces(run, letters):
    run.go()
    letters.reinject(mended(letters, 2), run.folder)
    run.go()
    state = replay(read_journal(run.folder.journal))
    [anew] = [delivery for delivery in state.all.values() if delivery.again == 2 != delivery.number]
    assert [entry.done for entry in anew.history][1:] == ["changed payload", "re-injected"]
    assert set(state.refused[1]) == {1, 3}
