"""Importing without what takes long: a guard that stops an import at the first heavy package."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType

#: Packages that take about a tenth of a second or much more to import, and that no listing needs.
# fmt: off
HEAVY = frozenset([
    "accelerate", "anthropic", "datasets", "gymnasium", "jax", "keras", "litellm", "matplotlib",
    "numba", "openai", "pandas", "peft", "scipy", "sentence_transformers", "sklearn", "tensorflow",
    "torch", "torchvision", "transformers", "trl", "vllm",
])
# fmt: on


class HeavyImport(BaseException):
    """A heavy package was about to be imported.

    No :class:`Exception`: code that goes on without a package that is absent must not go on without one that
    is present.
    """


class ImportGuard(MetaPathFinder, Loader):
    """Finds heavy packages as the others do, and refuses to load them.

    After the first refusal nothing that is not loaded yet is imported: code that swallows a
    :class:`HeavyImport` must not hand on what it wrongly believes to modules that are kept.
    """

    def __init__(self) -> None:
        #: The heavy package that was asked for; None as long as none was.
        self.refused: str | None = None
        #: Modules that were half imported at that moment.
        self.unfinished: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a heavy package is, so that asking whether it is installed is answered truthfully."""
        if self.refused is not None:
            raise HeavyImport(self.refused)
        if fullname not in HEAVY:
            return None
        spec = find_spec(fullname, path, passing_over=self)
        if spec is not None:
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Refuse.

        :raises HeavyImport: always.
        """
        self.refused = spec.name
        self.unfinished = list(_modules_under_way(sys._getframe()))
        raise HeavyImport(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Never reached: required of a loader that creates modules."""
        raise HeavyImport(module.__name__)


def find_spec(name: str, path: Sequence[str] | None, *, passing_over: object = None) -> ModuleSpec | None:
    """Return where a module is, without importing anything.

    :param path: where its parent package looks for modules; None for a module without a parent.
    :param passing_over: a finder of ``sys.meta_path`` not to ask.
    """
    finders = [finder for finder in sys.meta_path if finder is not passing_over]
    return next((spec for finder in finders if (spec := finder.find_spec(name, path)) is not None), None)


@contextmanager
def light_imports() -> Iterator[ImportGuard]:
    """Raise :class:`HeavyImport` where a heavy package is about to be imported that is not loaded already.

    Afterwards nothing half imported is left: what was stopped is imported anew when it is asked for again.
    """
    before = frozenset(sys.modules)
    guard = ImportGuard()
    sys.meta_path.insert(0, guard)
    try:
        yield guard
    finally:
        sys.meta_path.remove(guard)
        for name in guard.unfinished:
            if name not in before:
                _forget(name, before)


def _modules_under_way(frame: FrameType | None) -> Iterator[str]:
    """Yield the names of the modules whose code is on the stack."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            yield frame.f_globals["__name__"]
        frame = frame.f_back


def _forget(name: str, before: frozenset[str]) -> None:
    """Take a module out, and what was imported below it: a new parent would not have it as attributes."""
    below = [key for key in sys.modules if key.startswith(f"{name}.") and key not in before]
    for key in [*below, name]:
        module = sys.modules.pop(key, None)
        parent, _, child = key.rpartition(".")
        if module is not None and vars(sys.modules.get(parent, ModuleType(""))).get(child) is module:
            delattr(sys.modules[parent], child)
