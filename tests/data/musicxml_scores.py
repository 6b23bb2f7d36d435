"""Writes small MusicXML scores."""

from __future__ import annotations

import io
import zipfile

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SIGNS = {"": 0, "#": 1, "##": 2, "b": -1, "bb": -2}
TIE, TIED = '<tie type="start"/>', '<tie type="stop"/>'
BARS = {"A": "C4 D4 E4 F4", "B": "G4 A4 B4 C5", "C": "C5 B4 A4 G4", "D": "E4 E4 E4 E4"}
START = '<barline location="left"><repeat direction="forward"/></barline>'
REPEAT = '<repeat direction="backward"/>'
END = f'<barline location="right">{REPEAT}</barline>'


def note(name, divisions=2, more="", voice=1, head=""):
    """Returns a note such as `Bb4`, or a rest; a quarter note has two divisions."""
    if name == "r":
        head += "<rest/>"
    else:
        alter = SIGNS[name[1:-1]]
        sign = f"<alter>{alter}</alter>" if alter else ""
        head += f"<pitch><step>{name[0]}</step>{sign}<octave>{name[-1]}</octave></pitch>"
    return f"<note>{head}<duration>{divisions}</duration>{more}<voice>{voice}</voice></note>"


def notes(names, **kwargs):
    return "".join(note(name, **kwargs) for name in names.split())


def heard(names, start=0.0):
    """Returns [pitch, start, length] of quarter notes."""
    return [
        [12 * (int(name[-1]) + 1) + STEPS[name[0]] + SIGNS[name[1:-1]], start + i, 1.0]
        for i, name in enumerate(names.split())
        if name != "r"
    ]


def heard_bars(letters):
    return heard(" ".join(BARS[letter] for letter in letters))


def attributes(beats="4", unit="4", more="", divisions=2):
    return (
        f"<attributes><divisions>{divisions}</divisions><key><fifths>0</fifths></key>"
        f"<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>{more}</attributes>"
    )


def transpose(inner):
    return attributes(more=f"<transpose>{inner}</transpose>")


def sound(**attrs):
    return "<sound " + " ".join(f'{key}="{value}"' for key, value in attrs.items()) + "/>"


def direction(inner, **attrs):
    given = sound(**attrs) if attrs else ""
    return f"<direction><direction-type>{inner}</direction-type>{given}</direction>"


def words(text, **attrs):
    return direction(f"<words>{text}</words>", **attrs)


def metronome(number, unit="quarter", dots=0):
    dots = "<beat-unit-dot/>" * dots
    return direction(
        f"<metronome><beat-unit>{unit}</beat-unit>{dots}<per-minute>{number}</per-minute>"
        "</metronome>"
    )


def ending(number, bar, last=False):
    """Returns a measure of an ending."""
    start = f'<barline location="left"><ending number="{number}" type="start"/></barline>'
    stop = f'<ending number="{number}" type="{"discontinue" if last else "stop"}"/>'
    repeat = "" if last else REPEAT
    return f'{start}{notes(BARS[bar])}<barline location="right">{stop}{repeat}</barline>'


def harmony(root, kind="major", alter=0, more=""):
    return (
        f"<harmony><root><root-step>{root}</root-step><root-alter>{alter}</root-alter></root>"
        f"<kind>{kind}</kind>{more}</harmony>"
    )


def score(*parts, headers=()):
    """Returns a score of parts, each a list of measures."""
    listed = "".join(
        f'<score-part id="P{i}"><part-name>Part {i}</part-name>'
        f"{headers[i] if i < len(headers) else ''}</score-part>"
        for i in range(len(parts))
    )
    body = "".join(
        f'<part id="P{i}">{"".join(f"<measure>{measure}</measure>" for measure in part)}</part>'
        for i, part in enumerate(parts)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<score-partwise version="3.1">'
        f"<part-list>{listed}</part-list>{body}</score-partwise>"
    )


def melody(*measures, before=""):
    """Returns a score of one part; letters are the `BARS`."""
    bars = [notes(BARS[bar]) if bar in BARS else bar for bar in measures]
    return score([attributes() + before + bars[0], *bars[1:]])


def zipped(files, container="score.xml", compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        if container:
            archive.writestr(
                "META-INF/container.xml",
                "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
                f"<rootfile full-path='{container}'/></rootfiles></container>",
            )
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()
