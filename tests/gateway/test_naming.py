"""What a name stands for: rules and presets of the house."""

from pathlib import Path

import pytest

from glimt.app.config import ConfigError, load
from glimt.core.errors import Forbidden, InternalError, InvalidRequest, ModelNotFound
from glimt.core.events import collect
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Routing, Sampling, Thinking
from glimt.gateway.answer import Gateway
from glimt.gateway.naming import Naming, Preset, Rule
from glimt.providers.scripted import ScriptedProvider, say
from tests.api.serving import services

pytestmark = pytest.mark.anyio

HI = (Message(role="user", parts=(TextPart("hi"),)),)
FAST = Preset(
    model="z-ai/glm-4.7-flash",
    models=("glm-4.5-air",),
    provider={"order": ["novita"], "zdr": True, "sort": "latency", "allow_fallbacks": False},
    system="Be brief.",
    thinking=False,
    temperature=0.2,
    max_tokens=100,
    stop=("END",),
)
HOUSE = Naming(presets={"Fast": FAST, "plain": Preset(temperature=0.5)})


def meant(request: Request, naming: Naming = HOUSE) -> Request:
    return naming.meant(request)[0]


def test_a_preset_fills_what_a_request_leaves_open():
    """Model, wishes, instruction, thinking and sampling are those of the bundle."""
    filled = meant(Request(model="@preset/fast", messages=HI))
    assert filled.model == "z-ai/glm-4.7-flash"
    assert filled.routing == Routing(
        models=("glm-4.5-air",),
        order=("novita",),
        allow_fallbacks=False,
        options={"zdr": True, "sort": "latency"},
    )
    assert [message.role for message in filled.messages] == ["system", "user"]
    assert filled.thinking == Thinking(enabled=False)
    assert filled.sampling == Sampling(temperature=0.2, max_tokens=100, stop=("END",))


def test_the_request_goes_before_its_preset():
    """What is said stands; only privacy is never loosened."""
    own = (Message(role="system", parts=(TextPart("Be long."),)), *HI)
    asked = Request(
        model="@preset/fast",
        messages=own,
        sampling=Sampling(temperature=0.0, stop=("X",)),
        thinking=Thinking(effort="high"),
        routing=Routing(models=("a",), order=("zai",), options={"sort": "price", "zdr": False}),
    )
    filled = meant(asked)
    assert filled.messages == own
    assert filled.sampling == Sampling(temperature=0.0, stop=("X",), max_tokens=100)
    assert filled.thinking == Thinking(effort="high")
    assert (filled.routing.models, filled.routing.order) == (("a",), ("zai",))
    assert filled.routing.options == {"sort": "price", "zdr": True}


@pytest.mark.parametrize(
    ("name", "extensions", "model"),
    [
        ("glm-4.7@preset/fast", {}, "glm-4.7"),
        ("@preset/FAST:nitro", {}, "z-ai/glm-4.7-flash:nitro"),
        ("glm-4.7", {"preset": "fast"}, "glm-4.7"),
        ("glm-4.7@preset/plain", {}, "glm-4.7"),
    ],
)
def test_every_way_to_name_one(name: str, extensions: dict, model: str):
    """Alone, behind a model, with a variant, or in a field of its own, which goes no further."""
    filled = meant(Request(model=name, messages=HI, extensions={**extensions, "other": 1}))
    assert (filled.model, filled.extensions) == (model, {"other": 1})
    assert filled.sampling.temperature in (0.2, 0.5)


def test_presets_that_are_none():
    """An unknown one is named with those there are; one without a model asks for one."""
    with pytest.raises(ModelNotFound, match=r"'slow'.*fast, plain"):
        meant(Request(model="@preset/slow"))
    with pytest.raises(InvalidRequest, match="MODEL@preset/plain"):
        meant(Request(model="@preset/plain"))
    plain = Request(model="glm-4.7", messages=HI)
    assert meant(plain) is plain


