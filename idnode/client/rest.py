"""The JSON REST interface of a node, as an administrator: proofs, errors, parsed answers (docs/protocol.md §7).

For what only that interface offers. Who proves himself by ``Authorization: Handle`` sends neither secret nor key, over
plain HTTP neither; the certificate of HTTPS is not what is trusted, so a secret is never sent by Basic.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote_from_bytes

import aiohttp

from idnode.adapters import Adapters, real_adapters
from idnode.client.errors import NoAnswer, refused
from idnode_protocol.authentication import PBKDF2_ANSWER, SecretKeyAnswer, secret_key_answer
from idnode_protocol.codes import ResponseCode
from idnode_registry.crypto import Signer

ANSWER_S: Final = 60.0
NONCE_OCTETS: Final = 16
_PARAMETER: Final = re.compile(r'([A-Za-z]+)="([^"]*)"')


class RestClient:
    """Calls a node as ``handle``/``index``, proven by ``secret`` (HS_SECKEY) or ``signer`` (HS_PUBKEY), or as nobody.

    ``async with`` opens and closes its connections.
    """

    def __init__(
        self,
        url: str,
        identity: tuple[bytes, int] | None = None,
        *,
        secret: bytes | None = None,
        signer: Signer | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._identity = identity
        self._secret, self._signer = secret, signer
        self._adapters = adapters or real_adapters()
        self._owns_adapters = adapters is None
        self._session: aiohttp.ClientSession | None = None
        self._session_id = ""

    async def __aenter__(self) -> RestClient:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        if self._owns_adapters:
            self._adapters.close()

    async def call(
        self,
        method: str,
        resource: str,
        name: bytes = b"",
        *,
        subject: str = "",
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The members of a successful answer; ``name`` is put behind the resource, percent-encoded.

        Raises :class:`NoAnswer` and :class:`Refused`.
        """
        path = resource + (f"/{quote_from_bytes(name, safe='/')}" if name else "")
        status, answer, challenge = await self._exchange(method, path, body, query or {})
        if status == 401 and self._identity is not None:
            header = await self._proof(challenge)
            status, answer, _ = await self._exchange(method, path, body, query or {}, header)
        code = answer.get("responseCode")
        if not isinstance(code, int):
            raise NoAnswer(f"{self._url}: there is no idnode behind this address (HTTP {status})")
        if code != ResponseCode.SUCCESS:
            raise refused(code, str(answer.get("message", "")), subject or path)
        return answer

    async def _exchange(
        self, method: str, path: str, body: Any, query: Mapping[str, str], header: str = ""
    ) -> tuple[int, dict[str, Any], str]:
        assert self._session is not None, "use it as `async with RestClient(...) as client`"
        headers = {"Authorization": header or self._known()} if header or self._session_id else {}
        try:
            async with self._session.request(
                method, self._url + path, params=query, json=body, headers=headers, ssl=False
            ) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as wrong:
            raise NoAnswer(f"{self._url}: {str(wrong) or 'no answer in time'}") from wrong
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        members = parsed if isinstance(parsed, dict) else {}
        return answer.status, members, answer.headers.get("WWW-Authenticate", "")

    def _known(self) -> str:
        """What names the session that was proven before."""
        return f'Handle sessionId="{self._session_id}"'

    async def _proof(self, challenge: str) -> str:
        """The header that answers a challenge; signed is nonce ++ cnonce."""
        given = dict(_PARAMETER.findall(challenge))
        if "sessionId" not in given or "nonce" not in given:
            raise NoAnswer(f"{self._url}: it asks who you are, but offers no session to prove it in")
        assert self._identity is not None
        handle, index = self._identity
        nonce, cnonce = base64.b64decode(given["nonce"]), self._adapters.rng.octets(NONCE_OCTETS)
        members = {
            "sessionId": given["sessionId"],
            "id": quote_from_bytes(b"%d:%b" % (index, handle), safe=""),
            "cnonce": _base64(cnonce),
            **await self._signature(nonce, cnonce),
        }
        self._session_id = given["sessionId"]
        return "Handle " + ", ".join(f'{name}="{value}"' for name, value in members.items())

    async def _signature(self, nonce: bytes, cnonce: bytes) -> dict[str, str]:
        work, signer, secret = self._adapters.run_blocking, self._signer, self._secret
        if signer is not None:
            signature = await work(signer.sign, nonce + cnonce, "sha256")
            return {"type": "HS_PUBKEY", "alg": "SHA256", "signature": _base64(signature)}
        assert secret is not None
        salt = self._adapters.rng.octets(NONCE_OCTETS)
        octets = await work(lambda: secret_key_answer(secret, nonce, cnonce, code=PBKDF2_ANSWER, salt=salt))
        answer = SecretKeyAnswer.from_octets(octets)
        return {
            "type": "HS_SECKEY",
            "alg": "PBKDF2-HMAC-SHA1",
            "signature": _base64(answer.mac),
            "salt": _base64(answer.salt),
            "iterations": str(answer.iterations),
            "length": str(answer.key_bits),
        }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
