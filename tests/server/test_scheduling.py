"""Queues, batches, cancellation and memory of the server, with processes that only pretend."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
import uvicorn

import magenta_lite as ml
from magenta_lite.config import save_config
from magenta_lite.errors import UserError
from magenta_lite.server import http_limits, jobs
from magenta_lite.server.app import create_app
from magenta_lite.server.jobs import Limits
from magenta_lite.server.messages import Done, Said
from magenta_lite.server.process import ProcessEnded
from magenta_lite.server.requests import served_models


class PretendedProcess:
    """Answers with the seed of each request as text, after `delay` seconds."""

    started: ClassVar[list[PretendedProcess]] = []
    delay = 0.0
    memory = 3 * 10**9

    def __init__(self, run_dir):
        self.name, self.batches, self.stopped = run_dir.name, [], False
        self.cancelled, self.last_used = asyncio.Event(), time.monotonic()

    @classmethod
    async def start(cls, run_dir, checkpoint):
        cls.started.append(cls(run_dir))
        return cls.started[-1]

    async def run(self, tasks, deliver):
        self.batches.append([task.options.seed for task in tasks])
        self.cancelled.clear()
        if tasks[0].options.seed == 13:
            raise ProcessEnded("its process ended")
        deliver(Said("half of it"))
        waiting = asyncio.create_task(self.cancelled.wait())
        done, _ = await asyncio.wait({waiting}, timeout=self.delay)
        if done:
            return
        for task in tasks:
            deliver(Done(task.id, "text/plain", str(task.options.seed).encode()))
        self.last_used = time.monotonic()

    def cancel(self):
        self.cancelled.set()

    def stop(self):
        self.stopped = True


@pytest.fixture(scope="module")
def run_dirs(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("melodies", "chorales"):
        config = "cat-mel_2bar_tiny" if name == "melodies" else "music_transformer_jsb"
        (folder / name).mkdir()
        save_config(ml.get_config(config), folder / name / "config.yaml")
    return [folder / "melodies", folder / "chorales"]


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(jobs, "ModelProcess", PretendedProcess)
    monkeypatch.setattr(PretendedProcess, "started", [])
    return PretendedProcess


def ask(run_dirs, *requests, limits=None, body_bytes=10_000, then=None):
    """Returns the answers to requests (model, options), which are made at once."""

    async def all_answers():
        app = create_app(served_models(run_dirs), "best", limits or Limits(), body_bytes)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        ):
            posts = [
                client.post(f"/models/{model}/generate", json=options)
                for model, options in requests
            ]
            answers = await asyncio.gather(*posts)
            return (answers, await then(client)) if then else answers

    return asyncio.run(all_answers())


def test_requests_that_wait_are_answered_together(run_dirs, processes, monkeypatch):
    monkeypatch.setattr(processes, "delay", 0.05)
    requests = [("melodies", {"seed": seed}) for seed in range(20, 30)]
    requests.append(("melodies", {"seed": 40, "temperature": 0.7}))
    answers = ask(run_dirs, *requests, limits=Limits(batch=6))
    assert [answer.text for answer in answers] == [*map(str, range(20, 30)), "40"]
    assert [answer.headers["x-seed"] for answer in answers[:2]] == ["20", "21"]
    (process,) = processes.started
    assert max(map(len, process.batches)) == 6
    assert [40] in process.batches, "another temperature is another batch"
    assert process.stopped, "no process is left"


def test_what_does_not_fit_into_the_queue_is_told_when_to_come_again(
    run_dirs, processes, monkeypatch
):
    monkeypatch.setattr(processes, "delay", 0.05)
    requests = [("melodies", {"seed": seed}) for seed in range(20, 30)]
    answers = ask(run_dirs, *requests, limits=Limits(queue=4, batch=1))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 5 <= len(refused) <= 6
    assert int(refused[0].headers["retry-after"]) >= 1
    assert "queue is full" in refused[0].json()["error"]
    assert {answer.status_code for answer in answers} == {200, 429}


def test_process_that_ends_costs_its_batch_only(run_dirs, processes):
    bad, *good = ask(
        run_dirs, *(("melodies", {"seed": seed}) for seed in (13, 14)), limits=Limits(batch=1)
    )
    assert bad.status_code == 503 and "its process ended" in bad.json()["error"]
    assert good[0].text == "14"
    assert len(processes.started) == 2


def test_request_that_takes_too_long_is_ended(run_dirs, processes, monkeypatch):
    monkeypatch.setattr(processes, "delay", 30)
    (answer,) = ask(run_dirs, ("melodies", {}), limits=Limits(seconds=0.05))
    assert answer.status_code == 503 and "0.05 s, the limit" in answer.json()["error"]
    assert processes.started[0].stopped


def test_model_that_cannot_be_loaded_is_told(run_dirs, processes, monkeypatch):
    async def start(run_dir, checkpoint):
        raise UserError("it has no checkpoint yet")

    monkeypatch.setattr(processes, "start", start)
    (answer,) = ask(run_dirs, ("melodies", {}))
    assert answer.status_code == 500 and "no checkpoint yet" in answer.json()["error"]


def test_least_recently_used_model_makes_room(run_dirs, processes):
    async def in_turn(client):
        for name in ("melodies", "chorales", "chorales", "melodies"):
            await client.post(f"/models/{name}/generate", json={"seed": 1})
        return (await client.get("/health")).json()

    _, health = ask(run_dirs, limits=Limits(memory=5 * 10**9), then=in_turn)
    assert [process.name for process in processes.started] == ["melodies", "chorales", "melodies"]
    assert health["loaded"] == ["melodies"]


def test_job_tells_its_progress_and_can_be_cancelled(run_dirs, processes, monkeypatch):
    monkeypatch.setattr(processes, "delay", 30)

    async def cancelled(client):
        begun = await client.post(
            "/models/melodies/generate", json={}, headers={"Prefer": "respond-async"}
        )
        path = begun.headers["location"]
        while (await client.get(path)).json()["state"] != "running":
            await asyncio.sleep(0.01)
        early = await client.get(f"{path}/result")
        await client.delete(path)
        events = await client.get(f"{path}/events")
        monkeypatch.setattr(processes, "delay", 0)
        after = await client.post("/models/melodies/generate", json={"seed": 5})
        return begun, early, events.text, await client.get(f"{path}/result"), after

    _, (begun, early, events, late, after) = ask(run_dirs, then=cancelled)
    assert begun.status_code == early.status_code == 202
    lines = [line for line in events.splitlines() if line.startswith("data: ")]
    assert lines == [
        'data: {"state": "queued"}',
        'data: {"state": "running"}',
        'data: {"progress": "half of it"}',
        'data: {"state": "cancelled"}',
    ]
    assert late.status_code == 410
    assert after.text == "5", "the process goes on with the next request"
    assert len(processes.started) == 1


def test_results_are_kept_for_a_while(run_dirs, processes):
    async def fetched(client):
        headers = {"Prefer": "respond-async"}
        begun = [
            await client.post("/models/melodies/generate", json={"seed": seed}, headers=headers)
            for seed in range(4)
        ]
        paths = [answer.headers["location"] for answer in begun]
        await client.get(f"{paths[-1]}/events")  # until it is done
        await client.post("/models/melodies/generate", json={"seed": 9}, headers=headers)
        return [(await client.get(f"{path}/result")).status_code for path in paths]

    _, codes = ask(run_dirs, limits=Limits(kept=2), then=fetched)
    assert codes[0] == 404 and codes[-1] == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_outputs": 10**9}, "num_outputs=1000000000: Input should be less than or equal"),
        ({"temprature": 1}, "temprature=1: Extra inputs are not permitted"),
        ({"temperature": "hot"}, "temperature"),
        ({"mode": "dance"}, "mode"),
        ({"mode": "continue"}, "input=FILE"),
        ({"seed": -1}, "seed=-1"),
        ([], "options"),
    ],
)
def test_wrong_options_are_told_in_a_line(run_dirs, processes, options, told):
    (answer,) = ask(run_dirs, ("chorales", options))
    assert answer.status_code == 400
    assert told in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert not processes.started


def test_body_beyond_the_limit_is_refused(run_dirs, processes):
    async def in_pieces(client):
        async def body():
            for _ in range(30):
                yield b"x" * 1000

        return await client.post("/models/melodies/generate", content=body())

    (stated,), streamed = ask(run_dirs, ("melodies", {"x": "y" * 20_000}), then=in_pieces)
    for answer in (stated, streamed):
        assert answer.status_code == 413
        assert answer.json()["error"].startswith("The request has more than 10,000 bytes")


def test_models_are_described_with_their_limits(run_dirs, processes):
    async def described(client):
        return (await client.get("/models")).json(), (await client.get("/openapi.json")).json()

    _, (models, openapi) = ask(run_dirs, then=described)
    melodies, chorales = models
    assert "audio/midi" in melodies["media_types"]
    assert melodies["options"]["properties"]["num_outputs"]["maximum"] == 64
    assert chorales["options"]["properties"]["top_p"]["maximum"] == 1
    assert "/models/chorales/generate" in openapi["paths"]


def test_clients_name_no_path_of_the_server(run_dirs, tmp_path):
    """Texts are no files, and what would be a path is the name of a served model."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    folder = tmp_path / "prior"
    folder.mkdir()
    save_config(
        ml.get_config("jukebox_prior_tiny", ["converter.vqvae=somewhere"]), folder / "config.yaml"
    )
    prior = served_models([folder, *run_dirs])["prior"]
    options = prior.options({"lyrics": str(secret)}, 1)
    assert options.lyrics == str(secret)
    with pytest.raises(UserError, match="'/etc' is not a served model; served are chorales"):
        prior.options({"upsamplers": ("/etc",)}, 1)
    named = prior.options({"upsamplers": ("chorales",)}, 1)
    assert named.upsamplers == (str(run_dirs[1]),)


