"""Addresses: which of them reach this machine only."""

from __future__ import annotations

import ipaddress
import urllib.parse

from emolib.errors import UsageError

__all__ = ["is_loopback", "is_loopback_url", "refuse_open_address"]


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback_url(url: str) -> bool:
    """Whether `url` leads to this very machine: a proxy of the environment must not come between."""
    return is_loopback(urllib.parse.urlsplit(url).hostname or "")


def refuse_open_address(host: str, api_key: str | None) -> None:
    """UsageError where a server on `host` could be reached by others without a key."""
    if not api_key and not is_loopback(host):
        raise UsageError(f"{host} can be reached by others; serve there only with a key (--api-key)")
