"""Opens a page of a folder in headless Chromium, which reaches nothing but 127.0.0.1."""

import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    # Any other name or address fails.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def node_package(path: str) -> Path | None:
    """Returns a file of the packages in NODE_PATH; None if there is none."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    files = (Path(folder) / path for folder in folders if folder)
    return next((file for file in files if file.is_file()), None)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts what pages post into a queue."""

    def __init__(self, *arguments, posted: queue.Queue, **options):
        self._posted = posted
        super().__init__(*arguments, **options)

    def do_POST(self):
        self._posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any):
        pass


def result_of(folder: Path, page: str, timeout: float = 120) -> Any:
    """Returns the JSON that a page posts to the server that has served it.

    Raises:
        TimeoutError: If it posts nothing within `timeout` seconds; with the browser's log.
    """
    posted: queue.Queue = queue.Queue()
    handler = functools.partial(Handler, directory=str(folder), posted=posted)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{page}"
        try:
            return json.loads(_posted_by(url, posted, timeout))
        finally:
            server.shutdown()


def _posted_by(url: str, posted: queue.Queue, timeout: float) -> bytes:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log"
        command = [CHROMIUM, *ARGUMENTS, "--enable-logging=stderr", f"--user-data-dir={profile}"]
        with log.open("wb") as stream:
            process = subprocess.Popen([*command, url], stdout=stream, stderr=stream)
        try:
            return posted.get(timeout=timeout)
        except queue.Empty as error:
            raise TimeoutError(f"{url} posted nothing:\n{log.read_text('utf-8')}") from error
        finally:
            process.terminate()
            process.wait()
