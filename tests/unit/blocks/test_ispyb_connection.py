"""How ISPyB is opened, and what its faults mean."""

import os
import pwd
import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pymysql
import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import open_engine, retry_transaction, safe_url, transaction
from blocks.ispyb_faults import is_transient
from blocks.settings import Settings
from blocks.site_ispyb import connect, connect_reader
from blocks.sqlite_file import MissingDatabase, make_file


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/x.sqlite")
    make_file(engine)
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE image (number INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


@pytest.fixture
def no_prefect(monkeypatch):
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: False)


def numbers(engine):
    with transaction(engine, read_only=True) as connection:
        return list(connection.scalars(text("SELECT number FROM image ORDER BY number")))


def test_default_is_sqlite_in_the_home_folder(tmp_path, no_prefect):
    engine = connect(Settings(home=tmp_path / "new" / "home", ispyb_url=None))
    make_file(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert (tmp_path / "new" / "home" / "ispyb.sqlite").is_file()
    engine.dispose()


def test_url_of_the_settings_wins_over_the_block(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    engine = connect(Settings(home=tmp_path, ispyb_url=f"sqlite:///{tmp_path}/mine.sqlite"))
    assert engine.url.database == f"{tmp_path}/mine.sqlite"


def test_sqlite_has_its_pragmas(engine):
    with engine.connect() as connection:
        values = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("foreign_keys", "journal_mode", "synchronous", "busy_timeout")
        }
    assert values == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 1, "busy_timeout": 30000}


@pytest.mark.parametrize(
    "url", ["mysql://ispyb:secret@db.example:port/ispyb", "mysql://ispyb:p@x:secret@db.example/ispyb"]
)
def test_port_that_is_no_number_is_refused_without_showing_the_url(url):
    with pytest.raises(ConfigurationError, match="can't be read; expected sqlite") as caught:
        open_engine(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


SECRETS = ("s#cret@x", "s@cret@x", "se@cr/et", "s@cr/et?x", "s@cr?et", "s@cret?a=x", "s@cret:9%41", "@s", "@[", "#@/")


@pytest.mark.parametrize("user", ["crowfoot", "crow/foot", "crow@foot", "crow#foot@x"])
@pytest.mark.parametrize("password", SECRETS)
@pytest.mark.parametrize("server", ["db.example/ispyb", "127.0.0.1:39521/ispyb?charset=utf8mb4"])
def test_unescaped_password_that_would_be_misread_is_refused_and_not_shown(user, password, server):
    with pytest.raises(ConfigurationError, match="write @ as %40, / as %2F, # as %23") as caught:
        open_engine(f"mysql+pymysql://{user}:{password}@{server}")
    told = "".join(traceback.format_exception_only(caught.value))
    assert not any(part in told for part in ("cret", "et?", "%41", "crow", "foot"))


@pytest.mark.parametrize("url", ["mysql://u:s@cret@h/x", "mysql://u/v:secret@h/x", "mysql://u:secret@h#i/x"])
def test_url_that_is_misread_is_named(url, no_prefect):
    for settings, opened, name in (
        ({"ispyb_url": url}, connect, "PLAZA_ISPYB_URL"),
        ({"ispyb_read_url": url}, connect_reader, "PLAZA_ISPYB_READ_URL"),
    ):
        with pytest.raises(ConfigurationError, match=f"see {name}$") as caught:
            opened(Settings(**settings))
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "user", "password", "host", "database"),
    [
        ("mysql://u:s%40x%2Fy%23@h.example:3306/x?ssl_ca=/etc/ca.pem", "u", "s@x/y#", "h.example", "x"),
        ("mysql://u:s/x#y?z:1@my_host-1/x", "u", "s/x#y?z:1", "my_host-1", "x"),  # which SQLAlchemy reads right
        ("mysql://u@server:secret@h/x", "u@server", "secret", "h", "x"),
        ("mysql://u:secret@[fe80::1%eth0]:3306/x", "u", "secret", "fe80::1%eth0", "x"),
        ("mysql://u:secret@/x?unix_socket=/run/db.sock", "u", "secret", None, "x"),
        ("mysql://h/x", None, None, "h", "x"),
        ("mysql://u:s%25%20%3F%3A+@[::1]/x?read_default_file=/etc/my.cnf", "u", "s% ?:+", "::1", "x"),
    ],
)
def test_other_urls_are_read(url, user, password, host, database):
    read = open_engine(url).url
    assert (read.username, read.password, read.host, read.database) == (user, password, host, database)


