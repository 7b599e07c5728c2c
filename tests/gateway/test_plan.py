"""Laws of the plan, over candidates, wishes and measurements of every kind."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from glimt.catalog.types import Candidate, Deployment, Model, Prices, ProviderRow
from glimt.core.errors import InvalidRequest, RateLimited, UnsupportedParameter
from glimt.core.parts import ImagePart, Message, ReasoningPart, TextPart
from glimt.core.request import JsonSchemaFormat, Request, Routing, Sampling, Tool, ToolChoice
from glimt.gateway.filters import named_by
from glimt.gateway.plan import Plan, Policy, nobody_left, plan
from glimt.gateway.preferences import preferences_of
from glimt.gateway.stats import NoStats, Percentiles, Summary

FLASH = Model(
    slug="z-ai/glm-4.7-flash",
    name="F",
    context=200_000,
    max_output=100_000,
    capabilities=("tools", "json_object", "reasoning"),
    license="MIT",
)
FORMS = st.sampled_from([None, "fp8", "fp4", "bf16"])
SLUGS = ("zai", "novita", "deepinfra", "cerebras", "rack")
PRICES = st.sampled_from(["0", "0.06", "0.07", "0.6", "2.25"]).map(Decimal)


class Seen:
    """Measurements from a table, the same for every window."""

    def __init__(self, table: dict[str, Summary]) -> None:
        self._table = table

    def summary(self, deployment: str, window_s: float) -> Summary:
        return self._table.get(deployment, Summary())


def candidate(slug: str = "zai", **changes: Any) -> Candidate:
    """A candidate; fields of deployment and provider by their names."""
    deployment: dict[str, Any] = {"prices": Prices(input=Decimal("0.1"), output=Decimal("0.4"))}
    provider: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in changes.items():
        place = deployment if name in Deployment.__struct_fields__ else provider
        (own if name in Candidate.__struct_fields__ else place)[name] = value
    return Candidate(
        deployment=Deployment(provider=slug, model=FLASH.slug, upstream_model="x", **deployment),
        provider=ProviderRow(slug=slug, name=slug.upper(), **provider),
        **{"model": FLASH, **own},
    )


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Several places of one model, each once."""
    slugs = draw(st.lists(st.sampled_from(SLUGS), unique=True, max_size=len(SLUGS)))
    return [
        candidate(
            slug,
            prices=draw(st.none() | st.builds(Prices, input=PRICES, output=PRICES, request=PRICES)),
            quantization=draw(FORMS),
            trains=draw(st.none() | st.booleans()),
            retains=draw(st.none() | st.booleans()),
            zdr=draw(st.booleans()),
            headquarters=draw(st.sampled_from([None, "US", "SG"])),
            parameters=draw(st.sampled_from([(), ("temperature",), ("temperature", "seed")])),
            weight=draw(st.sampled_from([0.0, 1.0, 2.0])),
            rank=draw(st.integers(0, 1)),
            cooling=draw(st.sampled_from(["", "", "429 a moment ago"])),
            exhausted=draw(st.sampled_from(["", "", "its quota is used up"])),
        )
        for slug in slugs
    ]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "zdr": st.booleans(),
        "zeroDataRetention": st.booleans(),
        "disallowPromptTraining": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "require_parameters": st.booleans(),
        "quantizations": st.lists(st.sampled_from(["fp8", "fp4", "unknown"]), max_size=2),
        "has": st.lists(st.sampled_from(["tool-use", "vision", "!quantization:fp4"]), max_size=2),
        "headquarters": st.sampled_from([["US"], ["!US"], ["!CN", "!SG"]]),
        "sort": st.sampled_from(
            ["price", "throughput", "tps", "ttft", "exacto", {"by": "latency", "partition": "none"}]
        ),
        "max_price": st.fixed_dictionaries(
            {}, optional={"prompt": PRICES.map(float), "completion": PRICES.map(str)}
        ),
        "preferred_min_throughput": st.sampled_from([40, {"p90": 20.0, "p50": 60.0}]),
        "preferred_max_latency": st.sampled_from([0.5, {"p99": 2}]),
        "enforce_distillable_text": st.booleans(),
    },
)
NAMES = st.lists(st.sampled_from([*SLUGS, "ZAI", "zai/glm-4.7-flash"]), max_size=3).map(tuple)
REQUESTS = st.builds(
    Request,
    model=st.sampled_from(["glm-4.7-flash", "glm-4.7-flash:nitro", "z-ai/glm-4.7-flash:free"]),
    messages=st.text(max_size=5).map(lambda t: (Message(role="user", parts=(TextPart(t),)),)),
    routing=st.builds(
        Routing,
        order=NAMES,
        only=NAMES,
        ignore=NAMES,
        allow_fallbacks=st.booleans(),
        options=OPTIONS,
    ),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.just(0.5),
        max_tokens=st.none() | st.sampled_from([10, 100_001]),
    ),
    session=st.none() | st.text(max_size=3),
)
SUMMARIES = st.builds(
    Summary,
    num_ok=st.integers(0, 50),
    num_failed=st.integers(0, 50),
    throughput=st.none()
    | st.builds(Percentiles, **dict.fromkeys(("p50", "p75", "p90", "p99"), st.floats(1, 500))),
)
SEEN = st.dictionaries(st.sampled_from([f"{slug}/glm-4.7-flash" for slug in SLUGS]), SUMMARIES).map(
    Seen
)
POLICIES = st.builds(
    Policy, only=NAMES, ignore=NAMES, zdr=st.booleans(), prefer_local=st.booleans()
)


