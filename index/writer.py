"""Group commit: concurrent callers share a transaction; each returns once its change is durable and visible.

There is no writer thread. Every caller queues its change; one whose change nobody has written yet writes all
that is queued, while the others wait. So a lone caller pays one sync, and so do a hundred together.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from ..errors import PolylensError
from .changes import Change, write
from .database import Database, reported
from .errors import CollectionBusy, CollectionClosed, StorageFailed, StorageFull, again
from .memory import Memory
from .requests import Clock, latest
from .rows import purge

GROUP_ROWS = 4_096  # per transaction, unless one change alone has more


class _Waiter:
    """Somebody who waits for the turn to write, unless that is `done` already."""

    done = False


class _Ticket(_Waiter):
    """A queued change and what became of it."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.error: BaseException | None = None


class Writer:
    """The only way to change a collection. Durable before visible, visible before acknowledged."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database, self._memory = database, memory
        self._queue: deque[_Ticket] = deque()
        self._turn = threading.Condition()  # guards the queue, the line and who is writing
        self._line: list[_Waiter] = []  # in the order of asking: a busy caller does not starve the others
        self._busy = False
        self._refusal: PolylensError | None = None  # why no write is taken any more
        with reported(database.path):
            self._clock = Clock(latest(database.writer))

    def submit(self, change: Change) -> Change:
        """The change once it is durable and visible; an exception when nothing of it is kept.

        Only `StorageFailed` leaves open whether the change survives: opening the collection again tells.
        """
        ticket = _Ticket(change)
        with self._turn:
            self._queue.append(ticket)
        while not ticket.done:
            self._advance(ticket)
        if isinstance(ticket.error, PolylensError):
            raise again(ticket.error) from ticket.error
        if ticket.error is not None:
            raise StorageFailed(f"the write was broken off: {ticket.error!r}") from ticket.error
        return change

    def _advance(self, ticket: _Ticket) -> None:
        """Waits until the ticket is decided or nobody writes; then writes, lets the callers go, clears up."""
        leading = False
        try:
            with self._turn:
                self._wait(ticket)
                if ticket.done:
                    return
                leading = self._busy = True
                tickets = self._take()
            self._commit(tickets)
            with self._turn:
                self._turn.notify_all()
            self._tidy()
        finally:
            if leading:
                with self._turn:
                    self._busy = False
                    self._turn.notify_all()

    def _wait(self, waiter: _Waiter) -> None:
        """Returns when it is the waiter's turn, or it is done; the caller holds `_turn`."""
        self._line.append(waiter)
        try:
            self._turn.wait_for(lambda: waiter.done or (not self._busy and waiter is self._first()))
        except BaseException:
            self._turn.notify_all()  # the next in the line does not wait for this one
            raise
        finally:
            self._line.remove(waiter)

    def _first(self) -> _Waiter | None:
        return next((waiter for waiter in self._line if not waiter.done), None)

    def _take(self) -> list[_Ticket]:
        """The oldest tickets, as many as fit one transaction."""
        taken = [self._queue.popleft()]
        rows = len(taken[0].change.ids)
        while self._queue and rows + len(self._queue[0].change.ids) <= GROUP_ROWS:
            taken.append(self._queue.popleft())
            rows += len(taken[-1].change.ids)
        return taken

    def _commit(self, tickets: list[_Ticket]) -> None:
        """Decides every ticket, whatever happens."""
        error: BaseException | None = None
        try:
            self._write([ticket.change for ticket in tickets])
        except BaseException as raised:
            error = raised
            if isinstance(raised, StorageFull) and len(tickets) > 1:
                for ticket in tickets:  # perhaps only one of them is too large
                    self._commit([ticket])
            elif not isinstance(raised, Exception):
                raise
        finally:
            for ticket in tickets:
                if not ticket.done:
                    ticket.error, ticket.done = error or ticket.change.error, True

    def _write(self, changes: list[Change]) -> None:
        if self._refusal:
            raise again(self._refusal)
        rows = sum(len(change.ids) for change in changes if change.vectors_ND is not None)
        if rows:  # deletions, which make room, go on
            self._database.require_room()
        self._memory.reserve(rows)
        try:
            with self._database.transaction() as connection:
                added, dead = write(connection, changes, self._clock.now())
            self._memory.apply(added, dead)
        except (StorageFull, CollectionBusy):
            raise  # undone, so the next write may succeed
        except BaseException as error:
            self._refuse(error)
            raise

    def _tidy(self) -> None:
        """Rebuilds wasteful segments and frees their dead rows' space; trouble here undoes no commit."""
        try:
            while not self._refusal and len(dropped := self._memory.compact()):
                with self._database.transaction() as connection:
                    purge(connection, dropped)
            if not self._refusal:
                self._database.checkpoint()
        except (StorageFull, CollectionBusy):
            return  # the space is given back when the collection is opened next
        except Exception as error:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        # After a failed sync nobody knows what is on disk, and memory may lag behind: opening again tells.
        self._refusal = StorageFailed(
            f"{self._database.path}: writing stopped, open it again; cause: {error!r}"
        )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """The turn to write, once the running write has ended: nobody else writes within."""
        with self._turn:
            self._wait(_Waiter())
            if self._refusal:
                self._turn.notify_all()
                raise again(self._refusal)
            self._busy = True
        try:
            yield
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """A transaction of one's own, within `exclusive`; its failure stops writing like a write's."""
        try:
            with self._database.transaction() as connection:
                yield connection
        except (StorageFull, CollectionBusy):
            raise
        except BaseException as error:
            self._refuse(error)
            raise

    def close(self) -> bool | None:
        """Whether all writes went well, once the running one has ended; None if closed before."""
        with self._turn:
            self._wait(_Waiter())
            self._turn.notify_all()
            if isinstance(self._refusal, CollectionClosed):
                return None
            healthy = self._refusal is None
            self._refusal = CollectionClosed(f"{self._database.path.parent} is closed")
            return healthy
