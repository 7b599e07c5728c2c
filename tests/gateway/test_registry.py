"""Names and who answers to them."""

import pytest

from glimt.catalog.names import plain_name
from glimt.core.errors import ModelNotFound
from glimt.core.provider import ModelInfo
from glimt.gateway.registry import Registry
from glimt.providers.scripted import ScriptedProvider, say


def info(name: str, *aliases: str) -> ModelInfo:
    return ModelInfo(
        id=name,
        owned_by="x",
        created=0,
        context_length=1,
        max_output_tokens=1,
        aliases=aliases,
    )


def registry(*models: ModelInfo) -> Registry:
    built = Registry()
    for model in models:
        built.add(ScriptedProvider(say("a"), models=(model,), name=model.id))
    return built


@pytest.mark.parametrize(
    "name",
    [
        "glm-4.7-flash",
        "GLM-4.7-Flash",
        "zai/glm-4.7-flash",
        "z-ai/glm-4.7-flash:free",
        "glm-4-7-flash",
        "zai-org/GLM-4.7-Flash",
        "zai-glm-4.7-flash",
    ],
)
def test_every_spelling_finds_the_model(name: str):
    """Author, case, variant and the dash in the version make no difference."""
    found = registry(info("glimt/nano"), info("zai-org/GLM-4.7-Flash")).find(name)
    assert found.model == "zai-org/GLM-4.7-Flash"
    assert not found.stands_in


def test_exact_names_and_aliases_win():
    """A name that is an id or an alias is never taken for another spelling of one."""
    built = registry(info("a/glm-4.7-flash"), info("b/glm-4.7-flash", "house"))
    assert built.find("b/GLM-4.7-flash").model == "b/glm-4.7-flash"
    assert built.find("house").model == "b/glm-4.7-flash"
    assert built.find("c/glm-4.7-flash").model == "a/glm-4.7-flash"


@pytest.mark.parametrize("name", ["glm-4.7", "zai-glm-4.7", "z-ai/glm-4.6", "glm-4.5-air", "GLM-5"])
def test_other_glms_are_stood_in_for(name: str):
    """A GLM that is not here is answered by one that is, or else by what is here, marked."""
    with_flash = registry(info("glimt/nano"), info("zai-org/GLM-4.7-Flash")).find(name)
    assert (with_flash.model, with_flash.stands_in) == ("zai-org/GLM-4.7-Flash", True)
    alone = registry(info("glimt/nano")).find(name)
    assert (alone.model, alone.stands_in) == ("glimt/nano", True)


@pytest.mark.parametrize("name", ["gpt-9", "aglm-4.7", "chatglm", "", "/"])
def test_strangers_are_not_found(name: str):
    """Other names are not found, and the error lists what is."""
    with pytest.raises(ModelNotFound) as caught:
        registry(info("glimt/nano")).find(name)
    assert "glimt/nano" in caught.value.message
    assert caught.value.param == "model"


def test_short_name_of_nano():
    """A model is found without its author."""
    assert registry(info("glimt/nano")).find("nano").model == "glimt/nano"


def test_plain_names():
    """What is left of a name is what tells models apart."""
    assert plain_name("zai-org/GLM-4.7-Flash") == "glm-4.7-flash"
    assert plain_name("glm-4-32b") == "glm-4-32b"