def ids(made: Plan) -> list[str]:
    return [step.id for step in made.steps]


@given(REQUESTS, candidates(), SEEN, POLICIES)
def test_everybody_is_tried_or_removed_with_a_reason(request, places, seen, policy):
    """Steps and removals are the candidates, each once, and every removal says why and by what."""
    made = plan(request, places, seen, policy)
    gone = [removal.deployment_id for removal in made.removed]
    assert sorted(ids(made) + gone) == sorted(place.id for place in places)
    assert all(removal.reason and removal.field for removal in made.removed)
    assert all(name in made.explain() for name in (*ids(made), *gone))


@given(REQUESTS, candidates(), SEEN, POLICIES)
def test_the_same_gives_the_same(request, places, seen, policy):
    """A plan depends on its inputs alone, and not on the order in which candidates come."""
    made = plan(request, places, seen, policy)
    again = plan(request, places, seen, policy)
    turned = plan(request, places[::-1], seen, policy)
    assert made == again
    assert ids(made) == ids(turned)


@given(REQUESTS, candidates(), SEEN, POLICIES, st.data())
def test_who_is_missing_moves_nobody(request, places, seen, policy, data):
    """Without one candidate, the others stand in the same order."""
    request = with_routing(request, allow_fallbacks=True)
    made = plan(request, places, seen, policy)
    if not places:
        return
    left = data.draw(st.sampled_from(places))
    rest = plan(request, [place for place in places if place is not left], seen, policy)
    assert ids(rest) == [name for name in ids(made) if name != left.id]


@given(REQUESTS, candidates(), SEEN, POLICIES)
def test_nobody_excluded_and_nobody_too_dear_is_in_a_plan(request, places, seen, policy):
    """Every step passes every filter of the request and of the house."""
    made = plan(request, places, seen, policy)
    by_id = {place.id: place for place in places}
    wishes, options = request.routing, request.routing.options
    for step in made.steps:
        place = by_id[step.id]
        provider, prices = place.provider, place.prices
        for allowed in (wishes.only, policy.only):
            assert not allowed or named_by(allowed, place) is not None
        assert named_by((*wishes.ignore, *policy.ignore), place) is None
        if options.get("zdr") or options.get("zeroDataRetention") or policy.zdr:
            assert provider.zdr
        if options.get("disallowPromptTraining") or options.get("data_collection") == "deny":
            assert provider.trains is False
        if options.get("data_collection") == "deny":
            assert provider.retains is False
        if forms := options.get("quantizations"):
            assert (step.quantization or "unknown") in forms
        if "!quantization:fp4" in options.get("has", ()):
            assert step.quantization != "fp4"
        if options.get("headquarters") == ["US"]:
            assert provider.headquarters == "US"
        if "max_price" in options:
            assert prices is not None
            for name, most in options["max_price"].items():
                price = {"prompt": prices.input, "completion": prices.output}[name]
                assert price <= Decimal(str(most))
        if request.model.endswith(":free"):
            assert prices is not None
            assert prices.free
        assert (request.sampling.max_tokens or 0) <= place.max_output
        assert not place.exhausted