def test_files_of_the_server_are_no_options(run_dirs, processes):
    """`generate --attribute` names a file, which a client cannot."""

    async def described(client):
        return (await client.get("/models/melodies")).json()["options"]["properties"]

    (answer,), options = ask(run_dirs, ("melodies", {"attribute": "/etc/passwd"}), then=described)
    assert answer.status_code == 400 and "attribute" in answer.json()["error"]
    assert "attribute" not in options
    assert options["mode"]["enum"] == ["sample", "reconstruct", "interpolate", "infill"]


def test_two_models_of_the_same_name_are_refused(run_dirs):
    with pytest.raises(UserError, match="have the same name"):
        served_models([run_dirs[0], run_dirs[0]])


def test_connections_that_send_nothing_are_closed(run_dirs, processes, monkeypatch):
    monkeypatch.setattr(http_limits, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(http_limits, "MOST_CONNECTIONS", 40)
    monkeypatch.setattr(http_limits, "MOST_REFUSED", 3)
    app = create_app(served_models(run_dirs), "best", Limits(), 10_000)
    config = uvicorn.Config(app, port=0, http=http_limits.LimitedProtocol, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for connection in silent[:10]:
        connection.send(b"POST /models HTTP/1.1\r\n")  # the head of a request never ends
    refused = httpx.get(f"http://127.0.0.1:{port}/models")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert refused.json() == {"error": "The server has too many connections; try again later"}
    too_many = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
    assert [connection.recv(12) for connection in too_many] == 6 * [b"HTTP/1.1 503"]
    assert [connection.recv(1) for connection in silent] == 40 * [b""]
    answer = httpx.post(f"http://127.0.0.1:{port}/models/melodies/generate", json={"seed": 3})
    assert answer.text == "3"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
