"""What an API server refused, by the reason it gave.

BackendError
 ├─ NotLeading             nothing was sent, because another process may lead
 └─ ApiError
     ├─ NotFound, AlreadyExists, Conflict, Gone, Invalid, Forbidden, Unauthorized
     ├─ Throttled          429, after all retries
     └─ ServerError        5xx, a broken connection or a time-out, after all retries
"""

from __future__ import annotations

from typing import Any

from tuning_operator.errors import BackendError


class NotLeading(BackendError):
    """This process must not write: another one may lead."""


class ApiError(BackendError):
    """An API server refused a request.

    Attributes:
        code: HTTP status; 0 when no answer came.
        reason: The server's own word, for example ``AlreadyExists``.
        retry_after: Seconds after which the server asks to try again, if it says so.
    """

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after: float | None = None


class NotFound(ApiError):
    """404."""


class AlreadyExists(ApiError):
    """409 on create: an object of this name is there."""


class Conflict(ApiError):
    """409: the object, or a field that another manager owns, changed meanwhile."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Invalid(ApiError):
    """400 or 422: the object is not valid; the message is the server's and names the fields."""


class Forbidden(ApiError):
    """403: a right is missing, or an admission refused."""


class Unauthorized(ApiError):
    """401."""


class Throttled(ApiError):
    """429."""


class ServerError(ApiError):
    """5xx, or no answer at all."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
}


def error_from(code: int, status: dict[str, Any], what: str) -> ApiError:
    """Return the error for a `Status` object; `what` says which request it was."""
    reason = str(status.get("reason", ""))
    message = str(status.get("message", "")) or f"HTTP {code}"
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_CODE.get(code, ServerError if code >= 500 else ApiError)
    return kind(f"{what}: {message}", code=code, reason=reason)
