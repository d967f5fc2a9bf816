"""`plaza ispyb run` and `plaza job`: ISPyB put right by hand."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from prefect.exceptions import ObjectNotFound
from sqlalchemy import func, select
from typer.testing import CliRunner

from blocks.errors import ConfigurationError, MessageRefused, PlazaError, UnknownJob
from blocks.settings import Settings, get_settings
from blocks.sqlite_file import MissingDatabase
from flows import launching as running
from flows.cli.ispyb import by_hand as ispyb_by_hand
from flows.cli.main import app
from flows.mimas.backlog import Backlog, HeldJob
from tasks.ispyb_access.overviews.jobs import status_word
from tasks.ispyb_access.schema.tables import METADATA
from tests.support.fake_resources import FakeLauncher, FakeResources

REGISTER = {"ispyb_command": "register_processing", "program": "fast_dp", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO", "message": "σ"}


@pytest.fixture
def plaza(engine, tmp_path):
    """Run a command on the test's ISPyB and return what it prints; errors of Plaza's own are raised."""
    address = tmp_path / "ispyb.url"
    address.write_text(engine.url.render_as_string(hide_password=False))
    address.chmod(0o600)

    def plaza(*words, **options):
        done = CliRunner().invoke(app, [*map(str, words), "--ispyb", str(address)], **options)
        if isinstance(done.exception, PlazaError):
            raise done.exception
        return done

    return plaza


@pytest.fixture
def count(engine):
    def count(name):
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(METADATA.tables[name]))

    return count


@pytest.fixture
def write(tmp_path):
    def write(content):
        file = tmp_path / "commands.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


class TestRun:
    def test_each_result_is_a_line(self, plaza, write):
        titles = {"ispyb_command": "update_program_name", "program_id": "$program", "program": "xia2"}
        done = plaza("ispyb", "run", write([REGISTER, TELL | {"message": "m"}, titles]))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["ispyb_command"] for line in lines] == [
            "register_processing",
            "add_program_message",
            "update_program_name",
        ]
        assert lines[2]["result"] == lines[0]["result"]
        assert (done.exit_code, done.stderr) == (0, "")

    def test_status_that_changes_nothing_is_said(self, plaza, write, caplog):
        end = {"ispyb_command": "update_processing_status", "program_id": "$program"}
        done = plaza("ispyb", "run", write([REGISTER, end | {"status": "success"}, end | {"status": "failure"}]))
        program = json.loads(done.stdout.splitlines()[0])["result"]
        assert f"program {program}: failure is ignored, since it has ended already" in caplog.text

    @pytest.mark.parametrize("words", [("ispyb", "run", "-"), ("job", "list"), ("job", "1"), ("ispyb", "check")])
    def test_database_that_is_not_there_is_not_made(self, tmp_path, words):
        url = f"sqlite:///{tmp_path}/home/ispyb.sqlite"
        done = CliRunner().invoke(app, [*words, "--ispyb", url], input=json.dumps([REGISTER]))
        assert isinstance(done.exception, MissingDatabase)
        assert f"there is no ISPyB at {url}: make it with `plaza ispyb create`" in str(done.exception)
        assert list(tmp_path.iterdir()) == []

    def test_the_list_may_be_that_of_a_message_on_standard_input(self, plaza, count):
        done = plaza("ispyb", "run", "-", input=json.dumps({"ispyb_command_list": [REGISTER]}))
        assert (done.exit_code, len(done.stdout.splitlines()), count("AutoProcProgram")) == (0, 1, 1)

    def test_standard_input_that_is_no_json_is_called_so(self, plaza):
        with pytest.raises(MessageRefused, match=r"^standard input can't be read as JSON"):
            plaza("ispyb", "run", "-", input="[{")

    def test_what_is_run_twice_is_written_twice(self, plaza, write, count):
        for _ in range(2):
            plaza("ispyb", "run", write([REGISTER]))
        assert count("AutoProcProgram") == 2

    def test_a_job_is_not_announced_and_that_is_said(self, plaza, write, add_collection):
        job = {"ispyb_command": "create_ispyb_job", "DCID": add_collection(), "recipe": "r"}
        done = plaza("ispyb", "run", write([job]))
        number = json.loads(done.stdout)["result"]
        assert done.stderr == (
            f'plaza: {{"parameters": {{"ispyb_process": {number}}}}} isn\'t sent on \'held\', since no recipe runs\n'
        )

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ([REGISTER, {"ispyb_command": "make_coffee"}], "step 2 of 2: there is no ISPyB command 'make_coffee'"),
            ([REGISTER, TELL | {"program_id": 4711}], "step 2 of 2: add_program_message .*4711"),
            ([REGISTER, TELL | {"severity": "LOUD"}], "step 2 of 2: add_program_message .*severity.*LOUD"),
            ([], "seen an empty list"),
            ({}, "expected a list of commands, or an object with ispyb_command_list; seen {}"),
            ("[{", "can't be read as JSON"),
            ("[" * 100_000, "can't be read as JSON"),
        ],
    )
    def test_what_fails_is_said_and_nothing_is_written(self, plaza, write, count, content, expected):
        with pytest.raises(MessageRefused, match=expected):
            plaza("ispyb", "run", write(content))
        assert count("AutoProcProgram") == 0

    def test_a_command_that_waits_for_others_rows_does_not_wait_by_hand(self, plaza, write, count):
        waiting = {
            "ispyb_command": "buffer",
            "program_id": "$program",
            "buffer_lookup": {"program_id": 1},
            "buffer_command": TELL,
        }
        with pytest.raises(PlazaError, match="no row of program"):
            plaza("ispyb", "run", write([REGISTER, waiting]))
        assert count("AutoProcProgram") == 0

    def test_an_ispyb_that_stays_away_is_said(self, write, monkeypatch):
        monkeypatch.setattr(ispyb_by_hand, "PATIENCE_S", 0.2)
        words = ["ispyb", "run", str(write([REGISTER])), "--ispyb", "mysql://plaza:secret@127.0.0.1:9/ispyb"]
        done = CliRunner().invoke(app, words)
        assert "can't be used now" in str(done.exception)
        assert "secret" not in str(done.exception) + done.output


@pytest.fixture
def job(plaza, add_collection):
    """A job of a data collection on i03, made on the command line: (job, data collection)."""
    dcid = add_collection()
    done = plaza(
        *("job", "create", "--dcid", dcid, "--recipe", "autoprocessing-xia2-dials"),
        *("--param", "d_min=1.5", "--param", "options=a=b", "--sweep", f"{dcid}:1:90"),
        *("--display-name", "xia2 dials", "--comment", "once more"),
    )
    return int(done.stdout), dcid


@pytest.fixture
def add_program(plaza, write):
    """Register a program for a job and return its number."""

    def add(job, *commands, name="xia2 dials"):
        program = {"ispyb_command": "register_processing", "program": name, "rpid": str(job), "store_result": "program"}
        done = plaza("ispyb", "run", write([program, *commands]))
        return json.loads(done.stdout.splitlines()[0])["result"]

    return add


class TestJob:
    def test_a_job_is_shown_as_it_was_created(self, plaza, job):
        number, dcid = job
        shown = json.loads(plaza("job", number, "--json").stdout)
        recorded = datetime.fromisoformat(shown.pop("recorded"))
        assert abs((datetime.now() - recorded).total_seconds()) < 300
        assert shown == {
            "id": number,
            "dcid": dcid,
            "recipe": "autoprocessing-xia2-dials",
            "display_name": "xia2 dials",
            "comment": "once more",
            "automatic": False,
            "parameters": [["d_min", "1.5"], ["options", "a=b"]],
            "sweeps": [[dcid, 1, 90]],
            "programs": [],
            "status": "no program",
        }

    def test_a_person_reads_parameters_images_programs_and_files(self, plaza, job, add_program, tmp_path):
        (tmp_path / "xia2.html").touch()
        file = {"ispyb_command": "add_program_attachment", "program_id": "$program", "file_name": "xia2.html",
                "file_path": str(tmp_path), "file_type": "log"}  # fmt: skip
        failed = {"ispyb_command": "update_processing_status", "program_id": "$program", "status": "failure",
                  "message": "no spots", "start_time": "2026-01-02 03:04:05"}  # fmt: skip
        number, dcid = job
        program = add_program(number, file, failed)
        text = plaza("job", number).stdout
        for part in ("d_min=1.5", f"dcid {dcid}: 1 to 90", f"{program}  xia2 dials  failure", "message: no spots",
                     "started: 2026-01-02 03:04:05"):  # fmt: skip
            assert part in text
        assert "xia2.html" not in text
        assert f"Log: {tmp_path}/xia2.html" in plaza("job", "show", number, "-v").stdout

    def test_jobs_are_listed_newest_first(self, plaza, job, add_program, add_collection):
        number, dcid = job
        add_program(number)
        other = int(plaza("job", "create", "--dcid", add_collection(), "--recipe", "r").stdout)
        with_images = int(
            plaza(
                "job", "create", "--dcid", 0, "--recipe", "r", "--sweep", f"{dcid}:1:2", "--source", "automatic"
            ).stdout
        )

        def listed(*options):
            lines = plaza("job", "list", "--json", *options).stdout.splitlines()
            return [(json.loads(line)["id"], json.loads(line)["status"]) for line in lines]

        assert listed() == [(with_images, "no program"), (other, "no program"), (number, "queued")]
        assert listed("--dcid", dcid) == [(with_images, "no program"), (number, "queued")]
        assert listed("--beamline", "I03", "-n", 1) == [(other, "no program")]
        assert listed("--beamline", "i04") == listed("--beamline", "σ") == []
        assert plaza("job", "list", "--beamline", "i04").stdout == "No jobs.\n"
        table = plaza("job", "list").stdout.splitlines()
        assert [line.split()[0] for line in table] == ["job", *map(str, (with_images, other, number))]
        assert [line.endswith("queued") for line in table] == [False, False, False, True]

    def test_what_is_given_is_changed(self, plaza, job):
        number, _ = job
        done = plaza("job", "update", number, "--comment", "never again", "--json")
        changed = json.loads(done.stdout)
        assert (changed["comment"], changed["display_name"]) == ("never again", "xia2 dials")

    def test_a_programs_status_is_changed_until_it_has_ended(self, plaza, job, add_program):
        number, _ = job
        program = add_program(number)
        running = json.loads(plaza("job", "update", number, "--status", "running", "--json").stdout)["programs"][0]
        assert (running["id"], running["status"]) == (program, "running")
        ended = plaza("job", "update", number, "--status", "failure", "--message", "killed", "--json")
        assert json.loads(ended.stdout)["status"] == "failure"
        with pytest.raises(MessageRefused, match=f"program {program} of job {number} has ended with failure"):
            plaza("job", "update", number, "--status", "success", "--comment", "not written")
        assert json.loads(plaza("job", number, "--json").stdout)["comment"] == "once more"

    def test_one_of_several_programs_is_to_be_named(self, plaza, job, add_program):
        number, _ = job
        with pytest.raises(MessageRefused, match=f"job {number} has no program yet"):
            plaza("job", "update", number, "--status", "running")
        first, second = add_program(number), add_program(number)
        with pytest.raises(MessageRefused, match=f"its programs: {first}, {second}; say which with --program"):
            plaza("job", "update", number, "--status", "running")
        with pytest.raises(MessageRefused, match=f"has no program {second + 1}"):
            plaza("job", "update", number, "--status", "running", "--program", second + 1)
        done = plaza("job", "update", number, "--status", "success", "--program", first, "--json")
        assert [program["status"] for program in json.loads(done.stdout)["programs"]] == ["success", "queued"]

    @pytest.mark.parametrize("command", [("4711",), ("update", "4711", "--comment", "x"), ("start", "4711")])
    @pytest.mark.usefixtures("launches")
    def test_a_job_that_is_not_there_is_said(self, plaza, command):
        with pytest.raises(UnknownJob, match=r"9{20}.* is no id of a processing job"):
            plaza("job", "show", "9" * 20)
        with pytest.raises(UnknownJob, match="no processing job 4711"):
            plaza("job", *command)

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            (("--param", "d_min"), "expected KEY=VALUE, seen 'd_min'"),
            (("--sweep", "1:2"), "expected DCID:START:END, seen '1:2'"),
            (("--sweep", "1:a:2"), "expected DCID:START:END, seen '1:a:2'"),
        ],
    )
    def test_what_can_not_be_read_is_said(self, plaza, option, expected):
        done = plaza("job", "create", "--dcid", "1", "--recipe", "r", *option, env={"COLUMNS": "200"})
        assert done.exit_code == 2
        assert expected in done.stderr

    def test_an_unknown_status_is_said(self, plaza, job):
        done = plaza("job", "update", job[0], "--status", "fine", env={"COLUMNS": "200"})
        assert (done.exit_code, "expected success, failure or running, seen 'fine'" in done.stderr) == (2, True)

    def test_an_update_of_nothing_is_refused(self, plaza, job):
        done = plaza("job", "update", job[0], "--program", 1, env={"COLUMNS": "200"})
        assert (done.exit_code, "say what to change" in done.stderr) == (2, True)

    def test_a_job_of_nothing_is_refused(self, plaza, count):
        with pytest.raises(MessageRefused, match="no data collection 4711"):
            plaza("job", "create", "--dcid", 4711, "--recipe", "r")
        assert count("ProcessingJob") == 0


@pytest.fixture
def launches(monkeypatch):
    """Have no Prefect: note the launches that are asked for."""
    launches = []

    class Client:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *exc):
            pass

        async def read_flow_runs(self, **filters):
            return []

    async def run_deployment(name, *, client, parameters, idempotency_key, **more):
        if name != "ispyb-autoprocessing-xia2-dials/live":
            raise ObjectNotFound(Exception("no such deployment"))
        launches.append((parameters, idempotency_key))
        return type("Run", (), {"id": UUID(int=7)})

    monkeypatch.setattr("flows.site.running_site.use_running_site", lambda: None)
    monkeypatch.setattr(running, "get_client", Client)
    monkeypatch.setattr(running, "arun_deployment", run_deployment)
    return launches


class TestStart:
    def test_a_job_is_started_by_its_number(self, plaza, job, launches):
        number, dcid = job
        done = plaza("job", "start", number)
        assert f"recipe ispyb-autoprocessing-xia2-dials starts: run {UUID(int=7)}" in done.stderr
        assert launches == [({"dcid": dcid, "parameters": {"ispyb_process": number}}, f"{dcid}-job-{number}")]

    def test_a_held_job_is_started_with_its_trigger_variables_and_held_no_more(
        self, plaza, job, launches, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
        get_settings.cache_clear()
        number, dcid = job
        message = {"parameters": {"statistic-cluster": "iris", "ispyb_process": number}}
        held = HeldJob(message=message, since=datetime.now(UTC), job_id=number, dcid=dcid, beamline="i03")
        Backlog.of().hold(held)
        listed = CliRunner().invoke(app, ["job", "held", "--json"])
        assert json.loads(listed.stdout)["message"] == message
        assert "iris" in CliRunner().invoke(app, ["job", "held"]).stdout
        plaza("job", "start", number)
        assert launches == [({"dcid": dcid, "parameters": message["parameters"]}, f"{dcid}-job-{number}")]
        assert CliRunner().invoke(app, ["job", "held"]).stdout == "No job is held.\n"
        get_settings.cache_clear()

    def test_a_held_message_without_a_job_is_started_by_its_name(self, plaza, tmp_path, monkeypatch):
        class Site(FakeResources):
            async def __aenter__(self):
                return self

            async def __aexit__(self, *exc):
                pass

        site = Site(launcher=FakeLauncher(["archive-nexus"]))
        monkeypatch.setattr("flows.resources.SiteResources", lambda: site)
        monkeypatch.setattr("flows.site.running_site.use_running_site", lambda: None)
        monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
        get_settings.cache_clear()
        message = {"recipes": ["archive-nexus"], "parameters": {"ispyb_dcid": 12, "colour": "red"}}
        held = HeldJob(message=message, since=datetime.now(UTC), key="run/1")
        Backlog.of().hold(held)
        plaza("job", "start", held.name)
        (launch,) = site.launcher.launched
        assert (launch.recipe, launch.dcid, launch.parameters) == ("archive-nexus", 12, message["parameters"])
        assert Backlog.of().held() == []
        with pytest.raises(UnknownJob, match="isn't held: expected a name that `plaza job held` lists"):
            plaza("job", "start", held.name)
        get_settings.cache_clear()

    def test_a_job_may_start_as_soon_as_it_is_created(self, plaza, add_collection, launches):
        done = plaza(
            *("job", "create", "--dcid", add_collection(), "--recipe", "autoprocessing-xia2-dials", "--autostart"),
            *("--trigger-variable", "statistic-cluster=iris", "--json"),
        )
        ((parameters, _),) = launches
        number = json.loads(done.stdout)["job"]
        assert parameters["parameters"] == {"statistic-cluster": "iris", "ispyb_process": number}

    @pytest.mark.usefixtures("launches")
    def test_a_recipe_that_is_not_deployed_is_said_and_the_job_is_there(self, plaza, add_collection, count):
        with pytest.raises(
            ConfigurationError, match=r"is in ISPyB, but its recipe ispyb-unheard-of .* plaza job start"
        ):
            plaza("job", "create", "--dcid", add_collection(), "--recipe", "unheard-of", "--autostart")
        assert count("ProcessingJob") == 1

    @pytest.mark.parametrize("words", [("start", 1), ("create", "--dcid", 1, "--recipe", "r", "--autostart")])
    def test_without_a_site_nothing_is_done(self, words, plaza, job, count, monkeypatch, tmp_path):
        monkeypatch.setattr("flows.site.running_site.get_settings", lambda: Settings(home=tmp_path))
        with pytest.raises(ConfigurationError, match=r"no site runs in .*: start one with `plaza up`"):
            plaza("job", *words)
        assert count("ProcessingJob") == 1


@pytest.mark.parametrize(
    ("status", "started", "word"),
    [(1, None, "success"), (0, datetime(2026, 1, 1), "failure"), (None, datetime(2026, 1, 1), "running"),
     (None, None, "queued")],
)  # fmt: skip
def test_status_is_said_as_synchweb_says_it(status, started, word):
    assert status_word(status, started) == word
