"""The catalog's rows, a file of one's own over them, and what can be called."""

from decimal import Decimal
from pathlib import Path

import pytest

from glimt.catalog.available import available_deployments
from glimt.catalog.load import CatalogError, load
from glimt.catalog.names import split_variant
from glimt.catalog.price import blended, cost, per_token
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Prices, PriceTier
from glimt.core.usage import Usage


def test_every_row_has_a_source_and_a_date():
    """A fact without its origin is no fact; a price that nobody wrote down is none either."""
    catalog = load()
    rows = [*catalog.models.values(), *catalog.providers.values(), *catalog.deployments.values()]
    assert [row for row in rows if not (row.source and row.date)] == []
    assert [row.id for row in catalog.deployments.values() if row.prices is None] == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("glm-4.7-flash", "z-ai/glm-4.7-flash"),
        ("zai/glm-4.7-flash", "z-ai/glm-4.7-flash"),
        ("z-ai/glm-4.7-flash:free", "z-ai/glm-4.7-flash"),
        ("glm-4-7-flash", "z-ai/glm-4.7-flash"),
        ("zai-org/GLM-4.7-Flash", "z-ai/glm-4.7-flash"),
        ("zai.glm-4.7-flash", "z-ai/glm-4.7-flash"),
        ("zai/glm-4.7-flashx", "z-ai/glm-4.7-flashx"),
        ("zai-glm-4.7", "z-ai/glm-4.7"),
        ("accounts/fireworks/models/glm-4p7", "z-ai/glm-4.7"),
        ("nano", "glimt/nano"),
    ],
)
def test_every_vendors_spelling_finds_its_model(name: str, slug: str):
    """What stands on a vendor's page is understood as it is."""
    model = load().model(name)
    assert model is not None
    assert model.slug == slug


def test_upstream_names_find_the_model_they_serve():
    """What a provider calls a model means that model here too."""
    catalog = load()
    for row in catalog.deployments.values():
        model = catalog.model(row.upstream_model)
        assert model is not None
        assert model.slug == row.model


def test_variants_are_told_from_tags():
    """Only OpenRouter's suffixes are variants; "q4_K_M" belongs to a name."""
    assert split_variant("z-ai/glm-4.7-flash:nitro") == ("z-ai/glm-4.7-flash", "nitro")
    assert split_variant("glm-4.7-flash:q4_K_M") == ("glm-4.7-flash:q4_K_M", "")


def own(folder: Path, text: str) -> Path:
    file = folder / "catalog.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_ones_own_adds_and_overrides(tmp_path: Path):
    """A row with a known key changes the fields it names; any other row is new."""
    file = own(
        tmp_path,
        """
        [[models]]
        slug = "me/glm-tuned"
        name = "Tuned"
        context = 1000
        max_output = 100
        [[deployments]]
        provider = "zai"
        model = "z-ai/glm-4.7-flashx"
        prices = { input = "1.5", output = "2" }
        """,
    )
    catalog = load(file)
    assert catalog.models["me/glm-tuned"].context == 1000
    changed, known = (c.deployments["zai/glm-4.7-flashx"] for c in (catalog, load()))
    assert changed.prices is not None
    assert changed.prices.input == Decimal("1.5")
    assert changed.upstream_model == known.upstream_model


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]]\nslug='a/b'", "did you mean models?"),
        ("[[models]]\nname='b'", "models[0] needs slug"),
        ("[[models]]\nslug='a/b'\nname='b'", "missing required field `context`"),
        ("[[providers]]\nslug='x'\nname='X'\nbase_ur='https://x'", "did you mean base_url?"),
        ("[[providers]]\nslug='x'\nname='X'\nbase_url='x.com'", "begin with https://"),
        ("[[providers]]\nslug='local'\nname='X'", "the engine on this machine"),
        ("[[providers]]\nslug='x'\nname='X'\ndate='yesterday'", "2026-11-25"),
        (
            "[[deployments]]\nprovider='zia'\nmodel='z-ai/glm-4.7'\nupstream_model='x'",
            "did you mean zai?",
        ),
        (
            "[[deployments]]\nprovider='zai'\nmodel='z-ai/glm-4.7'\nprices={input='free'}",
            "prices.input",
        ),
        ("[[models]]\nslug='z-ai/glm-4.7'\ncapabilities=['tool']", "did you mean tools?"),
        ("not toml", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str):
    """What is wrong with a file is said with its place and a way out."""
    with pytest.raises(CatalogError) as caught:
        load(own(tmp_path, text))
    assert said in str(caught.value)
    assert "catalog.toml" in str(caught.value)


def test_a_key_is_all_it_takes():
    """With a provider's variable set its deployments can be called, and nobody else's."""
    made = available_deployments(load(), {}, {"ZAI_API_KEY": "k", "NOVITA_API_KEY": " "})
    assert set(made.providers) == {"zai"}
    assert {row.key_names for row in made.deployments} == {("ZAI_API_KEY",)}
    assert made.missing["novita"] == "set NOVITA_API_KEY"
    assert available_deployments(load(), {}, {}).deployments == ()


def test_ones_own_servers_need_an_address():
    """A server of one's own is like a kind of the catalog's; no key goes where it was not meant."""
    settings = ProviderSettings(
        kind="zai", base_url="http://127.0.0.1:1/v1", models={"glm-4.7-flash": "mine"}
    )
    made = available_deployments(load(), {"rack": settings}, {"ZAI_API_KEY": "k"})
    [row] = [row for row in made.deployments if row.provider == "rack"]
    assert (row.id, row.upstream_model, row.key_names) == ("rack/glm-4.7-flash", "mine", ())
    assert made.providers["rack"].quirks == "zai"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("novta", ProviderSettings(), "did you mean novita?"),
        ("rack", ProviderSettings(base_url="http://x", models={}, kind="vlm"), "no 'vlm'"),
        ("vllm", ProviderSettings(base_url="x"), "begin with https://"),
        ("vllm", ProviderSettings(base_url="http://x", models={"gpt-9": "x"}), "'gpt-9'"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, settings: ProviderSettings, said: str):
    """A provider's settings are refused with their path."""
    with pytest.raises(CatalogError) as caught:
        available_deployments(load(), {name: settings}, {})
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"providers.{name}")


def test_a_bill_is_exact():
    """Cached tokens, tiers, requests and searches add up without rounding."""
    prices = Prices(
        input=Decimal("0.07"),
        output=Decimal("0.40"),
        cache_read=Decimal("0.01"),
        request=Decimal("0.001"),
        web_search=Decimal("0.033"),
        tiers=(PriceTier(min_prompt_tokens=100, input=Decimal(1), output=Decimal(2)),),
    )
    small = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=3)
    assert cost(prices, small, searches=2) == Decimal("0.00000166") + Decimal("0.067")
    large = Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=1)
    assert cost(prices, large) == Decimal("0.000102") + Decimal("0.001")
    assert blended(prices) == Decimal("0.1525")
    assert per_token(Decimal("0.07")) == "0.00000007"
