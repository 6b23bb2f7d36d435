"""The report of what was left out."""

from magenta_lite.encoders.base import PLACES_KEPT, Report


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
    again = Report.from_json(report.to_json())
    assert again == report


def test_table_puts_the_most_frequent_reason_first():
    report = Report()
    report.keep("windows", 1234)
    report.drop("rare", "a")
    report.drop("frequent", "b", n=5)
    lines = report.table().splitlines()
    assert "1,234 windows" in lines[0]
    assert "frequent (b)" in lines[1]
    assert "rare (a)" in lines[2]
