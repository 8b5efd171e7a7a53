"""What every HTTP application shares: reading bodies strictly, errors to status codes, correlation ids."""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acgs.errors import AcgsError, InvalidInputError, RateLimitedError, UnavailableError, first_fault
from acgs.observability.logs import correlation_id

_AT_ONCE = 1 << 20
"""Bytes that are parsed without a thread; others can be answered meanwhile only if more are parsed in one."""
CORRELATION_HEADER = "x-correlation-id"
_IDS = Random()  # noqa: S311 - an id tells requests apart and keeps no secret; the kernel's numbers cost more
_SAFE_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")

_STATUS = {
    "not_json": 400,
    "constitution_mismatch": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "body_stalled": 408,
    "body_too_large": 413,
    "validation": 422,
    "rate_limit": 429,
}
_UNAVAILABLE = 503

Model = TypeVar("Model", bound=BaseModel)


class BodyTooLargeError(InvalidInputError):
    """The body has more bytes than allowed."""

    code = "body_too_large"


class NotJsonError(InvalidInputError):
    """The body is not JSON text in UTF-8 (NaN and Infinity are not JSON)."""

    code = "not_json"


def status_of(error: AcgsError) -> int:
    """HTTP status of an error: 4xx where the caller can mend it, 503 where a part is missing."""
    if error.field == "domain" and error.code == "validation":
        return 400
    return _STATUS.get(error.code, _UNAVAILABLE if isinstance(error, UnavailableError) else 500)


def error_response(error: AcgsError) -> Response:
    """The error as JSON: `detail` for people, `error` for programs."""
    body = {"detail": error.message, "error": {"code": error.code, "message": error.message, "field": error.field}}
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if isinstance(error, RateLimitedError) else {}
    status = status_of(error)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(body), status, headers, "application/json")


async def read_json(request: Request, limit: int) -> Any:
    """The body as JSON data.

    Raises:
        BodyTooLargeError: more than `limit` bytes, by its header or as it comes.
        NotJsonError: not JSON, or an object in it names a field twice.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError(f"the body has more than {limit} bytes", field="body")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"the body has more than {limit} bytes", field="body")
        chunks.append(chunk)
    body = b"".join(chunks)
    return _parsed(body) if size <= _AT_ONCE else await asyncio.to_thread(_parsed, body)


def _parsed(body: bytes) -> Any:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJsonError("the body is not JSON in UTF-8", field="body") from error
    # Two readers of a name that occurs twice may see two requests; a receipt must stand for one.
    _NAMES.decode(body.decode())
    return data


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise NotJsonError("an object in the body names a field twice", field="body")


_NAMES = json.JSONDecoder(object_pairs_hook=_refuse_twice)


def validated(model: type[Model], data: Any) -> Model:
    """Data as a model.

    Raises:
        InvalidInputError: naming the first field at fault; the value is not repeated.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        field, fault = first_fault(error, whole="body")
        raise InvalidInputError(f"{field}: {fault}", field=field) from error


def caller_of(request: Request) -> str:
    """Who is asking, for the rate limit: the peer's address. Headers do not count, because anyone can vary them."""
    return request.client.host if request.client else "unknown"


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI for a body that the handler reads itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _inlined(schema)}}}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its definitions put in the place of references to them."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[-1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for error statuses."""
    schema = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
    return {
        status: {"description": "no decision; `detail` says why", "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }


class CorrelationMiddleware:
    """Takes the caller's correlation id or makes one, and returns it; plain ASGI because it is on the hot path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((v.decode("latin-1") for k, v in scope["headers"] if k == CORRELATION_HEADER.encode()), "")
        identity = given if _SAFE_ID.match(given) else f"{_IDS.getrandbits(128):032x}"
        token = correlation_id.set(identity)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (CORRELATION_HEADER.encode(), identity.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            correlation_id.reset(token)


def install(app: FastAPI) -> None:
    """Give an application the shared error answers and correlation ids."""

    async def on_error(_request: Request, error: Exception) -> Response:
        if not isinstance(error, AcgsError):
            raise error
        return error_response(error)

    async def on_validation(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return error_response(InvalidInputError(f"{field}: {first['msg']}", field=field))

    async def on_http(_request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return Response(orjson.dumps({"detail": error.detail}), error.status_code, error.headers, "application/json")

    app.add_exception_handler(AcgsError, on_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_middleware(CorrelationMiddleware)