@pytest.mark.parametrize(
    "query", ["password=secret", "passwd=secret", "ssl_key_password=secret&ssl_key=/k", "PWD=secret"]
)
def test_passwords_in_the_query_are_not_shown(query):
    shown = safe_url(open_engine(f"mysql://u:secret@h/x?charset=utf8mb4&{query}"))
    assert "secret" not in shown
    assert "charset=utf8mb4" in shown


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secr€t@127.0.0.1:1/x",
        "mysql://u:secret@127.0.0.1:1/x?ssl_ca=/no/file",
        "mysql://u:secret@127.0.0.1:1/x?charset=secret",
        "mysql://u:secret@127.0.0.1:1/x?no=secret",
    ],
)
def test_what_the_driver_cannot_use_is_said_once_and_for_all_without_showing_it(url):
    with pytest.raises(ConfigurationError, match="driver pymysql can't use") as caught, transaction(open_engine(url)):
        pass
    assert not any(part in str(caught.value) for part in ("secr", "€", "\\u20ac"))


def test_mysql_gets_the_driver_that_recovers_and_time_outs(monkeypatch):
    seen = {}

    def refuse(**options):
        seen.update(options)
        raise pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'db.example'")

    monkeypatch.setattr(pymysql, "connect", refuse)
    engine = open_engine("mysql://ispyb:p%40ss@db.example/ispyb")
    with pytest.raises(DatabaseUnavailable, match=r"db\.example.*running") as caught, transaction(engine):
        pass
    assert engine.url.drivername == "mysql+pymysql"
    assert seen["password"] == "p@ss"
    assert min(seen["connect_timeout"], seen["read_timeout"], seen["write_timeout"]) > 0
    assert "p@ss" not in str(caught.value)
    assert "p%40ss" not in str(caught.value) + repr(engine)


def test_settings_do_not_show_the_password():
    url = "mysql://ispyb:secret@db.example/ispyb"
    assert "secret" not in repr(Settings(ispyb_url=url, ispyb_read_url=url))


@pytest.mark.parametrize("url", ["no url", "nodb+nodriver://u:secret@h/x", "postgresql+nodriver://u:secret@h/x"])
def test_unusable_url_says_what_is_expected_but_not_the_password(url):
    with pytest.raises(ConfigurationError, match="PLAZA_ISPYB_URL") as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def _error(cause, invalidated=False):
    return OperationalError("SELECT 1", {}, cause, connection_invalidated=invalidated)


def _sqlite_error(code):
    cause = sqlite3.OperationalError("fault")
    cause.sqlite_errorcode = code
    return _error(cause)


@pytest.mark.parametrize("code", [*(1020, 1021, 1040, 1041, 1047, 1053, 1114, 1158, 1180, 1203, 1205, 1213, 1226, 1290),
                                  *(1317, 1412, 1836, 1927, 2002, 2003, 2006, 2013, 2055, -1)])  # fmt: skip
def test_faults_of_a_server_that_pass(code):
    assert is_transient(_error(pymysql.err.OperationalError(code, "fault")))


