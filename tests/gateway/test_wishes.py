"""Wishes about who answers, and the one who does."""

import pytest

from glimt.core.errors import UnsupportedParameter
from glimt.core.request import Routing
from glimt.gateway.registry import Deployment
from glimt.gateway.wishes import unmet_wishes
from glimt.providers.scripted import SCRIPTED_MODEL, ScriptedProvider, say

HERE = Deployment(provider=ScriptedProvider(say("hi"), name="local"), info=SCRIPTED_MODEL)


@pytest.mark.parametrize(
    "routing",
    [
        Routing(),
        Routing(only=("local",), order=("local/fp8", "elsewhere")),
        Routing(options={"zdr": True, "data_collection": "deny", "max_price": {"prompt": 1}}),
        Routing(options={"quantizations": None, "enforce_distillable_text": False}),
        Routing(ignore=("elsewhere",)),
    ],
)
def test_met(routing: Routing):
    """What one place on this machine meets is not worth a word."""
    assert unmet_wishes(routing, HERE) == ()


@pytest.mark.parametrize(
    ("routing", "path"),
    [
        (Routing(models=("other",)), "routing.models"),
        (Routing(order=("elsewhere",)), "routing.order"),
        (Routing(options={"sort": "price"}), "routing.options.sort"),
        (Routing(options={"app": {"title": "T"}}), "routing.options.app"),
        (Routing(options={"frobnicate": 1}), "routing.options.frobnicate"),
    ],
)
def test_named_in_a_warning(routing: Routing, path: str):
    """A preference that makes no difference here is named, known or not."""
    [warning] = unmet_wishes(routing, HERE)
    assert warning.startswith(f"{path} was not honoured: ")


@pytest.mark.parametrize(
    ("routing", "path"),
    [
        (Routing(only=("elsewhere",)), "routing.only"),
        (Routing(ignore=("local",)), "routing.ignore"),
        (Routing(order=("elsewhere",), allow_fallbacks=False), "routing.order"),
        (Routing(options={"quantizations": ["fp8"]}), "routing.options.quantizations"),
    ],
)
def test_refused(routing: Routing, path: str):
    """A filter that nobody here passes is an error with its name, not another answer."""
    with pytest.raises(UnsupportedParameter) as caught:
        unmet_wishes(routing, HERE)
    assert caught.value.param == path
    assert caught.value.message.startswith(path)
