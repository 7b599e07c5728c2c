"""The house: what it imports, and how it fails when the model cannot be loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from glimt.app.build import House
from glimt.app.config import Config
from glimt.app.engine_model import LoadError
from glimt.app.listen import ListenError, address_of, bind
from glimt.app.local import model_id
from glimt.engine.settings import EngineSettings


def test_no_torch():
    """A gateway process never loads torch, however much of itself it imports."""
    program = (
        "import sys, glimt.app.server, glimt.app.build, glimt.api.routes; "
        "print([m for m in ('torch', 'triton', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


@pytest.mark.anyio
async def test_missing_model(tmp_path: Path):
    """A model that is not there is named, the server's report says so, and nothing stays behind."""
    house = House(Config(home=tmp_path, engine=EngineSettings(model="./nowhere")))
    assert house.model.report().phase == "starting"
    await house.start()
    with pytest.raises(LoadError, match="nowhere"):
        await house.ready()
    report = house.model.report()
    assert report.phase == "failed"
    assert "nowhere" in (report.reason or "")
    await house.close()
    assert house.model.report().phase == "stopping"


def test_taken_port():
    """A taken port is told at once, with a way out."""
    with bind(Config(port=0)) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(ListenError, match=f"Port {port} .*taken.*GLIMT_PORT"):
            bind(Config(port=port))


def test_foreign_address():
    """An address that this machine does not have is named."""
    with pytest.raises(ListenError, match=r"192\.0\.2\.1 is not an address of this machine"):
        bind(Config(host="192.0.2.1", port=0))


def test_model_ids(tmp_path: Path):
    """A folder goes by its name, everything else by the name that was given."""
    folder = tmp_path / "My-GLM"
    folder.mkdir()
    assert model_id(str(folder)) == "My-GLM"
    assert model_id("zai-org/GLM-4.7-Flash") == "zai-org/GLM-4.7-Flash"
