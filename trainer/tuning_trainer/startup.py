"""Start-up without torch's compiler.

The first optimizer of a process imports ``torch._dynamo``, torch's compiler, only to be able to say "do not compile
this function": 2 s of processor time with byte code, 6 s without, which is as long as a short trial trains. A process
that compiles nothing puts a stand-in there before its first optimizer. The stand-in knows the two functions which
optimizers call; whoever asks it for anything else gets the real compiler, imported at that moment.

Only ``python -m tuning_trainer`` does this, never a library import, and never with several ranks, where
DistributedDataParallel needs the real module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

_COMPILER = "torch._dynamo"


class _CompilerStandIn(ModuleType):
    """What eager optimizers use of ``torch._dynamo``; everything else imports the real one."""

    @staticmethod
    def disable(function: _Function, recursive: bool = True, **_: object) -> _Function:  # noqa: ARG004
        return function

    @staticmethod
    def graph_break() -> None:
        return

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)


def defer_compiler() -> None:
    """Keep ``torch._dynamo`` from being imported until something needs more of it than optimizers do."""
    sys.modules.setdefault(_COMPILER, _CompilerStandIn(_COMPILER))
