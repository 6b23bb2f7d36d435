"""Opens MusicXML files: plain or compressed, in any encoding, partwise or timewise."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
from xml.etree import ElementTree

from magenta_lite.data import archives
from magenta_lite.errors import first_line

CONTAINER = "META-INF/container.xml"
MAX_BYTES = 32 * 2**20  # of XML; the largest score of music21's corpus has 11 MB
MAX_TAGS = 2_000_000  # each needs up to 400 bytes of memory
MAX_MEMBERS = 1000
ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)")
# Codecs that Python knows, but that no score is in, need time out of proportion.
ENCODINGS = re.compile(r"(?i)(?:us-)?ascii|(?:iso|windows|cp|koi8|mac|euc|shift|gb|big)[\w-]*")


class MusicXMLError(ValueError):
    """A file that cannot be read as MusicXML; the message is the reason."""


def open_document(data: bytes) -> ElementTree.Element:
    """Returns the root of a score, a `score-partwise` without namespaces.

    Args:
        data: Content of a file, compressed or not.

    Raises:
        MusicXMLError: If it holds no score, or is too large.
    """
    root = _parse(_unpacked(data) if data.startswith(b"PK") else data)
    if root.tag == "score-timewise":
        return _partwise(root)
    if root.tag != "score-partwise":
        raise MusicXMLError(f"a document of type '{root.tag:.40}', which is not a score")
    return root


def _unpacked(data: bytes) -> bytes:
    """Returns the score in a compressed file."""
    try:
        with archives.open_zip(io.BytesIO(data)) as archive:
            if len(archive.namelist()) > MAX_MEMBERS:
                raise MusicXMLError(f"an archive of more than {MAX_MEMBERS} files")
            return _member(archive, _name_of_score(archive))
    except (*archives.ERRORS, UnicodeDecodeError) as error:
        raise MusicXMLError(f"the archive cannot be read: {first_line(error)}") from error


def _name_of_score(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if CONTAINER in names:
        for file in _parse(_member(archive, CONTAINER)).iter("rootfile"):
            if file.get("full-path") in names and "xml" in file.get("media-type", "xml"):
                return file.get("full-path", "")
    for name in names:
        if name.lower().endswith(("xml", "musicxml")) and not name.startswith("META-INF"):
            return name
    raise MusicXMLError("an archive without a score")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(MAX_BYTES + 1)


def _parse(data: bytes) -> ElementTree.Element:
    """Returns the root of an XML document; entities are neither defined nor fetched."""
    if len(data) > MAX_BYTES:
        raise MusicXMLError(f"more than {MAX_BYTES // 2**20} MB of XML")
    text = _decoded(data).lstrip()
    if text.count("<") > MAX_TAGS:
        raise MusicXMLError(f"more than {MAX_TAGS:,} XML tags")
    if "<!ENTITY" in text:
        raise MusicXMLError("XML entities, which no score needs")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise MusicXMLError(first_line(error)) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _decoded(data: bytes) -> str:
    declared = ENCODING.match(data[:200].lstrip())
    encoding = declared[1].decode("ascii", "replace") if declared else ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if data[0] else "utf-16-be"
    elif not ENCODINGS.fullmatch(encoding):
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return data.decode("latin-1")


def _partwise(root: ElementTree.Element) -> ElementTree.Element:
    """Returns a score by part instead of by measure."""
    parts: dict[str, ElementTree.Element] = {}
    for i, measure in enumerate(root.findall("measure")):
        for part in measure.findall("part"):
            whole = parts.setdefault(part.get("id", ""), ElementTree.Element("part", part.attrib))
            whole.extend(ElementTree.Element("measure") for _ in range(i - len(whole)))
            part.tag, part.attrib = "measure", measure.attrib
            whole.append(part)
    for measure in root.findall("measure"):
        root.remove(measure)
    root.extend(parts.values())
    return root
