"""Packages that others import as they load and hardly ever use, imported when they are used.

transformers names `torch.distributed.tensor`, the compiler and SciPy's optimizers in modules that
every model needs, and PyTorch in those that every tokenizer needs. Inside `deferred` such an import
gives a stand-in: whatever is done with it is done with the real thing, which is then imported.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, new_class
from typing import Any, TypeVar

T = TypeVar("T")

COMPILER = "torch._dynamo"
MARKS = {"allow_in_graph", "assume_constant_result", "disable"}
"""Decorators of the compiler's that tell it how to compile a function, and change nothing else."""
FRAMEWORK = ("torch", "transformers.activations")
"""What transformers' configs and tokenizers import where it is there, and do not need: PyTorch, and
the one module of theirs that derives classes from PyTorch's as it is imported."""
NO_DTYPE = {"dtype": None, "torch_dtype": None}
"""What transformers' `from_pretrained` of a config is given where nobody asks for its dtype: only
to turn that name into PyTorch's own would PyTorch be imported."""


class _StandIn(type):
    """A class, or a function, of a module that is not there yet."""

    _home: str
    _named: str
    _forget: Callable[[], None]

    def __new__(mcls, name: str, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
        """A stand-in; but a class that is derived from one is derived from the real thing."""
        if not bases:
            return super().__new__(mcls, name, bases, own)
        real = tuple(base._real() if isinstance(base, _StandIn) else base for base in bases)
        return new_class(name, real, {}, lambda given: given.update(own))

    def _real(cls) -> Any:
        cls._forget()
        return getattr(importlib.import_module(cls._home), cls._named)

    def __len__(cls) -> int:
        return len(cls._real())

    def __bool__(cls) -> bool:
        return True

    def __contains__(cls, item: object) -> bool:
        return item in cls._real()

    def __getitem__(cls, key: Any) -> Any:
        return cls._real()[key]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # asked of every class, as it is copied, shown or documented
            raise AttributeError(name)
        return getattr(cls._real(), name)

    def _loaded(cls) -> Any:
        """The real class where its module is imported by now, else None: nothing can be of it."""
        home = sys.modules.get(cls._home)
        return None if home is None or isinstance(home, _Deferred) else getattr(home, cls._named)

    def __instancecheck__(cls, instance: object) -> bool:
        real = cls._loaded()
        return real is not None and isinstance(instance, real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = cls._loaded()
        return real is not None and issubclass(subclass, real)


class _Deferred(ModuleType):
    """A package whose names are stand-ins while it is deferred, and its own afterwards."""

    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":  # what is there is told by it, so it must be the real one
            self._finder.forget()
        elif name.startswith("__"):
            raise AttributeError(name)
        if not self._finder.on:
            return getattr(importlib.import_module(self.__name__), name)
        if self.__name__ == COMPILER and name in MARKS:
            return _mark
        own = {"_home": self.__name__, "_named": name, "_forget": self._finder.forget}
        made = _StandIn(name, (), own)
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    """Gives stand-ins for packages of `names` and all below them, while `on`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._within = tuple(f"{name}." for name in names)
        self.made: dict[str, ModuleType] = {}
        self.on = True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.on and (fullname in self._names or fullname.startswith(self._within)):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self.made[spec.name] = _Deferred(spec.name, self)
        return self.made[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has nothing to run."""

    def forget(self) -> None:
        """From here on an import finds the real packages; at once where one of them is needed."""
        if not self.on:
            return
        self.on = False
        for name, module in self.made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            above, _, leaf = name.rpartition(".")
            parent = sys.modules.get(above)
            # A package that imports its own parts on demand does so again; of others, what was
            # reached through them stays within reach, until the real one takes its place.
            if parent is not None and "__getattr__" in vars(parent):
                vars(parent).pop(leaf, None)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Inside, an import of the packages `names`, or of anything below them, gives a stand-in,
    unless it is imported already or not installed. What was given stays good: it is the real thing
    to whoever calls it, looks into it, derives from it or asks `isinstance` or `issubclass`. To
    `is` and `==` it stays another object."""
    wanted = [name for name in names if name not in sys.modules and _installed(name)]
    finder = _Finder(wanted)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.forget()


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside, nobody looks for garbage: imports make hundreds of thousands of objects, nearly all
    of which stay, and every look goes through those that are there already."""
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()


def _installed(name: str) -> bool:
    """Whether the package at the top is there; it is not imported."""
    top = name.partition(".")[0]
    return top in sys.modules or find_spec(top) is not None


def _mark(function: Any = None, *args: Any, **kwargs: Any) -> Any:
    """The function as it is; called without one, as a decorator with arguments is, what gives it
    back."""
    if function is not None:
        return function

    def same(one: T) -> T:
        return one

    return same