@pytest.mark.parametrize(
    ("code", "text", "passes"),
    [
        (1030, 'Got error 28 "No space left on device" from storage engine InnoDB', True),
        (1030, 'Got error 168 "Unknown (generic) error from engine" from storage engine InnoDB', False),
        (1026, "Error writing file '/tmp/x' (errno: 122 \"Disk quota exceeded\")", True),
        (3, "Error writing file '/tmp/x' (Errcode: 5 \"Input/output error\")", False),
    ],
)
def test_writing_faults_pass_if_space_is_what_lacks(code, text, passes):
    assert is_transient(_error(pymysql.err.OperationalError(code, text))) is passes


@pytest.mark.parametrize("code", [1045, 1142, 1146, 1054, 1062, 1264, 1366, 1406, 1452])
def test_faults_of_a_server_that_stay(code):
    assert not is_transient(_error(pymysql.err.OperationalError(code, "fault")))


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, False),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_faults_of_sqlite(code, passes):
    assert is_transient(_sqlite_error(code)) is passes


def test_lost_connection_passes_whatever_its_code():
    assert is_transient(_error(RuntimeError("gone"), invalidated=True))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (1045, "password"),
        (1049, "database name"),
        (1142, "grants"),
        (1143, "grants"),
        (1370, "grants"),
        (1054, "up to date"),
        (1146, "plaza ispyb create"),
    ],
)
def test_server_that_refuses_says_what_to_check(monkeypatch, code, advice):
    def refuse(**_):
        raise pymysql.err.OperationalError(code, "no")

    monkeypatch.setattr(pymysql, "connect", refuse)
    with pytest.raises(ConfigurationError, match=advice), transaction(open_engine("mysql://u:secret@db.example/x")):
        pass


