"""The command `serve` with real models: answers equal `generate`, whatever happens beside them."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile

import httpx
import keras
import mido
import music21
import psutil
import pytest
import soundfile

import magenta_lite as ml

NAMES = ("cat-mel_2bar_tiny", "music_transformer_tiny")


@pytest.fixture(scope="module")
def run_dirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name in NAMES:
        keras.utils.set_random_seed(1)
        config = ml.get_config(name)
        ml.as_run(config, ml.build_model(config)).save(folder / name)
    return [folder / name for name in NAMES]


@pytest.fixture(scope="module")
def server(run_dirs):
    """The address of a running server, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "magenta_lite.serve", f"--port={port}", "--seconds=300"]
    command += [f"--run_dir={path}" for path in run_dirs]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = iter(process.stderr)
    while "Uvicorn running" not in next(lines):
        pass
    yield f"http://127.0.0.1:{port}", process
    process.send_signal(signal.SIGINT)
    log = [*lines]
    assert process.wait(30) in (0, 130)
    answered = [json.loads(line) for line in log if '"answered"' in line]
    assert {line["model"] for line in answered} == set(NAMES)


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server[0], timeout=300) as client:
        yield client


@pytest.fixture(scope="module")
def runs(run_dirs):
    return dict(zip(NAMES, map(ml.load, run_dirs), strict=True))


def ask(client, name, options, accept="application/json", **kwargs):
    return client.post(
        f"/models/{name}/generate", json=options, headers={"Accept": accept}, **kwargs
    )


def notes(sequence):
    return sorted((n.pitch, round(n.start_time, 4), round(n.end_time, 4)) for n in sequence.notes)


def notes_of_json(output):
    found = ((n["pitch"], round(n["start"], 4), round(n["end"], 4)) for n in output["notes"])
    return sorted(found)


@pytest.mark.parametrize("name", NAMES)
def test_answer_is_what_generate_makes_with_the_seed(client, runs, name):
    options = {"seed": 3, "num_outputs": 2, "temperature": 0.9}
    if "transformer" in name:
        options["num_tokens"] = 64
    outputs = ask(client, name, options).json()["outputs"]
    expected = runs[name].generate(**options)
    assert [*map(notes_of_json, outputs)] == [*map(notes, expected)]
    assert outputs[0]["notes"]


def test_media_types(client):
    name, options = NAMES[0], {"seed": 3}
    midi = ask(client, name, options, "audio/midi")
    tracks = mido.MidiFile(file=io.BytesIO(midi.content)).tracks
    played = sum(m.type == "note_on" and m.velocity > 0 for track in tracks for m in track)
    assert played == len(ask(client, name, options).json()["outputs"][0]["notes"])
    samples, _ = soundfile.read(io.BytesIO(ask(client, name, options, "audio/wav").content))
    assert 0.1 < abs(samples).max() < 1
    xml = ask(client, name, options, "application/vnd.recordare.musicxml+xml").text
    score = music21.converter.parseData(xml, format="musicxml")
    assert {n.pitch.midi for n in score.flatten().notes}
    assert ask(client, name, options, "image/*").content.startswith(b"\x89PNG")
    several = ask(client, name, {"num_outputs": 2}, "audio/midi")
    assert several.headers["content-type"] == "application/zip"
    assert len(zipfile.ZipFile(io.BytesIO(several.content)).namelist()) == 2
    assert ask(client, name, options, "video/mp4").status_code == 400


def test_primer_is_continued_and_junk_is_told(client, runs, tmp_path):
    name, path = NAMES[1], tmp_path / "primer.mid"
    sequence = runs[NAMES[0]].generate(num_outputs=1, seed=2)[0]
    ml.write(sequence, path)
    options = {"mode": "continue", "seed": 1, "num_tokens": 128}
    files = {"input": ("primer.mid", path.read_bytes())}
    data = {"options": json.dumps(options)}
    answer = client.post(
        f"/models/{name}/generate", data=data, files=files, headers={"Accept": "application/json"}
    )
    expected = runs[name].generate(input=path, num_outputs=1, **options)
    assert notes_of_json(answer.json()["outputs"][0]) == notes(expected[0])
    for junk in ("junk.mid", "junk.abc", "../../junk.xml", "junk"):
        files = {"input": (junk, b"\x00\xff" * 5_000_000)}
        answer = client.post(f"/models/{name}/generate", data=data, files=files)
        assert answer.status_code == 400, answer.text
        assert "junk" in answer.json()["error"] and "/tmp" not in answer.json()["error"]


def test_killed_model_is_loaded_again(client, server):
    options = {"seed": 8}
    before = ask(client, NAMES[0], options).json()
    children = psutil.Process(server[1].pid).children()
    (worker,) = (child for child in children if NAMES[0] in " ".join(child.cmdline()))
    worker.kill()
    time.sleep(0.1)
    codes = [ask(client, NAMES[0], options).status_code for _ in range(2)]
    assert codes in ([503, 200], [200, 200])
    assert ask(client, NAMES[0], options).json() == before


def test_cancelled_request_leaves_the_model(client):
    headers = {"Prefer": "respond-async"}
    options = {"num_tokens": 20_000, "num_outputs": 8}
    begun = client.post(f"/models/{NAMES[1]}/generate", json=options, headers=headers).json()
    with client.stream("GET", begun["events"]) as events:
        for line in events.iter_lines():
            if "tokens a second" in line:
                break
    assert client.delete(f"/jobs/{begun['id']}").json()["state"] == "cancelled"
    began = time.monotonic()
    assert ask(client, NAMES[1], {"num_tokens": 16, "seed": 1}).status_code == 200
    assert time.monotonic() - began < 30


def test_metrics_count_the_requests(client):
    text = client.get("/metrics").text
    (count,) = re.findall(
        rf'magenta_lite_requests_total{{model="{NAMES[0]}",status="200"}} (\d+)', text
    )
    assert int(count) >= 5
    assert re.search(rf'magenta_lite_model_bytes{{model="{NAMES[0]}"}} \d', text)
