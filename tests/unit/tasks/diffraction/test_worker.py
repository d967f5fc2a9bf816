import pytest

from tasks.diffraction import worker
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import Chunk, PreviewRequest, Success


class Children:
    """Stands for a worker's DIALS processes: each request takes so many seconds of a made-up clock."""

    def __init__(self, seconds=0.0, unavailable_after=None):
        self.seconds, self.unavailable_after = seconds, unavailable_after
        self.now, self.asked = 0.0, []

    def meet(self, requests, poison):
        if self.unavailable_after is not None and sum(self.asked) >= self.unavailable_after:
            raise DialsUnavailable("no libtbx")
        self.asked.append(len(requests))
        self.now += self.seconds * len(requests)
        return [Success(request.file, self.seconds) for request in requests]

    def monotonic(self):
        return self.now


def meet(children, monkeypatch, count=40):
    monkeypatch.setattr(worker, "CHILDREN", children)
    monkeypatch.setattr(worker, "time", children)
    chunk = Chunk(tuple(PreviewRequest(str(number), 1, "", "") for number in range(count)))
    return [outcome.value for outcome in worker.meet_requests(chunk).outcomes]


def test_chunk_of_quick_images_is_met_as_a_whole_in_order(monkeypatch):
    assert meet(Children(0.005), monkeypatch) == [str(number) for number in range(40)]


def test_chunk_that_takes_too_long_gives_what_it_has(monkeypatch):
    assert meet(Children(1.0), monkeypatch) == [str(number) for number in range(worker.AT_A_TIME)]


def test_what_was_met_before_dials_was_gone_is_kept(monkeypatch):
    met = meet(Children(0.0, unavailable_after=worker.AT_A_TIME), monkeypatch)
    assert met == [str(number) for number in range(worker.AT_A_TIME)]
    with pytest.raises(DialsUnavailable):
        meet(Children(0.0, unavailable_after=0), monkeypatch)
