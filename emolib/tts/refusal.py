"""An answer of the service that is not sound."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

__all__ = ["Refusal"]


class Refusal(Exception):
    """A request that is turned down: its status code, a message, and what a client can do about it.

    `retry_after` (s) becomes the header of that name, `errors` the list of bad fields.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: int | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        self.errors = errors
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """The answer in Fish-Speech's form."""
        body = {"statusCode": self.status, "message": str(self), "error": HTTPStatus(self.status).phrase}
        return body if self.errors is None else {**body, "errors": self.errors}

    def headers(self) -> dict[str, str]:
        """The headers that belong to the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 413:
            # What is left of the body is not read, so the connection cannot be used again.
            headers["Connection"] = "close"
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers
