"""A tool call being written: raw keys and values in, pieces of one JSON object out.

Knows when a value may be shown before it is whole (`arguments` says what it is). Strings are shown
as they come, everything else at its end. Knows nothing of tags.
"""

from glimt.core.request import Tool
from glimt.engine.chat.arguments import (
    ValueKind,
    encode_string,
    encode_value,
    property_names,
    property_schema,
    value_kind,
)


class CallWriter:
    """Writes the arguments of one call; all that its methods return is one JSON object.

    The first of two equal keys counts, since it may be out already.
    """

    def __init__(self, tool: Tool, index: int) -> None:
        self.tool = tool
        self.index = index
        self._keys: list[str] = []
        self._schema = property_schema(None, "")
        self._kind: ValueKind = "literal"
        self._value = ""
        self._open = False
        """The opening quote of the current value is out."""
        self._ignored = False

    @property
    def missing_names(self) -> list[str]:
        """Declared arguments that were not given yet."""
        return [name for name in property_names(self.tool.parameters) if name not in self._keys]

    @property
    def complete(self) -> bool:
        """Whether every required argument was given."""
        return set(self._keys).issuperset(required_names(self.tool))

    def begin(self, key: str) -> str:
        """An argument's key."""
        self._value = ""
        self._open = False
        self._ignored = key in self._keys
        if self._ignored:
            return ""
        self._schema = property_schema(self.tool.parameters, key)
        self._kind = value_kind(self._schema, self.tool.parameters)
        before = ", " if self._keys else "{"
        self._keys.append(key)
        return f'{before}"{encode_string(key)}": '

    def push(self, text: str) -> str:
        """More of its value."""
        if self._ignored:
            return ""
        if self._open:
            return encode_string(text)
        self._value += text
        streams = self._kind == "string" or (
            self._kind == "nullable_string" and not "null".startswith(self._value.strip())
        )
        if not streams or not self._value:
            return ""
        self._open = True
        return '"' + encode_string(self._value)

    def end(self) -> str:
        """The value is whole."""
        if self._ignored:
            return ""
        if self._open:
            return '"'
        return encode_value(self._value, self._schema, self.tool.parameters)

    def close(self) -> str:
        """The call is whole."""
        return "}" if self._keys else "{}"


def required_names(tool: Tool) -> list[str]:
    """The arguments that a call cannot do without."""
    required: object = (tool.parameters or {}).get("required")
    return [str(name) for name in required] if isinstance(required, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
