"""scripts/build_datasets.sh: what it asks `tfds` for."""

import importlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_config_that_the_script_builds_exists(tmp_path):
    tfds = tmp_path / "bin" / "tfds"
    tfds.parent.mkdir()
    tfds.write_text('#!/bin/sh\necho "$(basename "$PWD")" "$@"\n')
    tfds.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "build_datasets.sh"), "my data"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tfds.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    built = set()
    for line in done.stdout.splitlines():
        collection, command, config, data_dir = line.split(" ", 3)
        assert (command, data_dir) == ("build", f"--data_dir={tmp_path / 'my data'}")
        module = f"tfds_datasets.{collection}.{collection}_dataset_builder"
        configs = importlib.import_module(module).Builder.builder_configs
        assert config.removeprefix("--config=") in configs, line
        built.add(collection)
    assert built >= {"folk", "arranged", "rendered", "groove_midi"}