@given(REQUESTS, candidates(), SEEN, POLICIES, st.sampled_from(["only", "ignore", "zdr"]), NAMES)
def test_filters_only_remove(request, places, seen, policy, wish, names):
    """One more filter gives a part of the plan, in the same order."""
    request = with_routing(request, allow_fallbacks=True)
    routing = request.routing
    if wish == "only":
        both = tuple(name for name in routing.only if name in names) if routing.only else names
        narrower = {"only": both or routing.only or names}
    elif wish == "ignore":
        narrower = {"ignore": (*routing.ignore, *names)}
    else:
        narrower = {"options": {**routing.options, "zdr": True}}
    wide = ids(plan(request, places, seen, policy))
    # Asking for somebody by name lets in who is used by name only: no filter widens otherwise.
    by_name = {place.id for place in places if not place.deployment.weight}
    narrow = ids(plan(with_routing(request, **narrower), places, seen, policy))
    assert set(narrow) <= set(wide) | by_name
    assert [n for n in narrow if n in wide] == [n for n in wide if n in narrow]


@given(REQUESTS, candidates(), SEEN, POLICIES)
def test_the_order_given_is_the_order_kept(request, places, seen, policy):
    """Within one model, who is named comes in the order of the names, and before everybody else."""
    same = [msgspec.structs.replace(place, rank=0) for place in places]
    made = plan(request, same, seen, policy)
    by_id = {place.id: place for place in same}
    positions = [named_by(request.routing.order, by_id[name]) for name in ids(made)]
    keys = [len(request.routing.order) if at is None else at for at in positions]
    assert keys == sorted(keys)
    if not request.routing.allow_fallbacks:
        assert all(at is not None for at in positions) or not request.routing.order
        assert request.routing.order or len(ids(made)) <= 1


def with_routing(request: Request, **changes: Any) -> Request:
    return msgspec.structs.replace(
        request, routing=msgspec.structs.replace(request.routing, **changes)
    )


def asked(**changes: Any) -> Request:
    return Request(model="glm-4.7-flash", **changes)


def test_models_come_one_after_the_other():
    """A fallback model comes after all places of the first, unless all are sorted as one."""
    dear = candidate("zai", prices=Prices(input=Decimal(2), output=Decimal(2)))
    cheap = candidate("novita", rank=1)
    policy = Policy()
    assert ids(plan(asked(), [cheap, dear], NoStats(), policy)) == [dear.id, cheap.id]
    joint = Routing(options={"sort": {"by": "price", "partition": "none"}})
    made = plan(asked(routing=joint), [dear, cheap], NoStats(), policy)
    assert ids(made) == [cheap.id, dear.id]


def test_a_conversation_stays_and_conversations_spread_by_price():
    """One at a third of the price gets about nine times the conversations, each for good."""
    places = [
        candidate(slug, prices=Prices(input=Decimal(price), output=Decimal(price)))
        for slug, price in (("zai", "1"), ("novita", "3"))
    ]
    firsts = [ids(plan(asked(session=str(n)), places, NoStats(), Policy()))[0] for n in range(2000)]
    share = firsts.count("zai/glm-4.7-flash") / len(firsts)
    assert 0.87 < share < 0.93
    assert firsts[:50] == [
        ids(plan(asked(session=str(n)), places, NoStats(), Policy()))[0] for n in range(50)
    ]


def test_health_comes_before_price_and_the_engine_here_before_both():
    """Failing places are the last resort; the engine on this machine is first while it is well."""
    seen = Seen({"zai/glm-4.7-flash": Summary(num_ok=1, num_failed=19)})
    free, dear = candidate("zai", prices=Prices()), candidate("novita")
    local = candidate("local", local=True)
    made = plan(asked(), [free, dear, local], seen, Policy())
    assert ids(made) == [local.id, dear.id, free.id]
    assert "answered" in made.notes[free.id]
    slow = plan(asked(), [candidate("rack", cooling="rate limited"), dear], NoStats(), Policy())
    assert ids(slow)[-1] == "rack/glm-4.7-flash"


