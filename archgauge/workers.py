"""Work spread over processes, in order: a worker that is killed is an error and not an endless wait."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from archgauge.errors import ArchgaugeError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(ArchgaugeError):
    """A process that did a part of a job's work is gone."""


class Workers:
    """Processes that work for one job. A context manager: they end with the block.

    Args:
        processes: how many work at a time.
        prepare: runs once in each process before its first item.
    """

    def __init__(self, processes: int, prepare: Callable[[], None] | None = None):
        context = multiprocessing.get_context("forkserver")
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, context, initializer=_prepare, initargs=(prepare,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def spread(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item, in the order of the items; what it raises is raised here.

        Raises:
            WorkerError: when a process ends in the middle of its work.
        """
        try:
            yield from self._pool.map(work, items)
        except BrokenProcessPool as error:
            raise WorkerError(
                "the processes of a job",
                where=f"process {os.getpid()}",
                expected=f"{self._processes} that live until the work is done",
                got="one that ended in the middle, killed or out of memory",
                remedy="Run the same command again; where memory is short, give the rule fewer threads.",
            ) from error


def _prepare(prepare: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    """A worker whose job was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
