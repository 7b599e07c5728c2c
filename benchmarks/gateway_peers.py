"""LiteLLM's proxy and Portkey's gateway for `benchmarks/gateway.py`: installed, and how they start.

Each has a folder of its own below the cache; what is there is used as it is. Knows their package
registries only through pip and npm.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

KEY = "sk-glimt-benchmark"
INSTALL_S = 900
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # Streams of 1.15.2 fail with a later one ("TypeError: immutable"): its issue 1389.
    "overrides": {"@hono/node-server": "1.13.5"},
}

Recipe: TypeAlias = tuple[list[str], dict[str, str], dict[str, str]]
"""A command, variables for it, and headers of every request."""


class Missing(Exception):
    """A peer cannot be measured here; the message says why."""


def litellm(upstream: str, port: int, home: Path, cache: Path) -> Recipe:
    """One worker, without a database: what its documents give as the quick start."""
    folder = cache / "litellm"
    program = folder / "bin" / "litellm"
    if not program.exists():
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"])
    parameters = {
        "model": "hosted_vllm/glm-4.7-flash",
        "api_base": upstream,
        "api_key": "sk-bench",
    }
    file = home / "config.json"  # JSON is YAML.
    file.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "glm-4.7-flash", "litellm_params": parameters}],
                "general_settings": {"master_key": KEY},
            }
        )
    )
    command = [str(program), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    return command, environment, {"authorization": f"Bearer {KEY}"}


def portkey(upstream: str, port: int, cache: Path) -> Recipe:
    """The same program as `npx @portkey-ai/gateway`, from a folder so that its version stays."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("there is no Node here.")
    folder = cache / "portkey"
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps(PORTKEY))
        _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder)])
    command = [node, str(program), f"--port={port}", "--headless"]
    headers = {
        "authorization": "Bearer sk-bench",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": upstream,
    }
    return command, {"NODE_ENV": "production"}, headers


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-300:]
        raise Missing(f"{' '.join(command)} failed: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(command)}: {error}") from error
