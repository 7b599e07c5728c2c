"""What a reader finds: the texts as Markdown, their list, and a page that needs nobody else."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urljoin

import pytest

from glimt.api.documents import SECTIONS, Library, docs_folder
from glimt.providers.scripted import ScriptedProvider, say

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "src" / "glimt" / "api" / "page"
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture
def url(serve) -> str:
    return serve(ScriptedProvider(say("a"))).url


def test_every_text_is_served_and_listed(url, http):
    """Each guide, concept and reference is at the address that the list names, as it is in git."""
    listed = dict.fromkeys(
        re.findall(rf"\]\({re.escape(url)}(/docs/[^)]+\.md)\): .", http.get(url + "/llms.txt").text)
    )
    written = {
        f"/docs/{path.parent.name}/{path.name}": path
        for section in SECTIONS
        for path in (ROOT / "docs" / section).glob("*.md")
    }
    assert listed.keys() == written.keys()
    for path, source in written.items():
        answer = http.get(url + path)
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        assert answer.text == source.read_text(encoding="utf-8")


def test_the_list_has_the_form_that_is_known(url, http):
    """A title, a quoted summary, and sections of links that say what is behind them."""
    text = http.get(url + "/llms.txt").text
    title, _, summary, *_ = text.splitlines()
    assert title == "# Glimt"
    assert summary.startswith("> ")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == [*SECTIONS.values(), "Optional"]
    entries = [line for line in text.splitlines() if line.startswith("-")]
    assert all(re.fullmatch(r"- \[[^\]]+\]\(http://\S+\): \S.*", entry) for entry in entries)
    for address in re.findall(r"\]\((\S+)\)", text):
        assert http.get(address).status_code == 200


def test_links_of_texts_hold(url, http):
    """Every link of a text that names no other server is answered by this one, heading and all."""
    for text in Library().texts.values():
        base = f"{url}{text.path}"
        for target in LINK.findall(re.sub(r"```.*?```", "", text.markdown, flags=re.DOTALL)):
            address, _, heading = urljoin(base, target).partition("#")
            if not address.startswith(url):
                continue
            answer = http.get(address)
            assert answer.status_code == 200, f"{text.path}: {target}"
            if heading:
                assert heading in anchors(answer.text), f"{text.path}: {target}"


def anchors(markdown: str) -> set[str]:
    """The names of a text's headings, made as `page/markdown.js` makes them."""
    titles = re.findall(r"^#{1,4} (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


def test_every_format_is_named(url, http):
    """The list for language models and the landing page leave out no address that answers."""
    answering = {
        "/v1/chat/completions": "OpenAI",
        "/v1/responses": "OpenAI",
        "/v1/messages": "Anthropic",
        "/v1/completions": "OpenAI",
    }
    listed, landing = http.get(url + "/llms.txt").text, http.get(url + "/").text
    for path, vendor in answering.items():
        assert path in listed
        assert path in landing
        assert vendor in listed


def test_summaries_fit_a_line():
    """What the list says of a text is a sentence, and no account of what was counted."""
    for text in Library().texts.values():
        assert 10 < len(text.summary) <= 180, f"{text.path}: {text.summary}"


@pytest.mark.parametrize(
    "path",
    [
        "/docs/guides/nothing.md",
        "/docs/log/x.md",
        "/docs/page/llms.txt",
        "/docs/guides/..%2F..%2Fpyproject.toml",
        "/docs/x",
    ],
)
def test_nothing_else_is_served(url, http, path):
    """Names that are not on the list lead nowhere, wherever they point."""
    answer = http.get(url + path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_the_page_needs_nobody_else(url, http):
    """All that the page loads is here, nothing is inline, and its policy allows no more."""
    answer = http.get(url + "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
    assert {"/docs/page/page.css", "/docs/page/page.js"} <= set(loaded)
    assert "<style" not in answer.text
    assert re.search(r"<script(?! type=\"module\" src=)|\son\w+=|style=", answer.text) is None
    for script in PAGE.glob("*.js"):
        imported = re.findall(r'from "\./(.+?)"', script.read_text())
        loaded += [f"/docs/page/{name}" for name in imported]
    for path in loaded:
        found = http.get(url + path)
        assert found.status_code == 200, path
        assert found.headers["x-content-type-options"] == "nosniff"


def test_nothing_of_a_text_is_read_as_html():
    """The page writes text nodes alone; there is no way for a description to become a script."""
    for script in PAGE.glob("*.js"):
        source = script.read_text()
        assert (
            re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(",
                source,
            )
            is None
        )
        assert re.search(r"https?://[\w.]", source) is None, f"{script.name} names another server"


def test_a_wheel_has_the_texts():
    """What is served in a checkout is packed beside the modules, where it is looked for first."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]
    assert built["wheel"]["force-include"] == {
        f"docs/{section}": f"glimt/docs/{section}" for section in SECTIONS
    }
    assert {f"docs/{section}" for section in SECTIONS} <= set(built["sdist"]["include"])
    assert docs_folder() == ROOT / "docs"
