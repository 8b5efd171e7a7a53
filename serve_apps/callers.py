"""Tokens and permissions at a route: `Annotated[Caller, Depends(requires(Permission.MODEL_RELEASE))]`.

The application keeps its `acgs.security.admission.Admission` at `app.state.admission`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from acgs.security.admission import Admission
from acgs.security.roles import Caller, Permission
from serve_apps.http import caller_of

_BEARER = HTTPBearer(auto_error=False, description="a token of `acgs token issue`")


def requires(permission: Permission) -> Callable[[Request, object], Awaitable[Caller]]:
    """A dependency: the caller, proven and permitted, before anything else of the request is looked at."""

    async def caller(request: Request, _declared: Annotated[object, Depends(_BEARER)]) -> Caller:
        admission: Admission = request.app.state.admission
        proven = await asyncio.to_thread(admission.admit, request.headers.get("authorization"), caller_of(request))
        proven.require(permission)
        return proven

    return caller
