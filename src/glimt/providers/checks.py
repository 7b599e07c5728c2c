"""Which requests our own engine can answer, and what of them it cannot honour.

Nothing is ignored in silence: a field is honoured, refused by its name, or named in a warning.
Ranges of sampling fields are `glimt.providers.sampling`'s concern, messages the template's.
"""

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_CHOICES
from glimt.core.request import JsonSchemaFormat, Request, TextFormat
from glimt.engine.chat.depth import refuse_deep, weigh


def num_characters(request: Request) -> int:
    """About how much text there is to render."""
    total = len(request.prompt or "") + weigh(request.template_arguments)[1]
    for tool in request.tools:
        total += len(tool.description or "") + weigh(tool.raw or tool.parameters)[1]
    for message in request.messages:
        for part in message.parts:
            total += len(getattr(part, "text", "")) + len(getattr(part, "arguments", ""))
            total += sum(len(getattr(item, "text", "")) for item in getattr(part, "content", ()))
    return total


def check_request(request: Request) -> list[str]:
    """Refuse what cannot be honoured; return warnings about what is honoured only in part."""
    if bool(request.messages) == (request.prompt is not None):
        raise InvalidRequest("give either messages or a prompt", param="messages")
    if not 1 <= request.num_choices <= MAX_CHOICES:
        raise InvalidRequest(
            f"the number of choices must be from 1 to {MAX_CHOICES}", param="num_choices"
        )
    _refuse_deep_values(request)
    if not isinstance(request.response_format, TextFormat):
        raise UnsupportedParameter(
            "this model cannot be held to a format yet; ask for it in the prompt instead",
            param="response_format",
        )
    if request.tool_choice.mode == "required":
        raise UnsupportedParameter(
            "this model cannot be forced to call a tool yet; use tool_choice auto or none",
            param="tool_choice",
        )
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
    return _warnings(request)


def _refuse_deep_values(request: Request) -> None:
    for index, tool in enumerate(request.tools):
        for value in (tool.parameters, tool.raw):
            refuse_deep(value, f"tools[{index}]")
    for name, value in request.template_arguments.items():
        refuse_deep(value, f"template_arguments.{name}")
    if isinstance(request.response_format, JsonSchemaFormat):
        refuse_deep(request.response_format.schema, "response_format")


def _warnings(request: Request) -> list[str]:
    warnings: list[str] = []
    thinking = request.thinking
    if thinking.effort is not None and thinking.effort != "none":
        warnings.append(
            f"thinking.effort {thinking.effort!r} was not honoured: this model thinks or does not"
        )
    if thinking.budget_tokens is not None:
        warnings.append("thinking.budget_tokens was not honoured: thoughts cannot be limited yet")
    warnings.extend(
        f"tools[{index}].strict was not honoured: arguments are not held to their schema yet"
        for index, tool in enumerate(request.tools)
        if tool.strict
    )
    warnings.extend(f"{name} was not honoured: unknown here" for name in request.extensions)
    return warnings
