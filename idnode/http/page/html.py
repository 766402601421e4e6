"""The page itself: one record, or why there is none, in the reader's language. No script, no style from afar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from idnode.http.page.target import safe_url
from idnode_protocol.codes import ResponseCode, response_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.value import HandleValue

TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "title": "Identifier resolution",
        "ask": "Identifier",
        "go": "Resolve",
        "index": "Index",
        "type": "Type",
        "data": "Data",
        "ttl": "TTL (s)",
        "time": "Last change (UTC)",
        "json": "as JSON",
        "stale": "The authority cannot be reached; this is an older answer.",
        "alias": "reached through the alias",
    },
    "zh": {
        "title": "标识解析",
        "ask": "标识",
        "go": "解析",
        "index": "索引",
        "type": "类型",
        "data": "数据",
        "ttl": "TTL（秒）",
        "time": "最近修改（UTC）",
        "json": "JSON 格式",
        "stale": "无法连接权威节点，以下为较早的解析结果。",
        "alias": "经由别名",
    },
}
PHRASES: Final[dict[str, dict[int, str]]] = {
    "en": {},
    "zh": {
        ResponseCode.ERROR: "解析出错",
        ResponseCode.SERVER_BUSY: "服务器繁忙，请稍后再试",
        ResponseCode.HANDLE_NOT_FOUND: "标识不存在",
        ResponseCode.INVALID_HANDLE: "标识格式不正确",
        ResponseCode.VALUES_NOT_FOUND: "没有可公开的值",
        ResponseCode.SERVER_NOT_RESPONSIBLE: "本节点不负责该标识",
    },
}
"""Response codes in words, where they differ from the protocol's own."""
STYLE: Final = """
body{font:16px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei","PingFang SC",sans-serif;margin:2rem auto;
max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}input{font:inherit;padding:.3rem .5rem;flex:1 1 12rem;
min-width:0;max-width:30rem}button{font:inherit;padding:.3rem 1rem}h1{font-size:1.3rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin-top:1rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}th{white-space:nowrap}
td{overflow-wrap:anywhere}td.type{min-width:8rem}
td.index,td.ttl,td.time{white-space:nowrap;font-variant-numeric:tabular-nums}
td.data{white-space:pre-wrap;font-family:ui-monospace,monospace;font-size:.9rem;min-width:16rem}
.note{background:#fff3cd;padding:.5rem .8rem}.wrong{background:#fdecea;padding:.5rem .8rem}
@media(max-width:48rem){thead{display:none}table,tbody{display:block}tr{display:flex;flex-wrap:wrap;gap:.1rem .8rem;
padding:.5rem 0;border-bottom:1px solid #d8dee4}td{border:0;padding:0}td.data{flex-basis:100%;order:1;min-width:0}
td.type{font-weight:bold;min-width:0}td.ttl,td.time{order:2;font-size:.85rem;opacity:.75}td.ttl::before{content:"TTL "}}
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}input,button{background:#22272e;color:inherit}
.note{background:#4d3f10}.wrong{background:#5a2320}th,td,tr{border-color:#3a4047}a{color:#7db7ff}}
""".strip()
_COLUMNS: Final = ("index", "type", "data", "ttl", "time")


def language_of(accept: str) -> str:
    """``zh`` when a browser names Chinese before English, else ``en``."""
    for part in accept.lower().split(","):
        tag = part.partition(";")[0].strip()[:2]
        if tag in TEXTS:
            return tag
    return "en"


def _data_cell(value: HandleValue) -> str:
    form = value_to_json(value)["data"]
    assert isinstance(form, dict)
    inner = form.get("value")
    text = inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
    url = safe_url(text) if value.has_type("URL") else None
    shown = escape(text)
    return f'<a href="{escape(url)}" rel="noreferrer">{shown}</a>' if url else shown


def _row(value: HandleValue) -> str:
    form = value_to_json(value)
    changed = str(form["timestamp"]).replace("T", " ").removesuffix("Z")
    cells = (str(value.index), escape(value.type), _data_cell(value), str(form["ttl"]), escape(changed))
    named = zip(_COLUMNS, cells, strict=True)
    return "<tr>" + "".join(f'<td class="{name}">{cell}</td>' for name, cell in named) + "</tr>"


def _document(texts: dict[str, str], language: str, handle: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(handle or texts['title'])}</title><style>{STYLE}</style></head><body>"
        f'<form action="/" method="get"><label for="handle">{texts["ask"]}</label>'
        f'<input id="handle" name="handle" value="{escape(handle)}"{"" if handle else " autofocus"}>'
        f"<button>{texts['go']}</button></form>{content}</body></html>"
    )


def record_page(
    language: str, handle: str, values: Sequence[HandleValue], *, aliases: Sequence[str], is_stale: bool
) -> str:
    """The values of a record as a table."""
    texts = TEXTS[language]
    notes = f'<p class="note">{texts["stale"]}</p>' if is_stale else ""
    if aliases:
        notes += f'<p class="note">{texts["alias"]} {escape(", ".join(aliases))}</p>'
    head = "".join(f"<th>{texts[name]}</th>" for name in _COLUMNS)
    rows = "".join(map(_row, values))
    link = f'<p><a href="/api/handles/{quote(handle, safe="/")}?pretty">{texts["json"]}</a></p>'
    content = (
        f"<h1>{escape(handle)}</h1>{notes}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{link}"
    )
    return _document(texts, language, handle, content)


def problem_page(language: str, handle: str, text: str, code: int | None = None) -> str:
    """Why there is no record to show: the response code in the reader's words, and what the server says."""
    if code is not None:
        phrase = PHRASES[language].get(code, response_text(code))
        text = f"{phrase}: {text}" if text else phrase
    return _document(TEXTS[language], language, handle, f'<h1>{escape(handle)}</h1><p class="wrong">{escape(text)}</p>')


def front_page(language: str) -> str:
    """The field to type an identifier into."""
    return _document(TEXTS[language], language, "", "")
