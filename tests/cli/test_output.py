import json

import pytest
import yaml

from oakctl.cli import cluster, event, host, instance, service, worker
from oakctl.cli.output import Format, listing, record
from tests.tui import fleet

LISTS = [
    (cluster.COLUMNS, [fleet.cluster("edge")], lambda view: view.name),
    (worker.COLUMNS, [fleet.worker("edge", "w1")], lambda view: f"{view.cluster}/{view.name}"),
    (service.COLUMNS, [fleet.service("Rec")], lambda view: view.job_name),
    (instance.COLUMNS, [fleet.instance("Rec", 0, "edge/w1")], lambda view: view.name),
]


@pytest.mark.parametrize(("columns", "rows", "name"), LISTS)
def test_every_form_of_a_list(columns, rows, name, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    written = {}
    for form in Format:
        listing(rows, form, columns, name)
        written[form] = capsys.readouterr()
        assert written[form].err == ""
    head, _ = written[Format.TABLE].out.splitlines()
    assert head.split()[0] == "NAME"
    assert len(written[Format.WIDE].out.splitlines()[0]) > len(head)
    assert json.loads(written[Format.JSON].out) == yaml.safe_load(written[Format.YAML].out)
    assert written[Format.NAME].out == f"{name(rows[0])}\n"


def test_empty_list_is_no_line_and_an_empty_json_list(capsys: pytest.CaptureFixture[str]) -> None:
    listing([], Format.TABLE, host.COLUMNS, str)
    assert capsys.readouterr().out == ""
    listing([], Format.JSON, host.COLUMNS, str)
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("text", fleet.HOSTILE)
def test_hostile_text_stays_in_its_cell(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    listing(
        [fleet.cluster(text, status_reason=text)], Format.WIDE, cluster.COLUMNS, lambda v: v.name
    )
    record(fleet.cluster(text), Format.TABLE, [("reason", text)], text)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out
    assert len(out) < 10_000


def test_json_has_the_whole_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = fleet.HOSTILE[4]
    listing([fleet.cluster(text)], Format.JSON, cluster.COLUMNS, lambda view: view.name)
    assert json.loads(capsys.readouterr().out)[0]["name"] == text


def test_followed_events_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    followed = fleet.hostile("two\nlines").events_
    for each in followed:
        event._write(each, Format.JSON)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [each.id for each in followed]
    assert len(lines) > 1
