"""Any endpoint that speaks the chat completions of OpenAI: vLLM, ray.serve.llm, NIM, a hosted service."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from acgs.errors import InvalidInputError, UnavailableError
from acgs.learning.data.records import Message
from acgs.learning.revision.generator import conversation_seed

_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_SEED_BITS: Final = 31
"""Some servers read the seed as a signed 32-bit number."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How an endpoint is asked."""

    concurrency: int = 8
    tries: int = 5
    timeout_seconds: float = 120.0
    backoff_seconds: float = 0.5
    """Longest wait before the second try; it doubles, and a random part of it is waited (full jitter)."""
    longest_wait_seconds: float = 30.0


class OpenAiGenerator:
    """Sends each conversation as a request of its own."""

    def __init__(
        self, base_url: str, model: str, *, key_variable: str | None = None, patience: Patience | None = None
    ) -> None:
        """
        Args:
            base_url: for example `http://localhost:8000/v1`.
            key_variable: name of the environment variable with the key, which is read at each call and never kept.

        Raises:
            InvalidInputError: no http URL, or the variable is not set.
        """
        if not base_url.startswith(("http://", "https://")):
            raise InvalidInputError(
                "the endpoint is an http or https URL such as http://localhost:8000/v1", field="url"
            )
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._key_variable = key_variable
        self._patience = patience or Patience()
        self.identity = f"openai:{model}"
        self._headers()

    def complete(
        self, conversations: Sequence[list[Message]], *, seed: int, max_new_tokens: int, temperature: float
    ) -> list[str]:
        """See `Generator.complete`. Too many requests, server errors and time-outs are tried again.

        Raises:
            UnavailableError: the tries are used up, the endpoint refused, or it answered what is no completion.
        """
        bodies = [
            {
                "model": self._model,
                "messages": [message.model_dump() for message in conversation],
                "max_tokens": max_new_tokens,
                "temperature": temperature,
                "seed": conversation_seed(conversation, seed) % 2**_SEED_BITS,
            }
            for conversation in conversations
        ]
        return asyncio.run(self._all(bodies))

    def _headers(self) -> dict[str, str]:
        if self._key_variable is None:
            return {}
        key = os.environ.get(self._key_variable)
        if not key:
            raise InvalidInputError(f"the environment variable {self._key_variable} is not set", field="key_variable")
        return {"Authorization": f"Bearer {key}"}

    async def _all(self, bodies: list[dict[str, Any]]) -> list[str]:
        slots = asyncio.Semaphore(self._patience.concurrency)
        timeout = httpx.Timeout(self._patience.timeout_seconds)
        async with httpx.AsyncClient(timeout=timeout, headers=self._headers()) as client:

            async def one(body: dict[str, Any]) -> str:
                async with slots:
                    return await self._ask(client, body)

            tasks = [asyncio.ensure_future(one(body)) for body in bodies]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()

    async def _ask(self, client: httpx.AsyncClient, body: dict[str, Any]) -> str:
        reason = "nothing was tried"
        for attempt in range(self._patience.tries):
            wait: float | None = None
            try:
                response = await client.post(self._url, json=body)
            except httpx.TransportError as error:
                reason = type(error).__name__
            else:
                if response.status_code < 300:
                    return _content(response)
                reason = f"status {response.status_code}"
                if response.status_code != _TOO_MANY and response.status_code < _SERVER_ERROR:
                    raise UnavailableError(f"the endpoint refused the request: {reason}; check URL, model and key")
                wait = _retry_after(response)
            if attempt + 1 < self._patience.tries:
                await asyncio.sleep(self._wait(attempt, wait))
        raise UnavailableError(
            f"the endpoint did not answer in {self._patience.tries} tries, last: {reason}; try later"
        )

    def _wait(self, attempt: int, asked: float | None) -> float:
        longest = min(self._patience.longest_wait_seconds, self._patience.backoff_seconds * 2**attempt)
        jitter = random.uniform(0, longest)  # noqa: S311 - to spread the retries
        return jitter if asked is None else min(asked, self._patience.longest_wait_seconds) + jitter


def _retry_after(response: httpx.Response) -> float | None:
    """The header's seconds; its form as a date is not read."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _content(response: httpx.Response) -> str:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise UnavailableError("the endpoint's answer is no chat completion") from error
    if not isinstance(content, str):
        raise UnavailableError("the endpoint's answer holds no text")
    return content.strip()
