"""Work on a file system that may hang, without hanging with it."""

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

Answer = TypeVar("Answer")


def within(limit_s: float, work: Callable[[], Answer]) -> Answer:
    """Do some work in a thread and return what it returns.

    Parameters
    ----------
    limit_s
        Seconds; work that takes longer goes on without anybody waiting for it, neither here nor at the process's end.
    work
        What to do; what it raises is raised here.

    Raises
    ------
    TimeoutError
        It took longer.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    # A daemon: threads of an executor are waited for when Python ends. The context holds what log lines belong to.
    Thread(target=copy_context().run, args=(run,), name="time-limited", daemon=True).start()
    return answer.result(limit_s)