RULES = Naming(
    [
        Rule(model="glm-4.7", rewrite="glm-4.7-flash"),
        Rule(model="glm-4.6*", deny="it is too dear for us"),
        Rule(model="old", rewrite="older"),
        Rule(model="older", rewrite="glm-4.7"),
        Rule(model="here", rewrite="there"),
        Rule(model="there", rewrite="here"),
    ]
)


def test_rules_rewrite():
    """In every spelling, one after the other, fallbacks too; the answer says so."""
    for name in ("glm-4.7", "z-ai/GLM-4.7", "zai-org/glm-4-7", "old"):
        request, said = RULES.meant(Request(model=name))
        assert request.model == "glm-4.7-flash"
        assert said == (f"model {name!r} is rewritten to 'glm-4.7-flash' by a rule of this server",)
    assert meant(Request(model="glm-4.7:free"), RULES).model == "glm-4.7-flash:free"
    asked = Request(model="nano", routing=Routing(models=("glm-4.7", "x")))
    assert meant(asked, RULES).routing.models == ("glm-4.7-flash", "x")
    assert RULES.meant(Request(model="glm-4.7-flash")) == (Request(model="glm-4.7-flash"), ())


def test_a_rule_may_lead_to_a_preset():
    """And what the preset names is held to the rules as well."""
    rules = [Rule(model="gpt-*", rewrite="@preset/fast"), Rule(model="fast", deny="no")]
    naming = Naming(rules, {"fast": FAST})
    request, said = naming.meant(Request(model="openai/gpt-9", messages=HI))
    assert (request.model, request.sampling.temperature) == ("z-ai/glm-4.7-flash", 0.2)
    assert "'@preset/fast'" in said[0]


def test_rules_deny():
    """In the house's words, as a model or as a fallback, through a preset too."""
    for request in (
        Request(model="z-ai/glm-4.6v"),
        Request(model="nano", routing=Routing(models=("glm-4.6",))),
    ):
        with pytest.raises(Forbidden, match="too dear"):
            RULES.meant(request)
    both = Naming([Rule(model="glm-4.7-flash", deny="no")], {"fast": FAST})
    with pytest.raises(Forbidden, match="no"):
        both.meant(Request(model="@preset/fast", messages=HI))
    with pytest.raises(InternalError, match="more than 10 times"):
        RULES.meant(Request(model="here"))


async def test_the_gateway_follows_them():
    """An engine alone follows them too, and warns of what was rewritten; lists understand them."""
    provider = ScriptedProvider(say("fine"))
    built, readiness = services(provider)
    naming = Naming(
        [Rule(model="gpt-9", rewrite="scripted")],
        {"fast": Preset(model="gpt-9", temperature=0.2)},
    )
    gateway = Gateway(built.gateway._registry, readiness, built.meter, naming=naming)
    answer = await collect(gateway.answer(Request(model="@preset/fast", messages=HI)))
    assert "rewritten to 'scripted'" in answer.started.warnings[0]
    assert provider.requests[0].sampling.temperature == 0.2
    assert gateway.offer("@preset/fast").info.id == "scripted"
    assert await gateway.count_tokens(Request(model="@preset/fast", messages=HI)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[rules]]\nmodel = "a"\n', "rules.0.: give either rewrite or deny"),
        ('[[rules]]\nmodel = "a"\nrewrite = "b"\ndeny = "c"\n', "either rewrite or deny"),
        ('[presets.x]\nprovider = { sort = "best" }\n', "presets.x: .*sort"),
        ("[presets.x]\ntemprature = 1\n", "temprature"),
    ],
)
def test_mistakes_are_found_at_the_start(tmp_path: Path, text: str, words: str):
    """A rule or preset that cannot be followed is refused with the settings."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(file, environ={})


def test_they_are_settings(tmp_path: Path):
    """Both are read from the file."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[presets.fast]\nmodel = "glm-4.7-flash"\nprovider = { zdr = true }\n'
        '[[rules]]\nmodel = "gpt-*"\nrewrite = "@preset/fast"\n'
    )
    config = load(file, environ={})
    assert config.presets["fast"].provider == {"zdr": True}
    assert config.rules == (Rule(model="gpt-*", rewrite="@preset/fast"),)
