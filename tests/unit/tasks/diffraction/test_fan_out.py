import asyncio
from types import SimpleNamespace

import pytest
from distributed import KilledWorker
from hypothesis import given
from hypothesis import strategies as st

from blocks.analysis_cluster import AnalysisClusterUnavailable
from blocks.errors import MessageRefused
from blocks.retrying import Pauses
from tasks.diffraction import fan_out
from tasks.diffraction.chunking import LARGEST_CHUNK, chunk_size
from tasks.diffraction.dials_processes import deaths
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.fan_out import AnalysisFailed, FanOut, ImageNotReady
from tasks.diffraction.requests import AnalysisParameters, ChunkAnswer, Failure, ImageRequest, Poison, Success
from tasks.file_version import FileVersion
from tasks.logs.line import LogLine
from tasks.step import USUAL_RETRIES, Message, StepContext
from tasks.step.identity import StepIdentity, acting_for


@given(st.integers(1, 10_000), st.integers(1, 100), st.none() | st.floats(0, 100))
def test_chunk_is_never_more_than_what_waits_or_than_its_limit(waiting, workers, seconds):
    assert 1 <= chunk_size(waiting, workers, seconds) <= min(waiting, LARGEST_CHUNK)


@pytest.mark.parametrize(
    ("waiting", "workers", "seconds", "size"),
    [
        (1, 2, 0.02, 1),  # images trickle in
        (100, 2, None, 1),  # nothing is known yet
        (100, 2, 0.02, 12),  # a quarter of a second
        (100, 2, 0.5, 1),  # large images
        (200, 2, 0.005, 50),  # small images
        (1000, 2, 0.0001, 64),  # not more, whatever the speed
        (8, 2, 0.001, 2),  # the end of a scan is shared out
    ],
)
def test_chunk_grows_with_backlog_and_speed(waiting, workers, seconds, size):
    assert chunk_size(waiting, workers, seconds) == size


class Cluster:
    """Stands for Dask's client, and for the resources that give it."""

    def __init__(self, answers=(), workers=2):
        self.answers = list(answers)
        self.workers = workers
        self.status = "running"
        self.chunks = []
        self.working = self.most_working = 0
        self.clients = 0
        self.gate = None
        self.log = []
        self.identities = set()

    async def analysis_client(self, instead_of=None):
        if instead_of is not None:
            self.clients += 1
            self.status = "running"
        return self

    async def nthreads(self):
        return {str(number): 1 for number in range(self.workers)}

    async def submit(self, function, chunk, key, pure):
        self.chunks.append(len(chunk.requests))
        self.identities.add(chunk.identity)
        self.working += 1
        self.most_working = max(self.most_working, self.working)
        await (self.gate.wait() if self.gate else asyncio.sleep(0))
        self.working -= 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            if isinstance(answer, OSError):
                self.status = "closed"
            raise answer
        outcomes = [
            Failure("bad") if request == "bad" else Success(request.upper(), 0.001) for request in chunk.requests
        ]
        return ChunkAnswer(outcomes, self.log)


@pytest.fixture
def refused():
    return []


async def run(cluster, payloads, refused):
    context = StepContext({}, "run", cluster, refuse=lambda message, error: refused.append((message.payload, error)))

    def make_request(message):
        if message.payload == "wrong":
            raise MessageRefused("wrong")
        if message.payload == "odd":
            raise TypeError("a list where a number belongs")
        return message.payload

    async def inbox():
        for payload in payloads:
            yield Message(payload)

    return [result async for _, result in FanOut(context, make_request).results(inbox())]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch):
    monkeypatch.setattr(fan_out, "PAUSES", Pauses(0.001, 0.001))


async def test_every_image_has_one_result(refused):
    cluster = Cluster()
    names = [f"image{number}" for number in range(500)]
    assert sorted(await run(cluster, names, refused)) == sorted(name.upper() for name in names)
    assert refused == []
    assert sum(cluster.chunks) == 500


async def test_images_that_a_chunk_had_no_time_for_are_met_by_the_next(refused):
    class SlowCluster(Cluster):
        async def submit(self, function, chunk, key, pure):
            answer = await super().submit(function, chunk, key, pure)
            return ChunkAnswer(answer.outcomes[:3], [])

    cluster = SlowCluster()
    names = [f"image{number}" for number in range(200)]
    assert sorted(await run(cluster, names, refused)) == sorted(name.upper() for name in names)
    assert refused == []
    assert max(cluster.chunks) > 3


async def test_chunks_in_flight_are_limited(refused):
    cluster = Cluster(workers=3)
    await run(cluster, ["a"] * 300, refused)
    assert cluster.most_working <= 3 * fan_out.CHUNKS_PER_WORKER


