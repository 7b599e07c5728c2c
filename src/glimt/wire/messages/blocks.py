"""Blocks that users and tools send: text, images, documents, results. Nothing is fetched."""

import base64
import binascii
from typing import TypeAlias

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import FilePart, ImagePart, TextPart, ToolResultPart
from glimt.wire.messages.types import Block, Source

PDF = "application/pdf"
Plain: TypeAlias = TextPart | ImagePart | FilePart


def tool_result(block: Block, path: str, warnings: list[str]) -> ToolResultPart:
    """What a tool answered; a string, blocks, or nothing."""
    content = block.content
    call_id = required(block.tool_use_id, path, "tool_use_id")
    failed = block.is_error or False
    if isinstance(content, str):
        return ToolResultPart(call_id=call_id, content=(TextPart(content),), is_error=failed)
    parts: list[Plain] = []
    for index, item in enumerate(content or ()):
        parts += plain_parts(item, f"{path}.content[{index}]", warnings)
    return ToolResultPart(call_id=call_id, content=tuple(parts), is_error=failed)


def plain_parts(block: Block, path: str, warnings: list[str]) -> list[Plain]:
    """A block that holds content; documents and search results may be several parts.

    Raises:
        InvalidRequest: It is malformed, or of a kind that has no place here.
        UnsupportedParameter: It names a file that was uploaded elsewhere.
    """
    if block.citations and block.citations != {"enabled": False}:
        warnings.append(f"{path}.citations was not honoured: answers cite no sources")
    match block.type:
        case "text":
            return [TextPart(required(block.text, path, "text"))]
        case "image":
            return [_image(_source(block, path), f"{path}.source")]
        case "document":
            return _document(block, path, warnings)
        case "search_result":
            return _search_result(block, path, warnings)
        case "tool_reference":
            # The model is shown every tool at once; the search for it still has to have an answer.
            name = required(block.tool_name, path, "tool_name")
            return [TextPart(f"The tool {name} is available.")]
        case _:
            raise InvalidRequest(
                f"{path}: a block of type {block.type!r} has no place here.", param=f"{path}.type"
            )


def required(value: str | None, path: str, name: str) -> str:
    """Raises InvalidRequest when there is none; `name` is that of the field below `path`."""
    if value is None:
        raise InvalidRequest(f"{path}.{name} is missing.", param=f"{path}.{name}")
    return value


def _source(block: Block, path: str) -> Source:
    if not isinstance(block.source, Source):
        raise InvalidRequest(f"{path}.source must be an object.", param=f"{path}.source")
    if block.source.type == "file":
        raise UnsupportedParameter(
            f"{path}.source: this server keeps no files; send the content as base64.",
            param=f"{path}.source.file_id",
        )
    return block.source


def _image(source: Source, path: str) -> ImagePart:
    match source.type:
        case "base64":
            return ImagePart(data=_base64(source, path), media_type=source.media_type)
        case "url":
            return ImagePart(url=required(source.url, path, "url"))
        case _:
            raise InvalidRequest(
                f"{path}.type must be base64 or url, not {source.type!r}.", param=f"{path}.type"
            )


def _document(block: Block, path: str, warnings: list[str]) -> list[Plain]:
    source, path = _source(block, path), f"{path}.source"
    about = [TextPart(f"{block.context}\n\n")] if block.context else []
    title = [TextPart(f"{block.title}\n\n")] if block.title else []
    match source.type:
        case "base64":
            kind, data = source.media_type, _base64(source, path)
            return [*about, FilePart(kind="file", data=data, media_type=kind, name=block.title)]
        case "url":
            url = required(source.url, path, "url")
            return [*about, FilePart(kind="file", url=url, media_type=PDF, name=block.title)]
        case "text":
            return [*title, *about, TextPart(required(source.data, path, "data"))]
        case "content":
            content = source.content
            if isinstance(content, str):
                return [*title, *about, TextPart(content)]
            parts: list[Plain] = [*title, *about]
            for index, item in enumerate(content or ()):
                parts.extend(plain_parts(item, f"{path}.content[{index}]", warnings))
            return parts
        case _:
            raise InvalidRequest(
                f"{path}.type must be base64, url, text or content, not {source.type!r}.",
                param=f"{path}.type",
            )


def _search_result(block: Block, path: str, warnings: list[str]) -> list[Plain]:
    if not isinstance(block.source, str) or not isinstance(block.content, list):
        raise InvalidRequest(
            f"{path}: a search result has a source, a title and content of blocks.", param=path
        )
    title = required(block.title, path, "title")
    parts: list[Plain] = [TextPart(f"{title}\n{block.source}\n\n")]
    for index, item in enumerate(block.content):
        parts.extend(plain_parts(item, f"{path}.content[{index}]", warnings))
    return parts


def _base64(source: Source, path: str) -> bytes:
    try:
        return base64.b64decode(required(source.data, path, "data"), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{path}.data is not base64.", param=f"{path}.data") from None
