"""The HTTP interface of served models."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import pydantic
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sse_starlette import EventSourceResponse
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from magenta_lite.errors import UserError
from magenta_lite.server import metrics
from magenta_lite.server.http_limits import BodyLimit
from magenta_lite.server.jobs import Busy, Job, Limits, Models
from magenta_lite.server.messages import Done, Task
from magenta_lite.server.rendering import chosen_type, media_types
from magenta_lite.server.requests import Served

LOG = logging.getLogger(__name__)
MOST_FILES = 16  # of a request
POLL_SECONDS = 0.5  # between two looks whether a client is still there
NUMBERS = itertools.count(1)  # of tasks

DESCRIPTION = """\
Music from trained models. `GET /models` lists them with their options.
`POST /models/NAME/generate` answers with the music; with `Prefer: respond-async` it answers at
once with a job, whose progress are server-sent events, and which can be cancelled."""


class HttpError(Exception):
    """An error with its HTTP status, whose answer is `{"error": message}`."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.headers = status, headers


def create_app(
    served: dict[str, Served], checkpoint: str, limits: Limits, body_bytes: int
) -> fastapi.FastAPI:
    """Returns the application.

    Args:
        served: Models by name.
        checkpoint: The weights to load, as of `load_run`.
        limits: Limits of queues, batches, time and memory.
        body_bytes: Limit of the body of a request.
    """
    models = Models(served, checkpoint, limits)
    app = fastapi.FastAPI(
        title="magenta_lite", description=DESCRIPTION, lifespan=lambda _: models.running()
    )
    app.add_middleware(BodyLimit, most=body_bytes)
    app.exception_handler(HttpError)(_error_answer)

    @app.get("/health", summary="Whether the server runs")
    async def health() -> dict[str, Any]:
        loaded = [name for name, queue in models.queues.items() if queue.process]
        return {"status": "ok", "loaded": loaded}

    @app.get("/models", summary="The models, with their options and media types")
    async def list_models() -> list[dict[str, Any]]:
        return [model.description for model in served.values()]

    @app.get("/metrics", summary="Metrics for Prometheus")
    async def show_metrics() -> Response:
        for name, queue in models.queues.items():
            metrics.WAITING.labels(name).set(len(queue))
            metrics.MEMORY.labels(name).set(queue.process.memory if queue.process else 0)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    for name, model in served.items():
        _add_model(app, models, name, model)
    _add_jobs(app, models)
    return app


async def _error_answer(request: fastapi.Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    LOG.info("refused", extra={"path": request.url.path, "status": error.status})
    return JSONResponse({"error": str(error)}, error.status, error.headers)


# Generation ---------------------------------------------------------------------------------------


def _add_model(app: fastapi.FastAPI, models: Models, name: str, model: Served) -> None:
    """Adds the paths of one model."""

    @app.get(f"/models/{name}", summary=f"What {name} takes")
    async def describe() -> dict[str, Any]:
        return model.description

    @app.post(
        f"/models/{name}/generate",
        summary=f"Music of {name}",
        openapi_extra={"requestBody": _body_of(model)},
        responses={200: {"content": {kind: {} for kind in media_types(model.is_sound)}}},
    )
    async def generate(request: fastapi.Request) -> Response:
        began = time.monotonic()
        job = await _submitted(request, model, models)
        if "respond-async" in request.headers.get("prefer", ""):
            key = models.keep(job)
            return JSONResponse(_job_state(key, job), 202, {"Location": f"/jobs/{key}"})
        await _wait(request, job, models)
        seconds = time.monotonic() - began
        metrics.REQUESTS.labels(name, str(job.status)).inc()
        metrics.LATENCY.labels(name).observe(seconds)
        about = {"model": name, "status": job.status, "seconds": round(seconds, 3)}
        LOG.info("answered", extra=about)
        return _answer(job)


def _body_of(model: Served) -> dict[str, Any]:
    """Returns the description of a request's body for OpenAPI."""
    options = model.schema.model_json_schema()
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {"options": options, "input": files}}
    return {
        "content": {
            "application/json": {"schema": options},
            "multipart/form-data": {"schema": form},
        }
    }