async def test_inbox_is_left_alone_while_the_cluster_is_busy():
    taken = 0

    async def inbox():
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield Message("a")

    cluster = Cluster()
    cluster.gate = asyncio.Event()
    context = StepContext({}, "run", cluster, refuse=lambda message, error: None)
    results = FanOut(context, lambda message: message.payload).results(inbox())
    first = asyncio.create_task(anext(results))
    seen = -1
    while seen < taken:  # until it takes no more
        seen = taken
        for _ in range(100):
            await asyncio.sleep(0)
    assert 0 < taken <= 2 * cluster.workers * (LARGEST_CHUNK + fan_out.CHUNKS_PER_WORKER)
    cluster.gate.set()
    await first
    await results.aclose()
    assert cluster.working == 0


async def test_failed_and_wrong_messages_are_refused_and_the_others_go_on(refused):
    assert sorted(await run(Cluster(), ["a", "bad", "wrong", "odd", "b"], refused)) == ["A", "B"]
    faults = {payload: type(error) for payload, error in refused}
    assert faults == {"bad": AnalysisFailed, "wrong": MessageRefused, "odd": TypeError}


async def test_chunk_of_a_lost_worker_is_done_again(refused):
    killed = KilledWorker("task", SimpleNamespace(address="tcp://lost"), 3)
    cluster = Cluster([killed, killed])
    assert await run(cluster, ["a"], refused) == ["A"]
    assert cluster.clients == 0


async def test_lost_scheduler_is_connected_anew(refused):
    cluster = Cluster([OSError("gone")])
    assert await run(cluster, ["a"], refused) == ["A"]
    assert cluster.clients == 1


async def test_cluster_that_is_lost_for_good_costs_no_message(refused):
    cluster = Cluster([OSError("gone")] * fan_out.TRIES)
    assert await run(cluster, ["a"], refused) == []
    [(payload, error)] = refused
    assert payload == "a"
    assert isinstance(error, AnalysisClusterUnavailable)
    assert "gone" in str(error)


async def test_fault_of_the_chunk_itself_is_not_tried_again(refused):
    cluster = Cluster([RuntimeError("DIALS is not there")])
    assert await run(cluster, ["a"], refused) == []
    assert len(cluster.chunks) == 1
    assert str(refused[0][1]) == "DIALS is not there"


async def test_fault_of_the_inbox_is_raised(refused):
    async def inbox():
        yield Message("a")
        raise ValueError("broken channel")

    context = StepContext({}, "run", Cluster(), refuse=lambda message, error: refused.append(message))
    with pytest.raises(ValueError, match="broken channel"):
        _ = [result async for result in FanOut(context, lambda message: message.payload).results(inbox())]
    assert refused == []


async def test_what_workers_log_is_logged_here_as_their_own(refused, caplog):
    run_of_step = StepIdentity("run", "per-image-analysis", 7, 2, "analyse_images")
    cluster = Cluster()
    cluster.log = [LogLine(1700000000.25, "WARNING", "tasks.mailer", "100% odd", run_of_step, "node07", 42)]
    with acting_for(run_of_step):
        assert await run(cluster, ["a"], refused) == ["A"]
    assert cluster.identities == {run_of_step}
    [record] = caplog.records
    assert (record.name, record.getMessage(), record.levelname) == ("tasks.mailer", "100% odd", "WARNING")
    assert (record.created, record.process) == (1700000000.25, 42)
    assert LogLine.from_record(record) == cluster.log[0]


async def test_image_that_is_not_there_yet_is_told_from_one_that_never_will_be(refused):
    class LateImages(Cluster):
        async def submit(self, function, chunk, key, pure):
            return ChunkAnswer([Failure(request, may_pass=request == "late") for request in chunk.requests], [])

    await run(LateImages(), ["late", "bad"], refused)
    assert {payload: USUAL_RETRIES.may_pass(error) for payload, error in refused} == {"late": True, "bad": False}


class DyingCluster(Cluster):
    """Meets requests as pools do whose DIALS processes die: at each image, until `healed`."""

    def __init__(self, failure, **kwargs):
        super().__init__(**kwargs)
        self.failure, self.healed, self.deaths = failure, False, 0

    async def submit(self, function, chunk, key, pure):
        await asyncio.sleep(0)
        outcomes = []
        for request in chunk.requests:
            if self.healed:
                outcomes.append(Success(request.file, 0.001))
            elif chunk.poison:
                outcomes.append(Failure("it's known", poison=next(iter(chunk.poison))))
            else:
                self.deaths += 1
                outcomes.append(self.failure)
        return ChunkAnswer(outcomes, [])


def image_requests(count, name="a_{}.cbf"):
    return [ImageRequest(name.format(number), AnalysisParameters().options) for number in range(count)]


