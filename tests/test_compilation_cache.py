"""The cache of what XLA compiles: when it is used, and that a second start finds its files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magenta_lite import compilation_cache
from magenta_lite.compilation_cache import FLAG, use_compilation_cache

SCRIPT = """
from magenta_lite.compilation_cache import use_compilation_cache
use_compilation_cache()
import tensorflow as tf
print(tf.function(lambda x: tf.reduce_sum(x @ x), jit_compile=True)(tf.ones([4, 4])).numpy())
"""


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TF_XLA_FLAGS")
    return tmp_path


def folder_in_use() -> Path:
    use_compilation_cache()
    return Path(os.environ.pop("TF_XLA_FLAGS").split()[0].removeprefix(f"{FLAG}="))


def compiled(caches) -> dict[str, tuple[int, int]]:
    """Returns size and time of each file of compiled code."""
    stats = {path.name: path.stat() for path in caches.rglob("*.pb")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def run_script() -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_start_compiles_nothing(caches):
    assert run_script() == "64.0\n"
    before = compiled(caches)
    assert before
    assert run_script() == "64.0\n"
    assert compiled(caches) == before


def test_the_user_decides(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}=")
    use_compilation_cache()
    assert os.environ["TF_XLA_FLAGS"] == f"{FLAG}="
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_max_cluster_size=9")
    use_compilation_cache()
    assert os.environ["TF_XLA_FLAGS"].startswith(f"--tf_xla_max_cluster_size=9 {FLAG}=")


def test_other_settings_of_the_compiler_have_another_folder(monkeypatch):
    first = folder_in_use()
    assert folder_in_use() == first
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert folder_in_use() != first


def test_damaged_files_and_the_oldest_of_too_many_go(monkeypatch):
    folder = folder_in_use()
    whole = b"\x0a\x03abc"  # field 1, three bytes
    contents = {"old.pb": whole, "new.pb": whole, "cut.pb": whole[:-1], "empty.pb": b""}
    for i, (name, content) in enumerate(contents.items()):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (i, i))
    monkeypatch.setattr(compilation_cache, "LARGEST", len(whole) + len(whole) // 2 + 4)
    use_compilation_cache()
    assert [path.name for path in folder.glob("*.pb")] == ["new.pb"]


def test_without_room_or_a_folder_there_is_no_cache(caches, monkeypatch):
    monkeypatch.setattr(compilation_cache, "LEAST_FREE", 10**18)
    use_compilation_cache()
    assert "TF_XLA_FLAGS" not in os.environ
    monkeypatch.undo()
    (caches / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches / "file"))
    monkeypatch.delenv("TF_XLA_FLAGS")
    use_compilation_cache()
    assert "TF_XLA_FLAGS" not in os.environ
