"""Fetching a checkpoint from the Hugging Face hub, resumable, with progress in bytes.

Knows huggingface_hub and nothing of what the files mean. The library is imported when it is first
needed: a server that runs a local folder neither pays for it nor needs it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from glimt.engine.messages import LoadProgress

DESCRIPTION = ("*.json", "*.jinja", "*.txt")
"""What a model is: its configuration, tokenizer and template, a few megabytes."""
WANTED = ("*.safetensors", *DESCRIPTION)
UNWANTED = ("*/*", "consolidated*", "adapter*", "training_args*")
"""Subfolders hold other formats (onnx, original), never a part of this layout."""


def downloaded(model: str, revision: str | None, cache: Path) -> Path | None:
    """The snapshot of an earlier download, in `cache` or in the user's own hub cache.

    It may be incomplete when that download was interrupted.
    """
    from huggingface_hub import (  # noqa: PLC0415
        snapshot_download,  # pyright: ignore[reportUnknownVariableType]
    )
    from huggingface_hub.errors import (  # noqa: PLC0415
        HFValidationError,
        LocalEntryNotFoundError,
    )

    for folder in (cache, None):
        try:
            found = snapshot_download(
                model,
                revision=revision,
                cache_dir=folder,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
                local_files_only=True,
            )
        except (LocalEntryNotFoundError, HFValidationError):
            continue
        return Path(found)
    return None


def download(
    model: str,
    revision: str | None,
    cache: Path,
    progress: Callable[[LoadProgress], None] | None,
    *,
    weights: bool = True,
) -> Path:
    """Fetch the files of `model` that a checkpoint needs; what is there already stays.

    Without `weights` only what describes the model is fetched.

    Raises:
        ConnectionError: It cannot be fetched; the message says why and what to do.
    """
    from huggingface_hub import (  # noqa: PLC0415
        snapshot_download,  # pyright: ignore[reportUnknownVariableType]
    )
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    asked = f"{model} at revision {revision}" if revision else model
    try:
        return Path(
            snapshot_download(
                model,
                revision=revision,
                cache_dir=cache,
                allow_patterns=list(WANTED if weights else DESCRIPTION),
                ignore_patterns=list(UNWANTED),
                tqdm_class=_reporting_bar(progress) if progress else None,
            )
        )
    except GatedRepoError as error:
        reason = "it is gated: accept its terms on the hub and set HF_TOKEN"
        raise ConnectionError(f"Cannot download {asked}: {reason}.") from error
    except RepositoryNotFoundError as error:
        reason = f"there is neither a folder nor a hub repository {model}, or it needs HF_TOKEN"
        raise ConnectionError(f"Cannot download {asked}: {reason}.") from error
    except RevisionNotFoundError as error:
        raise ConnectionError(f"Cannot download {asked}: no such revision.") from error
    except HFValidationError as error:
        raise ConnectionError(f"Cannot download {asked}: not a valid hub id.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = (
            "the hub cannot be reached and no complete copy is on this machine. Go online once, or "
            "give the path of a folder that holds the model"
        )
        raise ConnectionError(
            f"Cannot download {asked}: {reason}. ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _reporting_bar(progress: Callable[[LoadProgress], None]) -> type[Any]:
    """A tqdm class that prints nothing and passes byte counts on."""
    from tqdm.auto import tqdm  # noqa: PLC0415

    best = 0

    class ReportingBar(tqdm):
        monitor_interval = 0

        # The library that subclasses are handed to passes whatever its own version of tqdm takes.
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
            options.pop("name", None)
            options["disable"] = False
            super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType]

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            pass

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal best
            shown = super().update(n)
            if self.unit == "B" and self.total and self.n > best:
                best = int(self.n)
                total = max(int(self.total), best)
                progress(LoadProgress(stage="download", done=best, total=total))
            return shown

    return ReportingBar
