"""For readers: the guides as Markdown, their list for language models, a page for people.

The texts are those of `docs/`, which a wheel has inside the package. The list has the form of
https://llmstxt.org. The page renders `/openapi.json` and the guides in the browser; it loads
nothing from anywhere else, and its policy forbids that too.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

import glimt
from glimt.api.described import Described
from glimt.api.http import TEXT, Headers, header, send_document
from glimt.api.openapi import describe
from glimt.core.errors import InternalError, NotFound
from glimt.wire.chat_completions.description import ERRORS
from glimt.wire.operation import Operation, Parameter

SECTIONS: Final = {"guides": "Guides", "concepts": "Concepts", "reference": "Reference"}
"""The folders of `docs/` that are served, and what they are called."""
FIRST: Final = ("quickstart.md", "serving.md", "chat.md")
"""Where to begin; the others come in the order of their names."""
MARKDOWN: Final = b"text/markdown; charset=utf-8"
_FILES: Final = {
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "schema.js": b"text/javascript; charset=utf-8",
    "markdown.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_PAGE: Final = Path(__file__).parent / "page"
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_ETAG_BYTES: Final = 12
_SENTENCE: Final = re.compile(r"^(.+?[.!?])(?:\s|$)", re.DOTALL)
_FENCE: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_PROSE: Final = re.compile(r"[^\s#|<*-]")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """One of the texts. `summary` is the first sentence behind the title."""

    section: str
    name: str
    title: str
    summary: str
    markdown: str

    @property
    def path(self) -> str:
        """Where it is served."""
        return f"/docs/{self.section}/{self.name}"


class Library:
    """All texts, read when the first of them is asked for."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or docs_folder()

    @functools.cached_property
    def texts(self) -> dict[str, Text]:
        """By the paths at which they are served, in the order of `SECTIONS`."""
        found = (
            _text(section, path)
            for section in SECTIONS
            for path in sorted((self._folder / section).glob("*.md"), key=_place)
        )
        return {text.path: text for text in found}

    def list_for_models(self, address: str) -> str:
        """`llms.txt`, with the address that it was asked for at."""
        sections: list[str] = []
        for section, title in SECTIONS.items():
            lines = [
                f"- [{text.title}]({address}{text.path}): {text.summary}"
                for text in self.texts.values()
                if text.section == section
            ]
            if section == "reference":
                lines.append(f"- [OpenAPI]({address}/openapi.json): every route, machine-readable")
            sections.append("\n".join([f"## {title}", "", *lines]))
        template = (_PAGE / "llms.txt").read_text(encoding="utf-8")
        return template.format(address=address, sections="\n\n".join(sections))


def _place(path: Path) -> tuple[int, str]:
    return (FIRST.index(path.name) if path.name in FIRST else len(FIRST), path.name)


def docs_folder() -> Path:
    """In an installed package beside its modules, in a checkout at its root."""
    package = Path(glimt.__file__).parent
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent.parent / "docs"


def _text(section: str, path: Path) -> Text:
    markdown = path.read_text(encoding="utf-8")
    title, _, rest = markdown.partition("\n")
    blocks = _FENCE.sub("", rest).split("\n\n")
    prose = next((block for block in map(str.strip, blocks) if _PROSE.match(block)), "")
    words = _LINK.sub(r"\1", " ".join(prose.split()))
    sentence = _SENTENCE.match(words)
    return Text(
        section=section,
        name=path.name,
        title=title.removeprefix("# ").strip(),
        summary=(sentence[1] if sentence else words).rstrip(":."),
        markdown=markdown,
    )


class Resource:
    """Bytes that do not change while the server runs, with a mark by which clients know them."""

    def __init__(self, body: bytes, content_type: bytes, headers: Headers | None = None) -> None:
        self.etag = b'"%b"' % hashlib.blake2b(body, digest_size=_ETAG_BYTES).hexdigest().encode()
        self._body = body
        self._content_type = content_type
        self._headers: Headers = [
            (b"etag", self.etag),
            (b"cache-control", b"no-cache"),
            *_SAFE,
            *(headers or []),
        ]

    async def send(self, scope: Scope, send: Send) -> None:
        """The bytes, or 304 where the client has them."""
        known = (header(scope, b"if-none-match") or b"").replace(b"W/", b"").split(b",")
        if self.etag in (mark.strip() for mark in known):
            start = {"type": "http.response.start", "status": 304, "headers": [*self._headers]}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        await send_document(
            send, 200, self._body, content_type=self._content_type, headers=self._headers
        )