async def test_file_that_a_worker_has_given_up_is_told_to_all_and_said_once(refused, caplog):
    cluster = DyingCluster(Failure("it died", ended_process=True, poison=Poison("m.h5", FileVersion(1, 2, 3, 4))))
    await run(cluster, image_requests(500, "m.h5"), refused)
    assert len(refused) == 500
    assert cluster.deaths <= 2 * fan_out.CHUNKS_PER_WORKER
    assert sum("none is tried again until it's written anew" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("may_pass", [True, False])
async def test_dials_that_dies_at_every_file_costs_few_processes_and_says_so_once(may_pass, refused, caplog):
    cluster = DyingCluster(Failure("it died", may_pass, ended_process=True))
    await run(cluster, image_requests(500), refused)
    assert len(refused) == 500
    assert [USUAL_RETRIES.may_pass(error) for _, error in refused].count(may_pass) >= cluster.deaths
    assert cluster.deaths <= deaths.FILES_IN_A_ROW + 2 * fan_out.CHUNKS_PER_WORKER
    assert sum("DIALS processes end at whatever" in record.getMessage() for record in caplog.records) == 1


async def test_images_are_not_lost_to_other_files_that_kill(refused, monkeypatch):
    """Forty bad files in a row among a thousand; what is told to wait comes again, as the step has it."""
    monkeypatch.setattr(deaths, "REST", Pauses(0.02, 0.02))

    class ClusterWithBadFiles(Cluster):
        async def submit(self, function, chunk, key, pure):
            await asyncio.sleep(0)
            return ChunkAnswer([self.answer_for(request) for request in chunk.requests], [])

        def answer_for(self, request):
            if "bad" in request.file:
                return Failure(f"the process died while it worked on {request.file}", ended_process=True)
            return Success(request.file, 0.001)

    bad, good = image_requests(40, "bad_{}.cbf"), image_requests(960)
    again = [*good[:50], *bad, *good[50:]]
    results = []
    while again:
        results += await run(ClusterWithBadFiles(), again, refused)
        assert all("wasn't tried" in str(error) for _, error in refused if isinstance(error, ImageNotReady))
        lost = [request for request, error in refused if isinstance(error, AnalysisFailed)]
        again = [request for request, error in refused if isinstance(error, ImageNotReady)]
        assert not set(lost) & set(good)
        refused.clear()
    assert sorted(results) == sorted(request.file for request in good)


async def test_what_was_at_work_when_a_rest_began_does_not_lengthen_it():
    now = 0.0
    row = deaths.DeathsInARow(clock=lambda: now)
    for number in range(100):
        row.note(Failure("it died"), f"a_{number}.cbf")
    assert 0 < row.rest_s <= deaths.REST.first_s
    now = deaths.REST.first_s
    assert not row.is_resting


async def test_of_two_verdicts_on_a_file_the_later_one_is_told(refused):
    """A worker that knows only an older version of a replaced file doesn't put back what others know."""
    told = []

    class TellingCluster(Cluster):
        async def submit(self, function, chunk, key, pure):
            await asyncio.sleep(0)
            told.append({poison.version.changed_ns for poison in chunk.poison})
            number = {1: 7, 2: 5}.get(len(told), 7)
            poison = Poison("m.h5", FileVersion(1, 2, 3, number))
            return ChunkAnswer([Failure("it died", poison=poison) for _ in chunk.requests], [])

    await run(TellingCluster(workers=1), image_requests(20, "m.h5"), refused)
    assert told[-1] == {7}


async def test_dials_that_can_not_be_started_is_not_asked_for_every_image(refused):
    class NoDials(Cluster):
        async def submit(self, function, chunk, key, pure):
            self.chunks.append(len(chunk.requests))
            raise DialsUnavailable("no libtbx")

    cluster = NoDials()
    await run(cluster, image_requests(500), refused)
    assert len(refused) == 500
    assert len(cluster.chunks) <= deaths.FILES_IN_A_ROW + 2 * fan_out.CHUNKS_PER_WORKER


async def test_images_are_analysed_again_after_a_rest(refused, monkeypatch):
    monkeypatch.setattr(deaths, "REST", Pauses(0.02, 0.02))
    cluster = DyingCluster(Failure("it was killed", may_pass=True, ended_process=True))

    async def inbox():
        for request in image_requests(50):
            yield Message(request)
        cluster.healed = True
        while not results:
            yield Message(image_requests(1)[0])
            await asyncio.sleep(0.005)
        for request in image_requests(50):
            yield Message(request)

    results = []
    context = StepContext({}, "run", cluster, refuse=lambda message, error: refused.append(error))
    async for _, result in FanOut(context, lambda message: message.payload).results(inbox()):
        results.append(result)
    assert len(results) >= 51
