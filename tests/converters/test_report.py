"""The report of what was left out."""

import ast
import json
from pathlib import Path

from magenta_lite.converters.base import FILES, PLACES_KEPT, Reason, Report, shortened, unit_of


def test_counts_are_exact_and_places_few():
    report = Report()
    for i in range(20):
        report.drop("too short", f"file{i}")
    assert report.dropped["too short"] == 20
    assert report.places["too short"] == [f"file{i}" for i in range(PLACES_KEPT)]


def test_nothing_left_out_leaves_no_trace():
    report = Report()
    report.drop("too short", "here", n=0)
    assert not report.dropped
    assert report.table() == "nothing read"


def test_merging_adds_counts_and_names_the_file():
    whole, part = Report(), Report()
    part.keep("windows", 3)
    part.drop("too short", "bar 2")
    part.drop("too short", "bar 5")
    part.drop("no notes")
    whole.merge(part, "a.mid")
    whole.merge(part, "b.mid")
    assert whole.kept["windows"] == 6
    assert whole.dropped == {"too short": 4, "no notes": 2}
    assert whole.places["too short"] == [
        "a.mid bar 2",
        "a.mid bar 5",
        "b.mid bar 2",
        "b.mid bar 5",
    ]
    assert whole.places["no notes"] == ["a.mid", "b.mid"]


def test_json_and_back():
    report = Report()
    report.keep("pieces", 2)
    report.drop("no notes", "a.mid")
    report.drop(Reason("too short", "Pad it."), "b.mid", 2)
    tree = json.loads(json.dumps(report.to_json()))
    assert Report.from_json(tree) == report
    del tree["hints"], tree["files"]["hints"]  # as earlier versions wrote it
    assert Report.from_json(tree).table() == report.table()


def test_table_puts_the_most_frequent_reason_first():
    report = Report()
    report.keep("windows", 1234)
    report.drop("rare", "a")
    report.drop("frequent", "b", n=5)
    assert report.table().splitlines() == [
        "    1,234 windows",
        "Files and pieces left out:",
        "        5 frequent (b, …)",
        "        1 rare (a)",
    ]


def test_files_passages_windows_and_notes_are_told_apart_and_files_come_first():
    report = Report()
    report.files.keep("files", 94)
    report.files.drop("no notes", "a.mid")
    report.files.drop("melody shorter than 2 bars", "b.mid", 3)
    report.drop("no notes", "a.mid")
    report.drop("melody shorter than 2 bars", "b.mid", 5)
    report.drop("same window again in the piece", "c.mid", 9)
    report.drop("drum note", "c.mid", 400)
    report.drop("not a music file", "cover.jpg")
    assert report.table().splitlines() == [
        "94 of 98 files are used; these 4 give nothing, because",
        "        3 melody shorter than 2 bars (b.mid, …)",
        "        1 no notes (a.mid)",
        "Files and pieces left out:",
        "        1 not a music file (cover.jpg)",
        "Passages left out:",
        "        2 melody shorter than 2 bars (b.mid, …)",
        "Windows left out:",
        "        9 same window again in the piece (c.mid, …)",
        "Notes left out:",
        "      400 drum note (c.mid, …)",
    ]
    assert report.main_reason() == "no notes" or report.main_reason() == "not a music file"


def test_no_line_is_wider_than_the_terminal_and_names_lose_their_middle():
    report = Report()
    for i in range(30):
        report.drop(
            "a reason with rather many words in it that goes on", f"{'deep/' * 60}{i:02}.mid"
        )
    lines = report.table(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert len(lines) <= 4
    assert "…" in lines[2]
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abc", 5) == "abc"


REASONS = ("drop", "Reason", "with_setting", "too_short", "_too_empty", "_silent")


def _reasons() -> set[str]:
    """Returns how each reason begins that the package gives to `Report.drop`."""
    found = set()
    for path in (Path(__file__).parents[2] / "magenta_lite" / "converters").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(getattr(node, "func", None), "attr", "")
            called = called or getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and called in REASONS and node.args:
                text = node.args[0]
                text = text.values[0] if isinstance(text, ast.JoinedStr) else text
                if isinstance(text, ast.Constant):
                    found.add(str(text.value))
    return found


def test_every_reason_of_an_converter_says_what_it_counts():
    of_pieces = ("piece", "sound", "silent sound", "no ", "a note has", "music longer")
    reasons = _reasons()
    assert len(reasons) > 40
    for reason in reasons:
        assert unit_of(reason) != FILES or reason.startswith(of_pieces), reason
