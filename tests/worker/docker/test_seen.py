"""Containers as Docker describes them, and what a record's start is among them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker import record
from oakctl.orchestration.worker.docker import (
    seen,
)
from tests.worker.docker.parts import NAME, instance


def test_what_docker_says_of_a_container() -> None:
    found = seen.read(
        {
            "Id": "abc",
            "Config": {
                "Labels": {
                    seen.INSTANCE: NAME,
                    seen.EPOCH: "3",
                    seen.ATTEMPT: "1",
                    seen.GPUS: "0,1",
                },
                "StopSignal": "SIGQUIT",
            },
            "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Pid": 0},
            "NetworkSettings": {"IPAddress": "", "Networks": {"x": {"IPAddress": "172.17.0.2"}}},
        }
    )
    assert found.key == seen.Key(NAME, 3, 1)
    assert (found.exit_code, found.out_of_memory, found.lives) == (137, True, False)
    assert (found.address, found.stop_signal, found.gpus) == ("172.17.0.2", "SIGQUIT", ("0", "1"))
    running = seen.read({"Id": "d", "State": {"Status": "running", "Pid": 5, "ExitCode": 0}})
    assert (running.key, running.exit_code, running.lives) == (None, None, True)
    assert seen.key_of({seen.INSTANCE: NAME, seen.EPOCH: "x", seen.ATTEMPT: "1"}) is None


keys = st.builds(seen.Key, st.sampled_from([NAME, "b"]), st.integers(1, 3), st.integers(1, 3))


@given(st.lists(st.one_of(st.none(), keys), max_size=8), st.integers(1, 3), st.integers(1, 3))
def test_only_the_records_own_start_is_wanted(
    found: list[seen.Key | None], epoch: int, attempt: int
) -> None:
    known = replace(
        record.new(replace(instance(), epoch=epoch), 1.0),
        attempt=attempt,
        phase=record.Phase.RUNNING,
    )
    containers = [seen.Seen(str(n), key, "running") for n, key in enumerate(found)]
    left = seen.unwanted(containers, {NAME: known})
    own = seen.Key(NAME, epoch, attempt)
    assert [one.key for one in containers if one not in left] == [k for k in found if k == own]


def test_dockers_time_as_seconds() -> None:
    assert seen.seconds("") == 0.0
    assert seen.seconds("1970-01-02T00:00:01.999999999Z") == 86401.0
