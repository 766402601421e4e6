"""The page itself: one record, or why there is none, in the reader's language. No script, no style from afar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from idnode.http.page.target import safe_url
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
STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem;overflow-wrap:anywhere}input{font:inherit;padding:.3rem .5rem;width:24rem;max-width:70%}
button{font:inherit;padding:.3rem 1rem}table{border-collapse:collapse;width:100%;margin-top:1rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
td.data{overflow-wrap:anywhere;font-family:ui-monospace,monospace;font-size:.9rem}
.note{background:#fff3cd;padding:.5rem .8rem}
.wrong{background:#fdecea;padding:.5rem .8rem}@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}
.note{background:#4d3f10}.wrong{background:#5a2320}th,td{border-color:#3a4047}a{color:#7db7ff}}
""".strip()


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
    cells = [str(value.index), escape(value.type), _data_cell(value), str(form["ttl"]), escape(str(form["timestamp"]))]
    classes = ["", "", ' class="data"', "", ""]
    return "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, cells, strict=True)) + "</tr>"


def _document(texts: dict[str, str], language: str, handle: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(handle or texts['title'])}</title><style>{STYLE}</style></head><body>"
        f'<form action="/" method="get"><label>{texts["ask"]} <input name="handle" value="{escape(handle)}" autofocus>'
        f"</label> <button>{texts['go']}</button></form>{content}</body></html>"
    )


def record_page(
    language: str, handle: str, values: Sequence[HandleValue], *, aliases: Sequence[str], is_stale: bool
) -> str:
    """The values of a record as a table."""
    texts = TEXTS[language]
    notes = f'<p class="note">{texts["stale"]}</p>' if is_stale else ""
    if aliases:
        notes += f'<p class="note">{texts["alias"]} {escape(", ".join(aliases))}</p>'
    head = "".join(f"<th>{texts[name]}</th>" for name in ("index", "type", "data", "ttl", "time"))
    rows = "".join(map(_row, values))
    link = f'<p><a href="/api/handles/{quote(handle, safe="/")}?pretty">{texts["json"]}</a></p>'
    content = f"<h1>{escape(handle)}</h1>{notes}<table><tr>{head}</tr>{rows}</table>{link}"
    return _document(texts, language, handle, content)


def problem_page(language: str, handle: str, text: str) -> str:
    """Why there is no record to show."""
    return _document(TEXTS[language], language, handle, f'<h1>{escape(handle)}</h1><p class="wrong">{escape(text)}</p>')


def front_page(language: str) -> str:
    """The field to type an identifier into."""
    return _document(TEXTS[language], language, "", "")
