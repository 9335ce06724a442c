"""Work that a thread does later, and a future for its result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def promise(work: Callable[[], T]) -> tuple[Future[T], Callable[[], None]]:
    """Return a future, and the function that does the work and gives the future its result or its error."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            result = work()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    return future, answer
