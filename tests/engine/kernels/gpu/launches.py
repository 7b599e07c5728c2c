"""How many launches some work would be on a device, counted in the interpreter."""

from typing import Any, Self

from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime import interpreter


class Launches(TorchDispatchMode):
    """Counts what would be launched on a device: programs, and operations that are no views."""

    FREE = ("aten::empty", "aten::new_empty", "aten::unbind", "aten::split", "aten::detach")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._inside = False

    def __enter__(self) -> Self:
        self._launch = interpreter.GridExecutor.__call__

        def launch(executor: Any, *args: Any, **options: Any) -> None:
            # The interpreter copies tensors, which a device does not.
            self.count, self._inside = self.count + 1, True
            try:
                self._launch(executor, *args, **options)
            finally:
                self._inside = False

        interpreter.GridExecutor.__call__ = launch
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        interpreter.GridExecutor.__call__ = self._launch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        is_view = any(r.alias_info is not None for r in func._schema.returns)
        if not self._inside and not is_view and not name.startswith(self.FREE):
            self.count += 1
        return func(*args, **(kwargs or {}))
