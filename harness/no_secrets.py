"""Passwords that stand in addresses are nobody's to keep: not a store's, a page's, a log's or a message's."""

from __future__ import annotations

import re

#: The password of an address (RFC 3986, 3.2.1, "User Information"); one that was not escaped may hold any of "/?#@:".
_IN_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*):\S*@")
#: The same as a parameter (libpq, "Connection URIs": password, sslpassword), or in a keyword list.
_AS_PARAMETER = re.compile(r"\b((?:ssl)?password|passwd|pwd)=[^\s&'\"]*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """``text`` with ``***`` in place of each password of an address in it."""
    if "://" not in text and "=" not in text:
        return text
    return _AS_PARAMETER.sub(r"\1=***", _IN_ADDRESS.sub(r"\1:***@", text))
