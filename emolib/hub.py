"""Whether a model hub answers, asked the way its downloads go: over HTTP, through the proxies of the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Literal

from emolib.addresses import proxy_problem, root_reason, shown_url

__all__ = ["LOG_IN", "NO_SPACE_FOR_HUB", "HubName", "hub_is_offline", "hub_problem", "hub_state"]

#: The Hugging Face hub, and ModelScope.
HubName = Literal["hf", "ms"]

#: What opens a repository that is gated or private.
LOG_IN = "log in with `hf auth login` (in Colab, save a token of the hub as the secret HF_TOKEN)"
#: What to do about a download that the disk does not hold, with the folder.
NO_SPACE_FOR_HUB = (
    "no space left for the download on the disk that holds {}; free some, or name another folder in HF_HOME"
)
_TIMEOUT_S = 3.0
#: A bound on the whole question. No HTTP timeout covers a name that is looked up for ever.
_BOUND_S = 4.5
_YES = {"1", "true", "yes", "on"}
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def hub_is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE switches the Hugging Face hub off."""
    return any(environ.get(name, "").lower() in _YES for name in _OFFLINE)


def hub_problem(hub: HubName = "hf", environ: Mapping[str, str] = os.environ) -> str | None:
    """Return what keeps `hub` from serving a download, or None; answers within 5 seconds.

    The address is HF_ENDPOINT or MODELSCOPE_ENDPOINT of `environ`, else the public one. HTTPS_PROXY, HTTP_PROXY,
    ALL_PROXY and NO_PROXY of this process count as for the download itself, with the same HTTP client: httpx for the
    Hugging Face hub, requests for ModelScope.
    """
    if hub == "hf" and hub_is_offline(environ):
        return "HF_HUB_OFFLINE is set"
    url = _endpoint(hub, environ)
    reason = _within_bound(lambda: _ask(hub, url))
    return f"{shown_url(url)} does not answer: {reason}" if reason else None


def hub_state(environ: Mapping[str, str] = os.environ) -> str:
    """Describe the Hugging Face hub in a few words: "answers", or what is the matter."""
    if hub_is_offline(environ):
        return "switched off by HF_HUB_OFFLINE"
    return hub_problem("hf", environ) or "answers"


def _endpoint(hub: HubName, environ: Mapping[str, str]) -> str:
    if hub == "hf":
        return environ.get("HF_ENDPOINT") or "https://huggingface.co"
    chosen = environ.get("MODELSCOPE_ENDPOINT") or environ.get("MODELSCOPE_DOMAIN") or "https://modelscope.cn"
    return chosen if "://" in chosen else f"https://{chosen}"


def _within_bound(question: Callable[[], str | None]) -> str | None:
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(question()), name="hub-probe", daemon=True)
    thread.start()
    thread.join(_BOUND_S)
    return answers[0] if answers else f"no answer within {_BOUND_S:g} s"


def _ask(hub: HubName, url: str) -> str | None:
    try:
        status = _head_by_httpx(url) if hub == "hf" else _head_by_requests(url)
    except ImportError as error:
        if error.name:
            return f"it cannot be asked without the package {error.name}"
        return _why(error, hub)
    except Exception as error:  # each HTTP library has its own kinds, and ValueError for a proxy that it does not know
        return _why(error, hub)
    # Whatever the hub itself answers, it is there; these come from a proxy or a broken gateway.
    return f"HTTP {status}" if status == 407 or status >= 500 else None


def _head_by_httpx(url: str) -> int:
    import httpx

    with httpx.Client(timeout=_TIMEOUT_S) as client:
        return client.head(url).status_code


def _head_by_requests(url: str) -> int:
    import requests

    return requests.head(url, timeout=_TIMEOUT_S).status_code


def _why(error: Exception, hub: HubName) -> str:
    problem = proxy_problem("socksio" if hub == "hf" else "pysocks")
    return problem if problem and isinstance(error, ImportError | ValueError) else root_reason(error)
