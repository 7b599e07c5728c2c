"""Configuration: one TOML file, environment variables over it, command-line values over both.

Knows the file (`$GLIMT_HOME/config.toml`), the variables (`GLIMT_HOST`, `GLIMT_PORT`, `GLIMT_HOME`,
`GLIMT_API_KEY`, and `GLIMT__SECTION__KEY` for every key) and how to complain: an unknown key is
refused with its path. The structs of the sections belong to the parts that they configure.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from glimt.api.settings import HttpSettings
from glimt.catalog.settings import CatalogSettings, ProviderSettings
from glimt.core.errors import InvalidRequest
from glimt.data.settings import DataSettings
from glimt.engine.settings import EngineSettings
from glimt.gateway.attempt import AttemptSettings
from glimt.gateway.naming import Naming, Preset, Rule
from glimt.gateway.policy import Policy

DEFAULT_PORT: Final = 4747
FILE_NAME: Final = "config.toml"
MAX_DAYS: Final = 36_500

_SHORTCUTS: Final = {"GLIMT_HOST": "host", "GLIMT_PORT": "port"}
_PREFIX: Final = "GLIMT__"
_TYPES: Final = {
    "`int`": "an integer",
    "`float`": "a number",
    "`bool`": "true or false",
    "`str`": "text",
    "`array`": "a list",
    "`object`": "a section",
    " | `null`": "",
    " | null`": "`",
}
"""msgspec's words, and ours."""


class ConfigError(Exception):
    """The configuration cannot be used; the message says where and what to change."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged on stderr, and how.

    Attributes:
        level: The least important level that is shown.
        format: "auto" is for people on a terminal, and JSON lines elsewhere.
        access: A line for each request.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    access: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured.

    Attributes:
        host: Where to listen. Any address but this machine's own asks for an API key.
        port: 0 takes a free one.
        api_keys: Who may ask; empty lets everybody who reaches the address.
        processes: How many processes take requests; they share one engine.
        drain_s: How long answers under way may take to finish once the server is told to stop.
        providers: Other places that serve models, each under `[providers.NAME]`.
        presets: Bundles of model, wishes and defaults, each under `[presets.NAME]`; a request asks
            for "@preset/NAME".
        rules: What becomes of models' names, each under `[[rules]]`; the first that fits is taken.
        home: The folder for configuration, downloaded models and data; not a key of the file.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_keys: tuple[str, ...] = ()
    processes: int = 1
    drain_s: float = 30.0
    engine: EngineSettings = EngineSettings()
    http: HttpSettings = HttpSettings()
    data: DataSettings = DataSettings()
    log: LogSettings = LogSettings()
    catalog: CatalogSettings = CatalogSettings()
    routing: Policy = Policy()
    attempts: AttemptSettings = AttemptSettings()
    providers: dict[str, ProviderSettings] = {}
    presets: dict[str, Preset] = {}
    rules: tuple[Rule, ...] = ()
    home: Path = Path()


def default_home(environ: Mapping[str, str]) -> Path:
    """`GLIMT_HOME`, or `~/.glimt`."""
    named = environ.get("GLIMT_HOME")
    return Path(named).expanduser() if named else Path.home() / ".glimt"


def load(
    path: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        path: A TOML file; `None` takes `config.toml` in the home folder if it is there.
        overrides: Values by dotted name ("engine.model"), which win over everything; `None` values
            are skipped, so that a command line can pass on what was not said.
        environ: The environment; `None` is the process's own.

    Raises:
        ConfigError: Something is missing, malformed, unknown or contradictory.
    """
    environ = os.environ if environ is None else environ
    home = default_home(environ)
    document = _read(path, home)
    if "home" in document:
        raise ConfigError("home: set GLIMT_HOME instead; the file itself is looked for there.")
    # Strict once for the file alone: "4747" in quotes is a mistake there, and none in a variable.
    _convert(document, strict=True)
    variables = {_key_of(name): name for name in environ if _key_of(name)}
    for key, name in variables.items():
        _put(document, key, environ[name] if name in _SHORTCUTS else _listed(environ[name]))
    if key := environ.get("GLIMT_API_KEY"):
        document["api_keys"] = [*document.get("api_keys", ()), key]
    for name, value in (overrides or {}).items():
        if value is not None:
            _put(document, name, value)
            variables.pop(name, None)
    document["home"] = home
    try:
        config = _convert(document, strict=False)
        _check(config)
    except ConfigError as error:
        # The file's own mistakes were found above: this one may be a variable's.
        if variable := variables.get(str(error).partition(":")[0].partition("[")[0]):
            raise ConfigError(f"{error} It comes from {variable}.") from error
        raise
    return config


