"""Methods that several threads may call. Nothing else belongs here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

M = TypeVar("M", bound=Callable[..., Any])


def alone(method: M) -> M:
    """A method that waits for others of its object to end, by the object's lock `changing`."""

    @functools.wraps(method)
    def waiting(self: Any, *arguments: Any, **named: Any) -> Any:
        with self.changing:
            return method(self, *arguments, **named)

    return cast(M, waiting)
