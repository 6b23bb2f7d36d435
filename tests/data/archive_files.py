"""Archives of given files."""

import io
import tarfile
import zipfile
from pathlib import Path


def zip_of(path: Path, members: dict[str, bytes]) -> bytes:
    """Writes a zip archive of members; returns its bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path.read_bytes()


def tar_of(path: Path, members: dict[str, bytes]) -> bytes:
    """Writes a compressed tar archive of members; returns its bytes."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            add(archive, name, data)
    return path.read_bytes()


def add(archive: tarfile.TarFile, name: str, data: bytes, **details) -> None:
    """Adds a member to a tar archive, with attributes of its `TarInfo`."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in details.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))
