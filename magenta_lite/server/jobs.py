"""Requests on their way: queues of the models, batches, cancellation, limits of time and memory."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from magenta_lite.errors import UserError
from magenta_lite.server import metrics
from magenta_lite.server.messages import Done, Failed, Said, Task
from magenta_lite.server.process import ModelProcess, ProcessEnded
from magenta_lite.server.requests import Served

LOG = logging.getLogger(__name__)
FINISHED = ("done", "failed", "cancelled")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        queue: Number of requests to a model that wait.
        batch: Number of requests to a model that are answered together.
        seconds: Time of a request from its start.
        memory: Bytes of all loaded models together; the least recently used ones are unloaded.
        kept: Number of finished jobs, of those that clients do not wait for, whose results can
            still be fetched.
    """

    queue: int = 128
    batch: int = 32
    seconds: float = 300.0
    memory: int = 8 * 2**30
    kept: int = 64


class Busy(Exception):
    """The queue of a model is full; `retry_after` is in seconds."""

    def __init__(self, retry_after: int):
        super().__init__(f"The queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Job:
    """A request, its state and its result.

    Attributes:
        task: What the worker gets.
        model: Name of the model.
        state: `queued`, `running`, `done`, `failed` or `cancelled`.
        result: The answer of a job that is done or failed.
    """

    def __init__(self, model: str, task: Task):
        self.model, self.task = model, task
        self.state = "queued"
        self.result: Done | Failed | None = None
        self.status = 200  # of HTTP
        self._events: list[dict[str, Any]] = [{"state": "queued"}]
        self._changed = asyncio.Event()

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    def tell(self, **event: Any) -> None:
        """Adds an event, which `events` yields."""
        self._events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    def begin(self) -> None:
        self.state = "running"
        self.tell(state="running")

    def finish(self, result: Done | Failed, status: int = 200) -> None:
        if self.is_finished:  # was cancelled
            return
        self.result, self.status = result, status
        self.state = "done" if isinstance(result, Done) else "failed"
        error = {"error": result.message} if isinstance(result, Failed) else {}
        self.tell(state=self.state, **error)

    def cancel(self) -> None:
        """Gives the job up; a finished one stays as it is."""
        if not self.is_finished:
            self.state = "cancelled"
            self.tell(state="cancelled")

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yields what has happened and what happens, until the job is finished."""
        for i in itertools.count():
            while i >= len(self._events):
                await self._changed.wait()
            yield self._events[i]
            if self._events[i].get("state") in FINISHED:
                return

    async def finished(self) -> None:
        """Waits until the job is finished."""
        async for _ in self.events():
            pass


class ModelQueue:
    """The requests to one model, which are answered one batch after the other."""

    def __init__(self, served: Served, checkpoint: str, limits: Limits, models: Models):
        self.served = served
        self._checkpoint, self._limits, self._models = checkpoint, limits, models
        self._waiting: collections.deque[Job] = collections.deque()
        self._running: list[Job] = []
        self._arrived = asyncio.Event()
        self._seconds = 1.0  # average of a batch
        self.process: ModelProcess | None = None

    @property
    def is_idle(self) -> bool:
        return not self._running

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Adds a job. Raises: Busy if too many are waiting."""
        waiting = len(self._waiting)
        if waiting >= self._limits.queue:
            batches = waiting / max(self._limits.batch, 1)
            raise Busy(max(1, round(self._seconds * batches)))
        self._waiting.append(job)
        self._arrived.set()

    def cancel(self, job: Job) -> None:
        """Gives a job up; its batch is left if nobody waits for it any more."""
        job.cancel()
        with contextlib.suppress(ValueError):
            self._waiting.remove(job)
        is_last = job in self._running and all(each.is_finished for each in self._running)
        if is_last and self.process:
            self.process.cancel()

    async def work(self) -> None:
        """Answers requests forever."""
        while True:
            await self._arrived.wait()
            if not self._waiting:
                self._arrived.clear()
                continue
            self._running = self._next_batch()
            began = time.monotonic()
            try:
                await self._answer(self._running)
            finally:
                self._running = []
            self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - began)

    def _next_batch(self) -> list[Job]:
        """Returns the oldest job, and others that can be answered together with it."""
        first = self._waiting.popleft()
        batch, key = [first], batch_key(first.task)
        for job in list(self._waiting):
            if len(batch) >= self._limits.batch or key is None:
                break
            if batch_key(job.task) == key:
                batch.append(job)
                self._waiting.remove(job)
        return batch

    async def _answer(self, batch: list[Job]) -> None:
        by_id = {job.task.id: job for job in batch}

        def deliver(message: Done | Failed | Said) -> None:
            if isinstance(message, Said):
                for job in batch:
                    job.tell(progress=message.text)
                return
            status = 200 if isinstance(message, Done) else 400 if message.is_users else 500
            by_id[message.id].finish(message, status)

        for job in batch:
            job.begin()
        try:
            process = await self._loaded()
            async with asyncio.timeout(self._limits.seconds):
                metrics.BATCH_SIZE.labels(self.served.name).observe(len(batch))
                await process.run([job.task for job in batch], deliver)
        except TimeoutError:
            self.unload()
            limit = f"{self._limits.seconds:g} s"
            self._fail(batch, f"Not ready after {limit}, the limit of a request; ask for less", 503)
        except UserError as error:
            self._fail(batch, f"The model cannot be loaded: {error}", 500)
        except ProcessEnded as error:
            self.unload()
            LOG.error("process ended", extra={"model": self.served.name})
            self._fail(batch, f"The model stopped ({error}); try again", 503)
        except Exception:  # later requests are answered by a new process
            self.unload()
            LOG.exception("error of the server", extra={"model": self.served.name})
            self._fail(batch, "An error of the server, which its log tells", 500)

    def _fail(self, batch: Iterable[Job], message: str, status: int) -> None:
        for job in batch:
            job.finish(Failed(job.task.id, message, is_users=False), status)

    async def _loaded(self) -> ModelProcess:
        if self.process is None:
            self._models.make_room(self)
            began = time.monotonic()
            self.process = await ModelProcess.start(self.served.run_dir, self._checkpoint)
            seconds = round(time.monotonic() - began, 1)
            LOG.info("loaded", extra={"model": self.served.name, "seconds": seconds})
        return self.process

    def unload(self) -> None:
        """Ends the process of the model."""
        if self.process is not None:
            self.process.stop()
            self.process = None
            LOG.info("unloaded", extra={"model": self.served.name})


