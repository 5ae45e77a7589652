"""Where a URL leads."""

from __future__ import annotations

import ipaddress
import urllib.parse

__all__ = ["is_loopback"]


def is_loopback(url: str) -> bool:
    """Whether `url` names this very machine: a proxy of the environment must not come between."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