class StaticEndpoint:
    """One resource, made when it is first asked for."""

    def __init__(self, make: Callable[[], Resource]) -> None:
        self._make = functools.cache(make)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._make().send(scope, send)


class NamedEndpoint:
    """One of several, by its path; made when the first of them is asked for."""

    def __init__(self, make: Callable[[], dict[str, Resource]]) -> None:
        self._make = functools.cache(make)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        resource = self._make().get(scope["path"])
        if resource is None:
            raise NotFound("There is no such page here; /llms.txt lists those that there are.")
        await resource.send(scope, send)


class ListEndpoint:
    """`/llms.txt`."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        host = (header(scope, b"host") or b"127.0.0.1:4747").decode("latin-1")
        text = self._library.list_for_models(f"{scope['scheme']}://{host}")
        await send_document(send, 200, text.encode(), content_type=TEXT, headers=_SAFE)


def routes(described: Sequence[Described], *, has_keys: bool) -> list[Described]:
    """The routes for readers; `described` are all others."""
    library = Library()
    own: list[Described] = []

    def document() -> Resource:
        found = describe([*described, *own], has_keys=has_keys)
        return Resource(msgspec.json.encode(found), b"application/json")

    def page() -> Resource:
        policy = [(b"content-security-policy", POLICY)]
        html = (_PAGE / "index.html").read_bytes()
        return Resource(html, b"text/html; charset=utf-8", policy)

    def files() -> dict[str, Resource]:
        return {
            f"/docs/page/{name}": Resource((_PAGE / name).read_bytes(), kind)
            for name, kind in _FILES.items()
        }

    def texts() -> dict[str, Resource]:
        found = library.texts.items()
        return {path: Resource(text.markdown.encode(), MARKDOWN) for path, text in found}

    own += [
        Described("/openapi.json", StaticEndpoint(document), _DOCUMENT),
        Described("/docs", StaticEndpoint(page), _HTML),
        Described("/docs/page/{name}", NamedEndpoint(files), _FILE),
        Described("/docs/{section}/{name}", NamedEndpoint(texts), _MARKDOWN),
        Described("/llms.txt", ListEndpoint(library), _LIST),
    ]
    return own


_GROUP: Final = "Server"
_MISSING: Final = (NotFound, InternalError)
_FILE_NAME: Final = Parameter(
    name="name", place="path", description="A file of it.", required=True, example="page.js"
)
_KNOWN: Final = Parameter(
    name="if-none-match",
    place="header",
    description="The `etag` of what the client has already; 304 if it is still the same.",
)
_DOCUMENT: Final = Operation(
    group=_GROUP,
    summary="This description",
    parameters=(_KNOWN,),
    answer=dict[str, Any],
    error=ERRORS,
    is_open=True,
)
_HTML: Final = Operation(
    group=_GROUP,
    summary="This description to look at",
    parameters=(_KNOWN,),
    media_type="text/html",
    error=ERRORS,
    is_open=True,
)
_FILE: Final = Operation(
    group=_GROUP,
    summary="What the page is made of",
    parameters=(_FILE_NAME, _KNOWN),
    media_type="*/*",
    error=ERRORS,
    errors=_MISSING,
    is_open=True,
)
_MARKDOWN: Final = Operation(
    group=_GROUP,
    summary="A guide, as Markdown",
    parameters=(
        Parameter(
            name="section",
            place="path",
            description=f"One of {', '.join(SECTIONS)}.",
            required=True,
            example="guides",
        ),
        Parameter(
            name="name",
            place="path",
            description="The text's file name; `/llms.txt` lists them.",
            required=True,
            example="quickstart.md",
        ),
        _KNOWN,
    ),
    media_type="text/markdown",
    error=ERRORS,
    errors=_MISSING,
    is_open=True,
)
_LIST: Final = Operation(
    group=_GROUP,
    summary="What there is to read, for language models",
    description="In the form of https://llmstxt.org.",
    media_type="text/plain",
    error=ERRORS,
    is_open=True,
)