def batch_key(task: Task) -> Any:
    """Returns what tasks that are answered together have in common; None for none."""
    options = task.options
    if not options.takes_seeds or task.files or options.num_outputs > 1:
        return None
    return options.replace(seed=0)


class Models:
    """All served models with their queues, and the jobs that clients ask about.

    Attributes:
        queues: By the name of the model.
    """

    def __init__(self, served: dict[str, Served], checkpoint: str, limits: Limits):
        self.queues = {
            name: ModelQueue(model, checkpoint, limits, self) for name, model in served.items()
        }
        self._limits = limits
        self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers requests inside the context; afterwards no process is left."""
        workers = [asyncio.create_task(queue.work()) for queue in self.queues.values()]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for queue in self.queues.values():
                queue.unload()

    def make_room(self, wanted: ModelQueue) -> None:
        """Unloads models that were not used for longest until another one fits."""
        loaded = [queue for queue in self.queues.values() if queue.process and queue is not wanted]
        sizes = {queue.served.name: queue.process.memory for queue in loaded if queue.process}
        size = max(sizes.values(), default=0)  # that of the new one is not known before
        idle = sorted(
            (queue for queue in loaded if queue.is_idle and queue.process),
            key=lambda queue: queue.process.last_used if queue.process else 0.0,
        )
        for queue in idle:
            if sum(sizes.values()) + size <= self._limits.memory:
                return
            del sizes[queue.served.name]
            queue.unload()

    def submit(self, job: Job) -> None:
        """Adds a job. Raises: Busy if the queue of its model is full."""
        self.queues[job.model].submit(job)

    def keep(self, job: Job) -> str:
        """Returns a key by which `job` finds this one, until it is one of the oldest results."""
        key = secrets.token_urlsafe(16)
        self._jobs[key] = job
        finished = (key for key, job in self._jobs.items() if job.is_finished)
        for old in list(itertools.islice(finished, max(0, len(self._jobs) - self._limits.kept))):
            del self._jobs[old]
        return key

    def job(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def cancel(self, job: Job) -> None:
        self.queues[job.model].cancel(job)