def test_sticky_to_who_holds_the_conversation():
    """The deployment that answered last goes first, but not before an order that was asked for."""
    places = [candidate("zai", prices=Prices()), candidate("novita")]
    sticky = "novita/glm-4.7-flash"
    assert ids(plan(asked(), places, NoStats(), Policy(), sticky=sticky))[0] == sticky
    ordered = asked(routing=Routing(order=("zai",)))
    assert ids(plan(ordered, places, NoStats(), Policy(), sticky=sticky))[0] == "zai/glm-4.7-flash"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked(response_format=JsonSchemaFormat(schema={}, strict=True)), "response_format"),
        (asked(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="required")), "tool_choice"),
        (asked(sampling=Sampling(max_tokens=100_001)), "sampling.max_tokens"),
        (asked(messages=(Message(role="user", parts=(ImagePart(url="x"),)),)), "messages[0]"),
        (asked(prompt="x" * 3_000_000), "messages"),
        (
            asked(routing=Routing(options={"max_price": {"prompt": 0.05}})),
            "routing.options.max_price.prompt",
        ),
        (asked(routing=Routing(only=("elsewhere",))), "routing.only"),
    ],
)
def test_an_empty_plan_says_which_filter_removed_whom(request_, field):
    """One filter that removes everybody is the error's parameter, and each place is in the text."""
    made = plan(request_, [candidate("zai"), candidate("novita")], NoStats(), Policy())
    assert made.steps == ()
    error = nobody_left(made, request_.model)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == field
    assert error.message.startswith(field)
    assert "zai/glm-4.7-flash" in error.message


def test_used_up_quotas_are_a_429():
    """When nothing but quotas stands in the way, later may be better."""
    made = plan(asked(), [candidate(exhausted="50 a day are used")], NoStats(), Policy())
    assert isinstance(nobody_left(made, "m"), RateLimited)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"sort": "speed"}, "routing.options.sort"),
        ({"max_price": {"prompt": -1}}, "routing.options.max_price.prompt"),
        ({"max_price": {"promt": 1}}, "routing.options.max_price"),
        ({"headquarters": ["US", "!CN"]}, "routing.options.headquarters"),
        ({"headquarters": ["Norway"]}, "routing.options.headquarters"),
        ({"has": ["telepathy"]}, "routing.options.has"),
        ({"quantizations": ["fp7"]}, "routing.options.quantizations"),
        ({"byok": {"zai": []}}, "routing.options.byok"),
        ({"zdr": "yes"}, "routing.options.zdr"),
    ],
)
def test_malformed_wishes_are_refused_by_path(options, path):
    """A wish that says nothing, or that nobody can meet, is an error at its path."""
    with pytest.raises(InvalidRequest) as caught:
        plan(asked(routing=Routing(options=options)), [candidate()], NoStats(), Policy())
    assert caught.value.param == path
    assert caught.value.message.startswith(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sort": "cheap"}, "routing.options.sort: invalid enum value 'cheap'; there are price, "),
        ({"sort": {"by": "cheap"}}, "routing.options.sort.by: .* there are price, throughput"),
        ({"data_collection": "no"}, "there are allow, deny"),
    ],
)
def test_words_that_are_none_are_answered_with_those_that_are(options, said):
    """Who mistypes a word is told which there are."""
    with pytest.raises(InvalidRequest, match=said):
        preferences_of(Request(model="m", routing=Routing(options=options)))


@pytest.mark.parametrize("name", ["app", "tags", "plugins", "providerTimeouts", "sorted"])
def test_idle_wishes_are_named_in_a_warning(name):
    """What makes no difference is named; a misspelt wish is guessed at."""
    made = plan(asked(routing=Routing(options={name: ["x"]})), [candidate()], NoStats(), Policy())
    [warning] = made.warnings
    assert warning.startswith(f"routing.options.{name} was not honoured: ")


def test_suffixes_are_wishes():
    """`:floor` sorts by price, `:online` is refused because nothing searches the web here."""
    places = [candidate("zai"), candidate("novita", prices=Prices())]
    made = plan(Request(model="glm-4.7-flash:floor"), places, NoStats(), Policy())
    assert ids(made)[0] == "novita/glm-4.7-flash"
    assert made.strategy == "sorted by price"
    with pytest.raises(UnsupportedParameter):
        plan(Request(model="glm-4.7-flash:online"), places, NoStats(), Policy())


SAFE = {"trains": False, "retains": False, "zdr": True, "headquarters": "US", "quantization": "fp8"}