def _key_of(variable: str) -> str:
    """The dotted name of the key that a variable sets; empty where it sets none."""
    if variable.startswith(_PREFIX):
        return variable.removeprefix(_PREFIX).lower().replace("__", ".")
    return _SHORTCUTS.get(variable, "")


def _read(path: Path | None, home: Path) -> dict[str, Any]:
    file = path or home / FILE_NAME
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        if path is None:
            return {}
        raise ConfigError(f"There is no file {path}.") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return cast("dict[str, Any]", msgspec.toml.decode(content))
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}.") from error


def _put(document: dict[str, Any], name: str, value: object) -> None:
    *sections, key = name.split(".")
    for section in sections:
        inner: Any = document.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {section} is a value, not a section.")
        document = cast("dict[str, Any]", inner)
    document[key] = value


def _listed(value: str) -> object:
    """A list is written as JSON in a variable: '["a", "b"]'."""
    if value.startswith(("[", "{")):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _convert(document: dict[str, Any], *, strict: bool) -> Config:
    try:
        return msgspec.convert(document, Config, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(str(error))) from error


def _explained(message: str) -> str:
    """`Object contains unknown field `modle` - at `$.engine`` with the whole path and a guess."""
    what, _, where = message.partition(" - at `$")
    section = where.strip("`.")
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown is None:
        what = what[:1].lower() + what[1:]
        for word, ours in reversed(_TYPES.items()):
            what = what.replace(word, ours)
        return f"{section or 'configuration'}: {what}."
    name = unknown[1]
    path = f"{section}.{name}" if section else name
    struct: type[msgspec.Struct] = Config
    for part in filter(None, section.split(".")):
        struct = Config.__annotations__.get(part, Config)
    if section.startswith("providers["):
        struct = ProviderSettings
    known = [field for field in struct.__struct_fields__ if field != "home"]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}."
    return f"{path}: no such key; {hint}"


def _check(config: Config) -> None:
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"port: {config.port} is not a port; take 0 to 65535.")
    if config.processes < 1:
        raise ConfigError("processes: at least one has to take requests.")
    if config.http.max_answer_s is not None and not config.http.max_answer_s > 0:
        raise ConfigError("http.max_answer_s: must be more than 0; leave it out for no limit.")
    for name, value in msgspec.structs.asdict(config.attempts).items():
        if value is not None and not isinstance(value, bool) and not value > 0:
            raise ConfigError(f"attempts.{name}: must be more than 0.")
    try:
        Naming(config.rules, config.presets).check()
    except InvalidRequest as error:
        raise ConfigError(error.message) from error
    if not 0 <= config.data.responses_days <= MAX_DAYS:
        raise ConfigError(f"data.responses_days: takes 0 to {MAX_DAYS}; 0 keeps none.")
    if any(not key.strip() for key in config.api_keys):
        raise ConfigError("api_keys: a key cannot be empty.")
    if not config.api_keys and not is_loopback(config.host):
        raise ConfigError(
            f"host: {config.host} can be reached from other machines, and no API key is set. "
            "Set GLIMT_API_KEY (or api_keys in the configuration), or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
