"""Commands of docs/serving.md, against a small server with the REST API of TensorFlow Serving."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from processes import run

import magenta_lite as ml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
NAME = "cat-mel_2bar"
URL = f"http://localhost:8501/v1/models/{NAME}"
SMALL = ("model.latent_size=8", "model.encoder_units=[16]", "model.decoder_units=[16,16]")
LONGEST = 40  # lines of a client
PROGRAMS = ("client.py", "client.mjs", "client.sh")


def commands(*programs: str) -> list[list[str]]:
    """Returns the words of the documented commands that begin with one of some programs."""
    found = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [shlex.split(line) for block in found for line in block.splitlines()]
    return [words for words in lines if Path(words[0]).name in programs]


class Rest(BaseHTTPRequestHandler):
    """Answers requests as TensorFlow Serving does for rows and signatures of several outputs."""

    signatures: dict

    def do_GET(self):
        self._answer({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        signature = self.signatures[asked.get("signature_name", "serving_default")]
        rows = asked["instances"]
        specs = signature.structured_input_signature[1]
        if any(set(row) != set(specs) for row in rows):
            return self._answer({"error": f"Rows have {list(specs)}"}, 400)
        columns = {
            name: tf.constant([row[name] for row in rows], spec.dtype)
            for name, spec in specs.items()
        }
        found = {name: value.numpy().tolist() for name, value in signature(**columns).items()}
        each = [{name: values[i] for name, values in found.items()} for i in range(len(rows))]
        return self._answer({"predictions": each})

    def _answer(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Returns a folder with a run, and with what the documented command has exported."""
    folder = tmp_path_factory.mktemp("served")
    config = ml.get_config("cat-mel_2bar_tiny", SMALL)
    ml.as_run(config, ml.build_model(config)).save(folder / "runs" / NAME)
    ((_, _, module, *flags),) = [words for words in commands("python") if words[1] == "-m"]
    code, _, error = run(module, *flags, cwd=folder)
    assert code == 0, error
    return folder


@pytest.fixture(scope="module")
def server(place):
    loaded = tf.saved_model.load(str(place / "models" / NAME / "1"))
    handler = type("Handler", (Rest,), {"signatures": loaded.signatures})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1/models/{NAME}"
        running.shutdown()


def call(words: list[str], place: Path, server: str) -> subprocess.CompletedProcess:
    """Runs a documented command."""
    words = [
        str(ROOT / word) if word.startswith("scripts/") else word.replace(URL, server)
        for word in words
    ]
    words[0] = sys.executable if words[0] == "python" else words[0]
    return subprocess.run(words, cwd=place, capture_output=True, text=True)


def client(program: str) -> list[str]:
    """Returns the words of the documented command of a client, if it runs here."""
    needs = {"client.mjs": ("node",), "client.sh": ("curl", "jq", "awk")}.get(program, ())
    if lacking := [name for name in needs if shutil.which(name) is None]:
        pytest.skip(f"{program} needs {' and '.join(lacking)}")
    every = commands("python", "node", "client.sh")
    (words,) = [words for words in every if any(Path(word).name == program for word in words[:2])]
    return words


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_client_writes_what_generate_gives(place, server, program):
    import note_seq

    words = client(program)
    piece = place / words[-1]
    piece.unlink(missing_ok=True)
    done = call(words, place, server)
    assert done.returncode == 0, done.stderr
    request = json.loads((place / words[-2]).read_text())
    first = request["instances"][0]
    settings = {name: first[name] for name in ("seed", "temperature", "top_p", "qpm")}
    (expected,) = ml.load(place / "runs" / NAME).generate(num_outputs=1, **settings)
    written = note_seq.midi_file_to_note_sequence(str(piece))
    notes = [
        [(n.start_time, n.pitch, n.end_time, n.velocity, n.program) for n in sequence.notes]
        for sequence in (written, expected)
    ]
    assert len(expected.notes) > 0
    np.testing.assert_allclose(*map(sorted, notes), atol=1e-3)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_client_shows_why_a_request_is_refused(place, server, program, tmp_path):
    *words, _, _ = client(program)
    request, piece = tmp_path / "request.json", tmp_path / "piece.mid"
    request.write_text('{"instances": [{"seed": 1}]}')
    done = call([*words, str(request), str(piece)], place, server)
    assert done.returncode and "Rows have" in done.stderr
    assert list(tmp_path.iterdir()) == [request]


def test_curl_asks_for_rows(place, server):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    status, rows = (call([*words, "--silent"], place, server) for words in commands("curl"))
    assert json.loads(status.stdout)["model_version_status"][0]["state"] == "AVAILABLE"
    predictions = json.loads(rows.stdout)["predictions"]
    assert len(predictions) == 2 and all("num_notes" in row for row in predictions)


def test_clients_are_short():
    for path in (ROOT / "scripts" / "serving").glob("client.*"):
        assert len(path.read_text().splitlines()) <= LONGEST, path


def compose() -> list[str]:
    """Returns the words that stand for `docker compose` here."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) and not subprocess.run([*words, "version"]).returncode:
            return words
    pytest.skip("Docker Compose is not installed")


def test_compose_finds_the_exported_model(place):
    ((*words, up, _),) = commands("docker")
    assert (words[:2], up) == (["docker", "compose"], "up")
    done = call([*compose(), *words[2:], "config"], place, "")
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["serving"]
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    assert service["environment"]["MODEL_NAME"] == NAME
    (volume,) = service["volumes"]
    if isinstance(volume, str):  # of Compose 1
        volume = dict(zip(("source", "target"), volume.split(":"), strict=False))
    assert (volume["source"], volume["target"]) == (f"{place}/models", "/models")
    assert (place / "models" / NAME / "1" / "saved_model.pb").exists()


def test_tensorflow_serving_answers(place):
    """Runs where there is a Docker daemon that can have the image."""
    ((*words, up, detach),) = commands("docker")
    words = [*compose(), *words[2:]]
    if call([*words, "pull"], place, "").returncode:
        pytest.skip("no Docker daemon, or no image of TensorFlow Serving")
    try:
        done = call([*words, up, detach], place, "")
        assert done.returncode == 0, done.stderr
        (status, _), deadline = commands("curl"), time.monotonic() + 120
        while "AVAILABLE" not in call(status, place, URL).stdout:
            assert time.monotonic() < deadline
            time.sleep(1)
        done = call(client("client.py"), place, URL)
        assert done.returncode == 0, done.stderr
    finally:
        call([*words, "down"], place, "")
