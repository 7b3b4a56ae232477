"""A server that speaks the API of OpenAI: text in, text out."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rltk.bench.answerers import Answerer, Question
from rltk.bench.forms import EndpointForm
from rltk.errors import UserError

_PATHS = {"chat": "chat/completions", "completions": "completions"}
#: Answers that say: try again later. The server's own mistakes are tried again too.
_BUSY = {408, 409, 425, 429}
_LONGEST_WAIT = 60.0
#: Servers take seeds of 31 bits.
_LARGEST_SEED = 2**31


class Endpoint(Answerer):
    """Asks a server.

    :raises UserError: the environment variable of the API key is not set.
    """

    def __init__(self, form: EndpointForm) -> None:
        self.form = form
        self.url = f"{form.endpoint.rstrip('/')}/{_PATHS[form.api]}"
        self._key = None if form.api_key_env is None else os.environ.get(form.api_key_env)
        if form.api_key_env is not None and not self._key:
            fix = f"export {form.api_key_env}=KEY"
            raise UserError(
                "endpoint.api_key_env", "no such environment variable", got=form.api_key_env, fix=fix
            )

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return the server's texts, in the order of the questions.

        :raises UserError: it cannot be reached, refuses, or answers something else than the API says.
        """
        with ThreadPoolExecutor(self.form.concurrency) as pool:
            return list(pool.map(self._answer, questions))

    def request(self, question: Question) -> dict[str, Any]:
        """Return the body of the request for a question."""
        form = self.form
        body: dict[str, Any] = {
            "model": form.model,
            "max_tokens": form.max_tokens,
            "temperature": form.temperature,
            "seed": question.seed % _LARGEST_SEED,
        }
        body |= {"stop": list(question.stop)} if question.stop else {}
        if form.api == "completions":
            turns = "".join(said + answered for said, answered in question.turns)
            return {**body, "prompt": question.text + turns, **form.body}
        return {**body, "messages": self._messages(question), **form.body}

    def _messages(self, question: Question) -> list[dict[str, str]]:
        messages = [] if self.form.system is None else [{"role": "system", "content": self.form.system}]
        messages.append({"role": "user", "content": question.text})
        for said, answered in question.turns:
            messages.append({"role": "assistant", "content": said})
            messages.append({"role": "user", "content": answered})
        return messages

    def _answer(self, question: Question) -> str:
        body = json.dumps(self.request(question)).encode()
        for attempt in range(self.form.retries + 1):
            try:
                return self._text(self._send(body))
            except _AgainError as error:
                if attempt == self.form.retries:
                    tried = f"{error}, {attempt + 1} times"
                    raise UserError(self.url, tried, fix="see whether the server is up") from error
                wait = self.form.backoff_seconds * 2**attempt
                time.sleep(min(max(wait, error.wait), _LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.form.timeout_seconds) as response:
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            said = _one_line(error.read().decode(errors="replace"))
            if error.code in _BUSY or error.code >= 500:
                raise _AgainError(
                    f"HTTP {error.code}: {said}", _seconds(error.headers["Retry-After"])
                ) from error
            fix = "correct the endpoint, the model or the key"
            raise UserError(self.url, f"HTTP {error.code}: {said}", fix=fix) from None
        except (OSError, http.client.HTTPException) as error:
            raise _AgainError(f"no answer: {_one_line(str(getattr(error, 'reason', error)))}") from error

    def _text(self, answer: bytes) -> str:
        with contextlib.suppress(ValueError, LookupError, TypeError):
            choice = json.loads(answer)["choices"][0]
            text = choice["message"]["content"] if self.form.api == "chat" else choice["text"]
            if isinstance(text, str):
                return text
        shown = _one_line(answer.decode(errors="replace"))
        fix = f"is it an API of OpenAI's form? api: {self.form.api} was asked for"
        raise UserError(self.url, "its answer holds no text", got=shown, fix=fix)


class _AgainError(Exception):
    """Worth another try.

    :param wait: seconds that the server asks to wait.
    """

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def _seconds(header: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 where it has none."""
    try:
        return float(header or 0.0)
    except ValueError:
        return 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
