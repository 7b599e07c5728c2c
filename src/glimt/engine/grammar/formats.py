"""What the values of JSON Schema's `format` look like, as patterns of whole strings.

Each admits a subset of its specification that every validator accepts: years from 0001, no leap
seconds, only existing days, host names without punycode, no comments in addresses.
https://json-schema.org/draft/2020-12/json-schema-validation#name-defined-formats
"""

from functools import cache

from glimt.engine.grammar.pattern import Pattern, parse

_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_LABEL = "[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){0,2}"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,2}}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"
_N = "[0-9]{1,6}"
_CLOCK = f"T(?:{_N}H(?:{_N}M(?:{_N}S)?)?|{_N}M(?:{_N}S)?|{_N}S)"
_DURATION = f"P(?:(?:{_N}Y(?:{_N}M(?:{_N}D)?)?|{_N}M(?:{_N}D)?|{_N}D)(?:{_CLOCK})?|{_CLOCK}|{_N}W)"
_PATH = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_QUERY = "(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*"
_TAIL = rf"(?:\?{_QUERY})?(?:#{_QUERY})?"
_URI = (
    rf"[A-Za-z][A-Za-z0-9+.-]{{0,15}}:(?://{_HOST}(?::[0-9]{{1,4}})?(?:/{_PATH}*)*|{_PATH}+){_TAIL}"
)
_POINTER = "(?:/(?:[^~/]|~[01])*)*"


def _ipv6() -> str:
    """Eight groups, or fewer around one `::`."""
    group = "[0-9A-Fa-f]{1,4}"
    options = [f"{group}(?::{group}){{7}}"]
    for before in range(8):
        left = f"{group}(?::{group}){{{before - 1}}}" if before else ""
        most = 7 - before
        right = f"(?:{group}(?::{group}){{0,{most - 1}}})?" if most else ""
        options.append(f"{left}::{right}")
    return "(?:" + "|".join(options) + ")"


_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": _DURATION,
    "email": rf"{_ATOM}(?:\.{_ATOM}){{0,2}}@{_HOST}",
    "idn-email": rf"{_ATOM}(?:\.{_ATOM}){{0,2}}@{_HOST}",
    "hostname": _HOST,
    "idn-hostname": _HOST,
    "ipv4": _IPV4,
    "ipv6": _ipv6(),
    "uuid": "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "uri": _URI,
    "iri": _URI,
    "uri-reference": rf"(?:{_URI}|/?{_PATH}+(?:/{_PATH}*)*{_TAIL})",
    "iri-reference": rf"(?:{_URI}|/?{_PATH}+(?:/{_PATH}*)*{_TAIL})",
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(?:0|[1-9][0-9]{{0,5}})(?:#|{_POINTER})",
}

FORMATS = frozenset(_FORMATS)
"""The formats that can be enforced."""

IGNORED = frozenset({"int32", "int64", "float", "double", "decimal", "password", "byte", "binary"})
"""Formats of OpenAPI that say something about storage, nothing about the JSON value."""


@cache
def format_pattern(name: str) -> Pattern:
    """The pattern of one of `FORMATS`."""
    return parse(_FORMATS[name], whole=True)
