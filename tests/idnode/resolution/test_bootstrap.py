"""Where a walk starts: the reference's four files, read and written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.adapters import SimulatedAdapters, simulated_adapters
from idnode.resolution.bootstrap import (
    read_bootstrap,
    read_local_info,
    read_root_info,
    write_bootstrap,
    write_local_info,
    write_local_info_json,
    write_root_info,
)
from idnode.resolution.roots import load_roots
from idnode_protocol.errors import ProtocolError
from idnode_protocol.value import HandleValue
from tests.idnode.resolution.graphs import site_at

ONE, TWO = site_at("198.51.100.1"), site_at("198.51.100.2")
SITE, KEY = HandleValue(1, "HS_SITE", ONE.to_octets()), HandleValue(301, "HS_PUBKEY", b"\0\1\2")
SERVICE = HandleValue(2, "HS_SERV", b"0.SERV/1")
ROOT = b"0.NA/0.NA"
FOLDER = Path("/client")


def folder(files: dict[str, bytes]) -> SimulatedAdapters:
    adapters = simulated_adapters(1)
    adapters.disk.makedirs(FOLDER)
    for name, octets in files.items():
        adapters.disk.write_atomic(FOLDER / name, octets)
    return adapters


def test_a_root_info_as_the_reference_lays_it_out() -> None:
    """Size of what follows, count, values back to back."""
    octets = write_root_info([SITE, KEY])
    assert int.from_bytes(octets[:4], "big") == len(octets) - 4
    assert octets[4:8] == b"\0\0\0\2"
    assert octets[8:] == SITE.to_octets() + KEY.to_octets()
    assert read_root_info(octets) == (SITE, KEY)


def test_a_local_info_as_the_reference_lays_it_out() -> None:
    """Size, n, n times (m, m names, site)."""
    octets = write_local_info([(["0.NA/99.1", "0.NA/99.2"], ONE)])
    name = lambda text: len(text).to_bytes(4, "big") + text  # noqa: E731
    site = ONE.to_octets()
    inner = b"\0\0\0\1" + b"\0\0\0\2" + name(b"0.NA/99.1") + name(b"0.NA/99.2") + name(site)
    assert octets == len(inner).to_bytes(4, "big") + inner


def test_both_forms_of_local_info_say_the_same() -> None:
    pairs = [(["0.na/99.1", "0.NA/99.2"], ONE), (["0.NA/99.1"], TWO)]
    expected = {b"0.NA/99.1": (ONE, TWO), b"0.NA/99.2": (ONE,)}
    assert read_local_info(write_local_info(pairs)) == expected
    assert read_local_info(write_local_info_json(pairs)) == expected


def test_bootstrap_records_come_back_with_their_age() -> None:
    octets = write_bootstrap({ROOT: (SITE, KEY)}, 1_700_000_000_000)
    assert read_bootstrap(octets) == ({ROOT: (SITE, KEY)}, 1_700_000_000_000)


def test_the_root_is_found_through_service_handles() -> None:
    records = {ROOT: (SERVICE,), b"0.SERV/1": (HandleValue(1, "HS_SITE.6", TWO.to_octets()),)}
    roots = load_roots(folder({"bootstrap_handles": write_bootstrap(records, 5_000)}).disk, FOLDER)
    assert (roots.sites, roots.updated_at) == ((TWO,), 5.0)


def test_which_file_counts() -> None:
    bootstrap, root_info = (
        write_bootstrap({ROOT: (SITE,)}, 0),
        write_root_info([HandleValue(1, "HS_SITE", TWO.to_octets())]),
    )
    both = folder({"bootstrap_handles": bootstrap, "root_info": root_info})
    assert load_roots(both.disk, FOLDER).sites == (ONE,)
    assert load_roots(folder({"root_info": root_info}).disk, FOLDER).sites == (TWO,)
    local = write_local_info_json([(["0.NA/0.NA"], TWO), (["0.NA/99.1"], ONE)])
    replaced = load_roots(folder({"bootstrap_handles": bootstrap, "local_info.json": local}).disk, FOLDER)
    assert (replaced.sites, replaced.overrides[b"0.NA/99.1"]) == ((TWO,), (ONE,))
    caching = folder({"bootstrap_handles": bootstrap, "resolver_site": TWO.to_octets()})
    assert load_roots(caching.disk, FOLDER).caching == (TWO,)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "holds neither bootstrap_handles nor root_info"),
        ({"bootstrap_handles": b"{}"}, "handles is missing"),
        ({"bootstrap_handles": b'{"handles": {}}'}, "no root site"),
        ({"bootstrap_handles": write_bootstrap({ROOT: (KEY,)}, 0)}, "no root site"),
        ({"root_info": b"\0\0\0\5"}, "5 octets follow"),
        ({"root_info": write_root_info([SITE]) + b"x"}, "octets follow"),
        ({"root_info": write_root_info([SITE]), "local_info": b"\0\0\0\1\0"}, "4 octets|octets left|wanted"),
        ({"root_info": write_root_info([SITE]), "local_info.json": b'[{"nas": [1], "site": {}}]'}, "must be a string"),
    ],
)
def test_a_folder_that_names_no_root_says_what_is_wrong(files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        load_roots(folder(files).disk, FOLDER)


@given(st.binary(max_size=200))
def test_no_octets_make_the_readers_fall_over(octets: bytes) -> None:
    for read in (read_root_info, read_local_info, read_bootstrap):
        for given_octets in (octets, len(octets).to_bytes(4, "big") + octets):
            with suppress(ProtocolError):
                read(given_octets)
