"""What pyhandle's own tests mean but cannot show, for they no longer fit pyhandle: the same flows, called as it wants.

Run by ``pyhandle_suite.py`` in its child process; the values file is the one pyhandle's tests read.
"""

from __future__ import annotations

import json
import unittest
from pathlib import Path

import pyhandle
import pytest
from pyhandle.client.resthandleclient import RESTHandleClient
from pyhandle.clientcredentials import PIDClientCredentials
from pyhandle.handleexceptions import (
    GenericHandleError,
    HandleAlreadyExistsException,
    HandleAuthenticationError,
    HandleNotFoundException,
)

_RESOURCES = Path(pyhandle.__file__).parent / "tests" / "resources"
VALUES = json.loads((_RESOURCES / "testvalues_for_integration_tests_IGNORE.json").read_text())
URL, USER, NEW = (str(VALUES[name]) for name in ("handle_server_url_write", "user", "handle_to_be_created"))
PREFIX = NEW.partition("/")[0]


class PyhandleFlows(unittest.TestCase):
    """One client with the right to write."""

    def setUp(self) -> None:
        self.client = RESTHandleClient.instantiate_with_username_and_password(
            URL, USER, VALUES["password"], handleowner=USER
        )

    def credentials(self, **changed: str) -> PIDClientCredentials:
        named = {"username": USER, "password": VALUES["password"], "handleowner": USER, **changed}
        return PIDClientCredentials(client="rest", handle_server_url=URL, **named)

    def test_register_read_and_delete(self) -> None:
        made = self.client.register_handle(NEW, location="http://foo.bar", checksum="123456", FOO="foo", BAR="bar")
        assert made == NEW
        record = self.client.retrieve_handle_record(NEW)
        wanted = {"URL": "http://foo.bar", "CHECKSUM": "123456", "FOO": "foo", "BAR": "bar"}
        assert {name: record[name] for name in wanted} == wanted
        assert self.client.delete_handle(NEW) == NEW
        assert self.client.retrieve_handle_record_json(NEW) is None

    def test_generate_and_register(self) -> None:
        made = self.client.generate_and_register_handle(prefix=PREFIX, location="http://foo.bar", checksum="1")
        assert made.startswith(f"{PREFIX}/")
        assert self.client.get_value_from_handle(made, "URL") == "http://foo.bar"
        assert self.client.delete_handle(made) == made

    def test_duplicate_is_found_before_it_is_sent(self) -> None:
        self.client.register_handle(f"{NEW}-twice", location="http://foo.bar")
        with pytest.raises(HandleAlreadyExistsException):
            self.client.register_handle(f"{NEW}-twice", location="http://foo.foo")
        self.client.delete_handle(f"{NEW}-twice")

    def test_delete_of_nothing(self) -> None:
        with pytest.raises(HandleNotFoundException):
            self.client.delete_handle(f"{PREFIX}/never-there")

    def test_credentials_object(self) -> None:
        client = RESTHandleClient.instantiate_with_credentials(self.credentials())
        client.register_handle(f"{NEW}-by-credentials", location="http://foo.bar")
        assert client.delete_handle(f"{NEW}-by-credentials") == f"{NEW}-by-credentials"

    def test_credentials_of_a_user_who_is_not_there(self) -> None:
        with pytest.raises(HandleNotFoundException):
            RESTHandleClient.instantiate_with_credentials(self.credentials(username=f"100:{PREFIX}/never-there"))

    def test_credentials_with_a_path_where_no_api_is(self) -> None:
        with pytest.raises(GenericHandleError):
            RESTHandleClient.instantiate_with_credentials(self.credentials(REST_API_url_extension="foo/foo/foo/"))

    def test_wrong_secret(self) -> None:
        client = RESTHandleClient.instantiate_with_username_and_password(URL, USER, "wrong", handleowner=USER)
        with pytest.raises(HandleAuthenticationError):
            client.delete_handle(VALUES["handle_for_read_tests"])
