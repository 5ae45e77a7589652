"""Whether the Hugging Face hub can be asked, found out in seconds rather than in a download's retries."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["HubState", "hub_state"]

HubState = Literal["answers", "does not answer", "switched off by HF_HUB_OFFLINE"]

_TIMEOUT_S = 3.0
_YES = {"1", "true", "yes", "on"}


def hub_state(environ: Mapping[str, str] = os.environ) -> HubState:
    """Whether the hub of `environ` (HF_ENDPOINT, HF_HUB_OFFLINE) takes connections."""
    if environ.get("HF_HUB_OFFLINE", "").lower() in _YES:
        return "switched off by HF_HUB_OFFLINE"
    endpoint = urlsplit(environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((endpoint.hostname, endpoint.port or 443), timeout=_TIMEOUT_S):
            return "answers"
    except OSError:
        return "does not answer"
