"""Which requests our own engine can answer, and what of them it cannot honour.

Nothing is ignored in silence: a field is honoured, refused by its name, or named in a warning.
Ranges of sampling fields are `glimt.providers.sampling`'s concern, messages the template's.
"""

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_CHOICES
from glimt.core.parts import Part
from glimt.core.request import JsonSchemaFormat, Request, TextFormat
from glimt.engine.chat.depth import refuse_deep, weigh


def num_characters(request: Request) -> int:
    """About how much text there is to render."""
    total = len(request.prompt or "") + weigh(request.template_arguments)[1]
    for tool in request.tools:
        total += len(tool.description or "") + weigh(tool.raw or tool.parameters)[1]
    for message in request.messages:
        for part in message.parts:
            total += _length(part) + len(getattr(part, "arguments", ""))
            total += sum(_length(item) for item in getattr(part, "content", ()))
    return total


def _length(part: Part) -> int:
    """Of its text, or of a file that may be one."""
    return len(getattr(part, "text", "")) + len(getattr(part, "data", None) or b"")


def check_request(request: Request) -> list[str]:
    """Refuse what cannot be honoured; return warnings about what is honoured only in part."""
    if bool(request.messages) == (request.prompt is not None):
        raise InvalidRequest("give either messages or a prompt", param="messages")
    if not 1 <= request.num_choices <= MAX_CHOICES:
        raise InvalidRequest(
            f"the number of choices must be from 1 to {MAX_CHOICES}", param="num_choices"
        )
    if request.continues:
        _refuse_bound(request)
    _refuse_deep_values(request)
    if request.suffix:
        raise UnsupportedParameter("this model cannot fill in before a suffix", param="suffix")
    if request.echo and request.messages:
        raise UnsupportedParameter("only a raw prompt can be echoed", param="echo")
    if request.echo and request.sampling.top_logprobs is not None:
        raise UnsupportedParameter(
            "log-probabilities of the prompt are not available; leave out echo or logprobs",
            param="echo",
        )
    names = [tool.name for tool in request.tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidRequest(
                f"two tools are called {name!r}; give each its own name", param=f"tools[{index}]"
            )
    return [f"{name} was not honoured: unknown here" for name in request.extensions]


def _refuse_bound(request: Request) -> None:
    """A form holds from an answer's first token on, and that was said already."""
    bound = {
        "response_format": not isinstance(request.response_format, TextFormat),
        "tool_choice": request.tool_choice.mode == "required",
    }
    for name, is_bound in bound.items():
        if is_bound:
            raise UnsupportedParameter(
                f"{name}: an answer that is begun already cannot be held to it", param=name
            )


def _refuse_deep_values(request: Request) -> None:
    for index, tool in enumerate(request.tools):
        for value in (tool.parameters, tool.raw):
            refuse_deep(value, f"tools[{index}]")
    for name, value in request.template_arguments.items():
        refuse_deep(value, f"template_arguments.{name}")
    if isinstance(request.response_format, JsonSchemaFormat):
        refuse_deep(request.response_format.schema, "response_format")
