"""Whether the URL of a port server says where that is. Light: a bench file is checked by it, too."""

from __future__ import annotations

from urllib.parse import urlsplit


def wrong_address(address: str) -> str:
    """What is missing of the URL ``address`` of a port server, in words; empty when it names one, or is no such URL.

    pyserial compares a port number that is not there with numbers, and ends with a TypeError.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("rfc2217", "socket"):
        return ""
    try:
        parts = urlsplit(f"//{rest}")
        whole = bool(parts.hostname) and parts.port is not None
    except ValueError:  # no number, out of range, half a bracket
        whole = False
    return "" if whole else f"expected {scheme}://HOST:PORT with a port from 0 to 65535"
