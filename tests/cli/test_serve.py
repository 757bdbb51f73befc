import json
import signal

import pytest

from tests.cli.running import Cli, matches_schema


def test_the_first_line_is_the_address_and_sigterm_stops_it_cleanly(ana: Cli) -> None:
    process = ana.start("serve", "--listen", "127.0.0.1:0", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    matches_schema(["serve"], first)
    host, _, port = first["address"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_second_one_is_refused_and_the_first_goes_on(ana: Cli) -> None:
    with ana.serving() as address:
        second = ana.value("serve", "--listen", "127.0.0.1:0", code=1)
        assert second["error"]["code"] == "engine-taken"
        assert ana.value("status")["serving"] == address


def test_other_commands_work_while_it_runs(ana: Cli, ct_scan: str) -> None:
    with ana.serving():
        ana.value("scan", "export", ct_scan, "-o", "out")
        ana.value("check", "--read-data")


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1", "127.0.0.1:70000", ":x"])
def test_a_place_that_cannot_be_is_a_mistake(listen: str, ana: Cli) -> None:
    assert ana.here("serve", "--listen", listen).code == 2


def test_a_place_that_is_taken_is_said(ana: Cli, rao: Cli) -> None:
    with rao.serving() as address:
        refused = ana.value("serve", "--listen", address, code=1)
    assert refused["error"]["code"] == "cannot-listen"


@pytest.mark.parametrize("rate", ["0", "-1", "fast"])
def test_a_rate_is_a_number_above_zero(rate: str, ana: Cli) -> None:
    assert ana.here("serve", f"--limit-rate={rate}").code == 2


def test_the_config_file_may_say_where_to_listen(ana: Cli) -> None:
    config = ana.folder / "home" / "config" / "p2pshare"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('listen = "not a place"\n')
    assert ana.here("serve").code == 2
