"""Several emulated functions behind one queue: a request goes to one that is idle, as Lambda starts
another instance for each request that comes while the others are busy."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab_utils.service.emulator import Emulator, EmulatorDownError, Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.schema import RequestError

_log = logging.getLogger(__name__)
_PAUSES = (0.0, 1.0, 5.0, 15.0, 60.0)
"""s before each attempt to bring an emulator back; the last one repeats."""


class EmulatorPool:
    """Emulators with a bounded queue before them; a context manager that runs them.

    `invoke` belongs to one event loop, `start` and `stop` to any thread.
    """

    def __init__(self, emulators: Sequence[Emulator], queue_size: int = 16) -> None:
        self.emulators = list(emulators)
        """At least one when it starts."""
        self.queue_size = queue_size
        self._idle: asyncio.Queue[Emulator] = asyncio.Queue()
        self.present = 0
        """Requests in the queue and at work."""
        self._threads = ThreadPoolExecutor(thread_name_prefix="emulator")
        self._tasks: set[asyncio.Task] = set()
        self._stopping = False

    def __enter__(self) -> "EmulatorPool":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts all at once; returns when each has its model. Raises ServiceError if one fails."""
        for started in [self._threads.submit(one.start) for one in self.emulators]:
            started.result()
        for emulator in self.emulators:
            self._idle.put_nowait(emulator)

    def stop(self) -> None:
        """Ends all emulators, busy ones included."""
        self._stopping = True
        for emulator in self.emulators:
            emulator.stop()
        self._threads.shutdown(cancel_futures=True)
        for emulator in self.emulators:  # one may have been on its way back
            emulator.stop()

    async def invoke(
        self, event: bytes, still_wanted: Callable[[], Awaitable[bool]]
    ) -> Reply | None:
        """The reply of an emulator to an event; None if the client has gone.

        Raises RequestError: 503 if the queue is full, 502 if the emulator died on the request, 504
        if it did not answer in time.
        """
        if self.present >= len(self.emulators) + self.queue_size:
            raise RequestError(503, "The service is busy; try again in a second.", retry_after=1)
        self.present += 1
        try:
            emulator = await self._idle.get()
            if not await still_wanted():
                self._idle.put_nowait(emulator)
                return None
            # The emulator is busy until the task ends, also if the client leaves.
            return await asyncio.shield(self._start_task(self._invoke(emulator, event)))
        finally:
            self.present -= 1

    async def _invoke(self, emulator: Emulator, event: bytes) -> Reply:
        survived = False
        try:
            reply = await self._in_thread(emulator.invoke, event)
            survived = reply.body[:1] == b"{" and b'"statusCode"' in reply.body[:100]
            return reply
        except EmulatorDownError:
            raise RequestError(
                502, "The function died on this request; try again.", retry_after=1
            ) from None
        except TimeoutError:
            emulator.stop()
            raise RequestError(
                504, "The function ran out of its time; send a smaller image or fewer."
            ) from None
        finally:
            if survived:
                self._idle.put_nowait(emulator)
            else:
                self._start_task(self._revive(emulator))

    async def _revive(self, emulator: Emulator) -> None:
        """Brings an emulator back into the pool, however often that has to be tried."""
        attempt = 0
        while not self._stopping:
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1
            try:
                await self._in_thread(emulator.revive)
            except ServiceError as error:
                _log.warning("%s", error)
            else:
                self._idle.put_nowait(emulator)
                return

    async def _in_thread(self, function: Callable, *arguments: object):
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _start_task(self, work) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop holds tasks only weakly
        task.add_done_callback(self._tasks.discard)
        return task
