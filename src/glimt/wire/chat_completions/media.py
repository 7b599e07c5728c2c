"""Images, sounds and documents in a chat message. Nothing is fetched and nothing is looked into."""

import base64
import binascii

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import FilePart, ImagePart
from glimt.wire.chat_completions.types import ImageUrl, InputAudio, InputFile, MediaUrl


def image_part(image: ImageUrl | str, path: str) -> ImagePart:
    """An image by its address; the content of a `data:` address is decoded."""
    url, detail = (image, None) if isinstance(image, str) else (image.url, image.detail)
    if not url.startswith("data:"):
        return ImagePart(url=url, detail=detail)
    data, media_type = _data_address(url, path)
    return ImagePart(data=data, media_type=media_type, detail=detail)


def sound_part(sound: InputAudio, path: str) -> FilePart:
    """Sound in base64."""
    return FilePart(
        kind="audio",
        data=_base64(sound.data, f"{path}.data"),
        media_type=f"audio/{sound.format}" if sound.format else None,
    )


def file_part(file: InputFile, path: str) -> FilePart:
    """A document in base64, with or without a `data:` address around it."""
    if file.file_id is not None:
        raise UnsupportedParameter(
            f"{path}.file_id: this server keeps no files; send file_data.", param=f"{path}.file_id"
        )
    if file.file_data is None:
        raise InvalidRequest(f"{path}.file_data is missing.", param=f"{path}.file_data")
    if file.file_data.startswith("data:"):
        data, media_type = _data_address(file.file_data, f"{path}.file_data")
    else:
        data, media_type = _base64(file.file_data, f"{path}.file_data"), None
    return FilePart(kind="file", data=data, media_type=media_type, name=file.filename)


def media_part(kind: str, media: MediaUrl) -> FilePart:
    """A video, sound or document by its address."""
    return FilePart(kind=kind, url=media.url)


def _data_address(address: str, path: str) -> tuple[bytes, str | None]:
    """https://www.rfc-editor.org/rfc/rfc2397, the base64 form alone."""
    head, comma, body = address.removeprefix("data:").partition(",")
    media_type, semicolon, encoding = head.rpartition(";")
    if not comma or not semicolon or encoding != "base64":
        raise InvalidRequest(
            f"{path}: a data address looks like data:image/png;base64,….", param=path
        )
    return _base64(body, path), media_type or None


def _base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{path} is not base64.", param=path) from None
