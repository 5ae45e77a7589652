"""Addresses: which of them stay on this machine, how they are shown, and what keeps one from being reached."""

from __future__ import annotations

import ipaddress
import urllib.parse
import urllib.request

from emolib.errors import UsageError

__all__ = [
    "is_loopback",
    "is_loopback_url",
    "is_public",
    "proxy_problem",
    "refuse_open_address",
    "root_reason",
    "shown_url",
]

#: Ends of names that no public resolver knows (RFC 6762, RFC 8375, ICANN's .internal; .lan by custom).
_PRIVATE_ENDS = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


def is_loopback(host: str) -> bool:
    """Return whether an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback_url(url: str) -> bool:
    """Return whether `url` leads to this very machine: a proxy of the environment must not come between."""
    return is_loopback(urllib.parse.urlsplit(url).hostname or "")


def refuse_open_address(host: str, api_key: str | None) -> None:
    """Raise UsageError if a server on `host` could be reached by others without a key."""
    if not api_key and not is_loopback(host):
        raise UsageError(f"{host} can be reached by others; serve there only with a key (--api-key)")


def is_public(host: str) -> bool:
    """Return whether an address or name may lie outside of the local network."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.lower().endswith(_PRIVATE_ENDS)


def shown_url(url: str) -> str:
    """Return `url` without its user name, password, query and fragment, which may be secrets."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def proxy_problem(package: str) -> str | None:
    """Return why a SOCKS proxy of the environment cannot be used, or None if there is none; `package` supports them."""
    for url in urllib.request.getproxies().values():
        scheme = urllib.parse.urlsplit(url).scheme.lower()
        if scheme == "socks":
            return f"the proxy {shown_url(url)} of the environment has a scheme without a version; write socks5://"
        if scheme.startswith("socks"):
            return f"the proxy {shown_url(url)} of the environment needs a package: pip install {package}"
    return None


def root_reason(error: BaseException) -> str:
    """Return the innermost cause of a failed connection, which a person can act on ("Connection refused")."""
    named = getattr(error, "original_error", None) or getattr(error, "reason", None)
    inner = named or (error.args[0] if error.args else error)
    if isinstance(inner, Exception) and inner is not error:
        return root_reason(inner)
    return (str(inner).strip().splitlines() or [type(error).__name__])[0][:200]
