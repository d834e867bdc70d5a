"""Which models are listed, and what is said of each."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen import catalog
from localqwen.client import Client
from localqwen.endpoint import Endpoint
from localqwen.events import Planned, Ready
from localqwen.library import InstalledModel
from localqwen.plan import Plan, Share
from localqwen.serve_options import ServeOptions
from localqwen.supervisor import Supervisor
from tui.connections import LocalServer, RemoteServer
from tui.model_list import (
    Machine,
    ModelRow,
    advice,
    fit_words,
    judge,
    matching,
    needed,
    quantized_size,
    rows,
    window_words,
)
from tui.model_source import (
    LocalModels,
    RemoteModels,
    limited,
    look_at_machine,
    name_among_them,
    read_machine,
    source_for,
)

GB = 10**9
CARDS = catalog.cards()
ORDER = ("no", "ram", "partly", "gpu")


def test_installed_files_come_first_and_their_releases_once() -> None:
    small = CARDS["qwen2-0.5b-instruct"]
    files = [InstalledModel(Path("/m/mine.gguf"), GB, None), InstalledModel(Path("/m/x.gguf"), 4 * 10**8, small)]
    found = rows(files, CARDS.values(), Machine(16 * GB))
    assert [row.name for row in found[:2]] == ["mine", "x"]
    assert [row.is_installed for row in found].count(True) == 2
    assert small.name not in [row.name for row in found[2:]]
    assert len(found) == len(CARDS) + 1
    assert all(row.fit != "unknown" for row in found)
    assert all(row.fit == "unknown" for row in rows(files, CARDS.values()))


@pytest.mark.parametrize(
    ("name", "size"),
    # Of the publisher's own Q4_K_M files.
    [
        ("qwen2-0.5b-instruct", 398),
        ("qwen2-1.5b-instruct", 986),
        ("qwen2-7b-instruct", 4683),
        ("qwen2-72b-instruct", 47416),
    ],
)
def test_a_releases_size_is_guessed_well(name: str, size: int) -> None:
    assert quantized_size(CARDS[name].shape) / 1e6 == pytest.approx(size, rel=0.2)


def test_where_a_model_goes() -> None:
    card = Machine(32 * GB, (("CUDA0", 8 * GB),))
    assert [judge(size * GB, card) for size in (6, 20, 60)] == ["gpu", "partly", "no"]
    assert [judge(size * GB, Machine(16 * GB)) for size in (6, 20)] == ["ram", "no"]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**11), st.integers(0, 10**11))
def test_more_memory_is_never_worse(wanted: int, ram: int, card: int, more: int) -> None:
    small = Machine(ram, (("A", card),))
    large = small.with_back({"A": more, "CPU": more})
    assert ORDER.index(judge(wanted, large)) >= ORDER.index(judge(wanted, small))


def test_what_is_said_of_a_model() -> None:
    here = ModelRow("m", size=GB, window=32768, longest=131072, path=Path("/m.gguf"), fit="gpu")
    assert (fit_words(here), window_words(here)) == ("fits on the GPU", "32k–128k")
    assert "Enter opens it" in advice(here)
    assert advice(here, "F6").startswith("F6 opens it")
    away = ModelRow("qwen2-72b", fit="no", short=3 * GB)
    assert fit_words(away) == "3.0 GB too large"
    assert "`localqwen pull qwen2-72b`" in advice(away)
    assert not away.can_be_opened
    assert "`localqwen demo`" in advice(ModelRow("demo"))
    assert window_words(ModelRow("x")) == fit_words(ModelRow("x")) == ""
    assert "from now on" in advice(ModelRow("x", is_remote=True))
    assert "too large" in advice(ModelRow("x", path=Path("/x"), fit="no"))
    assert advice(ModelRow("x", path=Path("/x"), fit="ram")).endswith(" It was judged with 8k of context.")


def test_a_filter_wants_every_word() -> None:
    found = rows([], CARDS.values())
    assert {row.name for row in matching(found, "72B instr")} == {"qwen2-72b-instruct"}
    assert matching(found, "") == found


def test_a_loaded_model_needs_more_than_its_file() -> None:
    assert needed(GB, CARDS["qwen2-7b"].shape) > needed(GB, None) > GB


async def test_this_machine_is_looked_at() -> None:
    machine = await look_at_machine()
    assert machine is not None
    assert machine.ram > 0


@pytest.mark.parametrize("output", [b"", b"{}x", b"[1]", b'[{"name": "x"}]', b"null"])
def test_devices_that_make_no_sense_are_no_machine(output: bytes) -> None:
    assert read_machine(output) is None


async def test_a_running_server_is_asked_and_no_other_process(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> Machine:
        raise AssertionError("it would open every card once more")

    monkeypatch.setattr("tui.model_source.look_at_machine", never)
    connection = LocalServer(demo_gguf, "demo", ServeOptions(ctx=512, devices="none"))
    supervisor = Supervisor(demo_gguf, connection.options, "demo")
    async with Client(await supervisor.start()) as client, aclosing(client.attach()) as events:
        async for event in events:
            if isinstance(event, Ready):
                break
        (host,) = await connection.devices()
        assert (host["name"], host["kind"]) == ("CPU", "cpu")
        assert 0 < host["free"] < host["total"]
        assert all(row.fit != "unknown" for row in await source_for(connection).judged())
    assert await LocalServer(Path("/nowhere.gguf"), "x").devices() == []


def test_devices_that_are_not_to_be_used_hold_nothing() -> None:
    machine = Machine(16 << 30, (("CUDA0", 24 << 30), ("CUDA1", 8 << 30)))
    assert limited(machine, "CUDA1") == Machine(16 << 30, (("CUDA1", 8 << 30),))
    assert limited(machine, "none") == Machine(16 << 30)
    assert limited(machine, "cuda0:20, CPU:0.5") == Machine(1 << 29, (("CUDA0", 20 << 30),))
    assert limited(machine, "CUDA0:much") == machine


async def test_models_on_this_machine(demo_home: Path) -> None:
    share = Share("CUDA0", "A card", "gpu", 0, 24, True, GB, 0, 0, 0, 8 * GB)
    host = Share("CPU", "A processor", "cpu", 0, 0, False, 7 * GB, GB - 2, 2, 3, 16 * GB)
    plan = Plan("m", 24, 4096, "f16", 512, "layer", 4, (share, host), 1.0, 1.0, exact=True)
    options = ServeOptions(ctx=512, draft="small.gguf")
    source = source_for(LocalServer(Path("/m.gguf"), "m", options), Planned(plan, (("CUDA0", 2 * GB),)))
    assert isinstance(source, LocalModels)
    assert source._taken == {"CUDA0": 2 * GB, "CPU": GB}
    listed = await source.listed()
    assert listed[0].is_installed
    assert (await source.judged())[0].fit in {"gpu", "ram"}
    connection = source.connection(listed[0])
    assert isinstance(connection, LocalServer)
    assert connection.options == ServeOptions(ctx=512)
    assert connection.name == listed[0].name


async def test_a_file_elsewhere_that_was_open_can_be_opened_again(demo_home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine.gguf"
    elsewhere.write_bytes(b"x" * 1000)
    source = source_for(LocalServer(elsewhere, "mine"))
    rows = {row.name: row for row in await source.listed() if row.is_installed}
    assert list(rows)[-1] == "mine"
    assert (rows["mine"].size, rows["mine"].path) == (1000, elsewhere)
    other = source.connection(next(iter(rows.values())))
    again = source_for(other)
    names = [row.name for row in await again.listed() if row.is_installed]
    assert names == list(rows)
    back = again.connection(rows["mine"])
    assert isinstance(back, LocalServer)
    assert (back.model, back.name) == (elsewhere, "mine")


def test_a_servers_models_are_chosen_by_name() -> None:
    source = source_for(RemoteServer(Endpoint("http://x.example")))
    assert isinstance(source, RemoteModels)
    connection = source.connection(ModelRow("two", is_remote=True))
    assert isinstance(connection, RemoteServer)
    assert (connection.model, connection.address) == ("two", "http://x.example")


def test_a_model_that_was_opened_by_another_name_is_found_among_the_files() -> None:
    assert name_among_them(LocalServer(Path("/models/SmolLM2-Q4_K_M.gguf"), "demo"), "demo") == "SmolLM2-Q4_K_M"
    assert name_among_them(RemoteServer(Endpoint("http://x.example")), "theirs") == "theirs"