@pytest.mark.parametrize(
    "url", ["sqlite:///{}/x.sqlite", "sqlite:///{}/new folder/25% #1?.sqlite", "sqlite:///file:{}/x.sqlite?uri=true"]
)
class TestSqliteFile:
    """A database that isn't there, at a path as users may choose it."""

    @pytest.fixture
    def absent(self, tmp_path, url):
        folder, _, options = url.removeprefix("sqlite:///").partition("?uri")
        database = folder.format(tmp_path)
        engine = open_engine(URL.create("sqlite", database=database, query={"uri": "true"} if options else {}))
        yield engine
        engine.dispose()

    @pytest.mark.parametrize("read_only", [True, False])
    def test_is_not_made_by_connecting(self, absent, tmp_path, read_only):
        advice = r"there is no ISPyB at sqlite:///.*sqlite: make it with `plaza ispyb create`"
        with pytest.raises(MissingDatabase, match=advice), transaction(absent, read_only=read_only):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_is_made_when_that_is_asked_for(self, absent):
        make_file(absent)
        make_file(absent)
        with transaction(absent) as connection:
            connection.execute(text("CREATE TABLE image (number INTEGER PRIMARY KEY)"))
            connection.execute(text("INSERT INTO image VALUES (1)"))
        absent.dispose()
        assert numbers(absent) == [1]

    def test_that_goes_is_missed(self, absent, tmp_path):
        make_file(absent)
        with transaction(absent):
            pass
        absent.dispose()
        (file,) = (file for file in tmp_path.rglob("*sqlite") if file.is_file())
        file.unlink()
        with pytest.raises(MissingDatabase), transaction(absent):
            pass
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_made(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = open_engine(url)
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    assert list(tmp_path.iterdir()) == []


def test_file_that_can_not_be_opened_is_a_database_that_cannot_be_reached(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}")
    with pytest.raises(DatabaseUnavailable, match="unable to open"), transaction(engine):
        pass


def test_failed_transaction_leaves_nothing(engine):
    def work(connection):
        connection.execute(text("INSERT INTO image VALUES (1)"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        retry_transaction(engine, work)
    assert numbers(engine) == []


def test_whole_transaction_is_done_again_after_a_fault_that_passes(engine):
    tries = []

    def work(connection):
        connection.execute(text("INSERT INTO image VALUES (:number)"), {"number": len(tries)})
        tries.append(1)
        if len(tries) < 3:
            raise _sqlite_error(sqlite3.SQLITE_BUSY)
        return "done"

    assert retry_transaction(engine, work) == "done"
    assert numbers(engine) == [2]


def test_retrying_ends_when_patience_does(engine):
    def work(_):
        raise _sqlite_error(sqlite3.SQLITE_BUSY)

    with pytest.raises(DatabaseUnavailable):
        retry_transaction(engine, work, patience_s=0.2)


def test_fault_that_stays_is_not_tried_again(engine):
    tries = []

    def work(connection):
        tries.append(1)
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(ConfigurationError, match="nowhere"):
        retry_transaction(engine, work)
    assert len(tries) == 1


def test_writers_that_read_first_wait_for_each_other(engine):
    """Each reads the largest number and writes the next: on SQLite's deferred transactions most would fail."""
    start = threading.Barrier(4)
    faults = []

    def count():
        start.wait()
        try:
            for _ in range(10):
                with transaction(engine) as connection:
                    largest = connection.scalar(text("SELECT coalesce(max(number), 0) FROM image"))
                    connection.execute(text("INSERT INTO image VALUES (:number)"), {"number": largest + 1})
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert numbers(engine) == list(range(1, 41))


def test_reader_does_not_wait_for_a_writer(engine):
    with transaction(engine) as writer:
        writer.execute(text("INSERT INTO image VALUES (1)"))
        assert numbers(engine) == []
    assert numbers(engine) == [1]


def test_all_connections_in_use_is_a_fault_that_passes(tmp_path):
    busy = open_engine(f"sqlite:///{tmp_path}/x.sqlite?timeout=5")
    make_file(busy)
    busy.pool = QueuePool(busy.pool._creator, pool_size=1, max_overflow=0, timeout=0.05)
    with busy.connect(), pytest.raises(DatabaseUnavailable, match="in use by this process"), transaction(busy):
        pass
    busy.dispose()


@pytest.mark.parametrize("option", ["mode=ro", "immutable=1"])
def test_no_file_is_made_by_a_url_for_reading_only(tmp_path, option):
    engine = open_engine(f"sqlite:///file:{tmp_path}/new/ispyb.sqlite?{option}&uri=true")
    with pytest.raises(ConfigurationError, match=rf"for reading only \({option}\)"):
        make_file(engine)
    assert list(tmp_path.iterdir()) == []
    engine.dispose()


def test_file_that_can_not_be_made_is_told_of(tmp_path):
    (tmp_path / "file").touch()
    engine = open_engine(f"sqlite:///{tmp_path}/file/ispyb.sqlite")
    with pytest.raises(ConfigurationError, match=r"there can't be an ISPyB at .*file/ispyb\.sqlite"):
        make_file(engine)
    engine.dispose()


@pytest.fixture
def another_user() -> Callable[[], AbstractContextManager[None]]:
    """Return what is done as another user of the machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    @contextmanager
    def be_another() -> Iterator[None]:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)

    return be_another


def test_sqlite_of_another_user_is_read_while_it_is_open_else_there_is_a_line(another_user):
    # not in pytest's folder: it's closed to others
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        url = f"sqlite:///{name}/x.sqlite"
        theirs, ours = open_engine(url), open_engine(url)
        make_file(theirs)
        with transaction(theirs) as connection:
            connection.execute(text("CREATE TABLE image (number INTEGER PRIMARY KEY)"))
        with another_user():
            assert numbers(ours) == []
            with (
                pytest.raises(ConfigurationError, match="can't be written by this user"),
                transaction(ours) as connection,
            ):
                connection.execute(text("INSERT INTO image VALUES (1)"))
        ours.dispose()
        theirs.dispose()
        with another_user(), pytest.raises(ConfigurationError, match="only while another program has it open"):
            numbers(ours)
        ours.dispose()