async def _submitted(request: fastapi.Request, model: Served, models: Models) -> Job:
    """Returns the job of a request, which waits for its turn."""
    text, files = await _body(request)
    try:
        given = model.schema.model_validate_json(text or "{}").model_dump(exclude_unset=True)
        media_type = chosen_type(request.headers.get("accept", "*/*"), model.is_sound)
        options = model.options(given, len(files))
    except pydantic.ValidationError as error:
        raise HttpError(400, _told(error)) from error
    except UserError as error:
        raise HttpError(400, _without_dashes(str(error))) from error
    about = {
        "model": model.name,
        "mode": options.mode,
        "seed": options.seed,
        "temperature": options.temperature,
    }
    job = Job(model.name, Task(next(NUMBERS), options, files, media_type, about))
    try:
        models.submit(job)
    except Busy as busy:
        raise HttpError(429, str(busy), {"Retry-After": str(busy.retry_after)}) from busy
    return job


async def _body(request: fastapi.Request) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """Returns the options of a request as JSON, and its files: names and contents."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    try:
        if kind != "multipart/form-data":
            return (await request.body()).decode(), ()
        async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES) as form:
            files = tuple(
                [
                    (part.filename or "input", await part.read())
                    for part in form.getlist("input")
                    if isinstance(part, UploadFile)
                ]
            )
            text = form.get("options") or "{}"
            if isinstance(text, UploadFile):
                text = (await text.read()).decode()
            return text, files
    except UnicodeDecodeError as error:
        raise HttpError(400, "The options are not UTF-8 text; send JSON") from error
    except ClientDisconnect as error:
        raise HttpError(400, "The client left before its request was complete") from error


async def _wait(request: fastapi.Request, job: Job, models: Models) -> None:
    """Waits until a job is finished; cancels it if its client has left."""
    finished = asyncio.create_task(job.finished())
    while not (await asyncio.wait({finished}, timeout=POLL_SECONDS))[0]:
        if await request.is_disconnected():
            models.cancel(job)


def _answer(job: Job) -> Response:
    """Returns the answer of a finished job."""
    if isinstance(job.result, Done):
        headers = {"X-Seed": str(job.task.options.seed)}
        return Response(job.result.content, 200, headers, job.result.media_type)
    if job.result is None:
        raise HttpError(410, "The request was cancelled")
    raise HttpError(job.status, _without_dashes(job.result.message))


def _told(error: pydantic.ValidationError) -> str:
    """Returns the first of the errors of a validation in one line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "options"
    return f"{place}={json.dumps(first['input'], default=str)[:100]}: {first['msg']}"


def _without_dashes(message: str) -> str:
    """Returns the message of a command about its flags for clients, who give names."""
    return message.replace("--", "")


# Jobs ---------------------------------------------------------------------------------------------


def _add_jobs(app: fastapi.FastAPI, models: Models) -> None:
    """Adds the paths of requests with `Prefer: respond-async`."""

    def found(key: str) -> Job:
        job = models.job(key)
        if job is None:
            raise HttpError(404, "There is no such job; results are kept for a while only")
        return job

    @app.get("/jobs/{key}", summary="The state of a job")
    async def state(key: str) -> dict[str, Any]:
        return _job_state(key, found(key))

    @app.get("/jobs/{key}/events", summary="The progress of a job, as server-sent events")
    async def events(key: str) -> EventSourceResponse:
        job = found(key)

        async def told() -> AsyncIterator[dict[str, str]]:
            async for event in job.events():
                name = "progress" if "progress" in event else "state"
                yield {"event": name, "data": json.dumps(event)}

        return EventSourceResponse(told())

    @app.get("/jobs/{key}/result", summary="The music of a job that is done")
    async def result(key: str) -> Response:
        job = found(key)
        if not job.is_finished:
            return JSONResponse(_job_state(key, job), 202, {"Retry-After": "1"})
        return _answer(job)

    @app.delete("/jobs/{key}", summary="Cancels a job")
    async def cancel(key: str) -> dict[str, Any]:
        job = found(key)
        models.cancel(job)
        return _job_state(key, job)


def _job_state(key: str, job: Job) -> dict[str, Any]:
    return {
        "id": key,
        "model": job.model,
        "state": job.state,
        "seed": job.task.options.seed,
        "events": f"/jobs/{key}/events",
        "result": f"/jobs/{key}/result",
    }