@pytest.mark.parametrize(
    ("options", "flaw"),
    [
        ({"zdr": True}, {"zdr": False}),
        ({"zeroDataRetention": True}, {"zdr": False}),
        ({"data_collection": "deny"}, {"trains": None}),
        ({"data_collection": "deny"}, {"retains": None}),
        ({"data_collection": "deny"}, {"retains": True}),
        ({"disallowPromptTraining": True}, {"trains": None}),
        ({"disallowPromptTraining": True}, {"trains": True}),
        ({"headquarters": ["US"]}, {"headquarters": None}),
        ({"headquarters": ["us"]}, {"headquarters": "SG"}),
        ({"headquarters": ["!SG"]}, {"headquarters": None}),
        ({"headquarters": ["!SG"]}, {"headquarters": "SG"}),
        ({"quantizations": ["fp8"]}, {"quantization": None}),
        ({"has": ["quantization:fp8"]}, {"quantization": "fp4"}),
        ({"has": ["!quantization:fp4"]}, {"quantization": "fp4"}),
        ({"has": ["tool-use"]}, {"capabilities": ()}),
        ({"max_price": {"prompt": "0.1"}}, {"prices": None}),
        ({"max_price": {"completion": 0.4}}, {"prices": Prices(output=Decimal("0.41"))}),
        ({"max_price": {"request": 0}}, {"prices": Prices(request=Decimal("0.001"))}),
        (
            {"enforce_distillable_text": True},
            {"model": msgspec.structs.replace(FLASH, license=None)},
        ),
    ],
)
def test_each_filter_removes_the_flawed_and_nobody_else(options, flaw):
    """One flaw, one filter: who has it is removed by that wish, its faultless neighbour stays."""
    good = candidate("zai", **SAFE)
    made = plan(
        asked(routing=Routing(options=options)),
        [good, candidate("novita", **{**SAFE, **flaw})],
        NoStats(),
        Policy(),
    )
    assert ids(made) == [good.id]
    [gone] = made.removed
    assert gone.field.startswith("routing.options.")
    assert gone.field.split(".")[2] in options


def test_required_parameters_are_all_known():
    """`require_parameters` leaves out who does not know one, and who does not say."""
    places = [
        candidate("zai", parameters=("temperature", "seed")),
        candidate("novita", parameters=("temperature",)),
        candidate("rack"),
    ]
    request = asked(
        sampling=Sampling(temperature=0.5, seed=1),
        routing=Routing(options={"require_parameters": True}),
    )
    assert ids(plan(request, places, NoStats(), Policy())) == ["zai/glm-4.7-flash"]


def test_preferences_of_speed_move_and_do_not_remove():
    """Met comes before unknown, and unknown before missed."""
    fast, slow = (
        Summary(num_ok=1, throughput=Percentiles(p50=p50, p75=p50, p90=p90, p95=p90, p99=p90))
        for p50, p90 in ((80, 50), (80, 10))
    )
    seen = Seen({"zai/glm-4.7-flash": slow, "rack/glm-4.7-flash": fast})
    places = [candidate("zai", prices=Prices()), candidate("novita"), candidate("rack")]
    wish = {"preferred_min_throughput": {"p50": 60, "p90": 40}}
    made = plan(asked(routing=Routing(options=wish)), places, seen, Policy())
    assert [name.partition("/")[0] for name in ids(made)] == ["rack", "novita", "zai"]


@pytest.mark.parametrize("thinks", [False, True])
def test_a_message_that_goes_on(thinks: bool):
    """Whoever begins every answer anew is not asked for the rest of one, nor for a thought's."""
    part = ReasoningPart(text="Hm") if thinks else TextPart("It is")
    said = Message(role="assistant", parts=(part,))
    request = Request(model="m", messages=(said,), continues=True)
    places = [
        candidate("zai"),
        candidate("rack", can_continue="prefix"),
        candidate("novita", can_continue="prefix", continues_thoughts=True),
        candidate("deepinfra", can_continue="final_assistant", wire="responses"),
        candidate("cerebras", local=True),
    ]
    made = plan(request, places, NoStats(), Policy())
    able = {"novita", "cerebras"} if thinks else {"rack", "novita", "cerebras"}
    assert {step.provider for step in made.steps} == able
    assert {gone.field for gone in made.removed} == {"continues"}
    none = plan(request, places[:1], NoStats(), Policy())
    error = nobody_left(none, "m")
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "continues"
    anew = msgspec.structs.replace(request, continues=False)
    places.append(candidate("vercel", wire="messages", can_continue="final_assistant"))
    [gone] = plan(anew, places, NoStats(), Policy()).removed
    assert (gone.deployment_id.partition("/")[0], gone.field) == ("vercel", "messages")
