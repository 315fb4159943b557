"""A server's address: whether it is on this machine, and whether anything can be reached there."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

# Seconds within which a server lets itself be connected to.
REACHED = 5.0


def silence(base_url: str) -> str:
    """Why nothing can be reached at an address, in few words; empty where something can, or where a proxy is in between."""
    at = urlsplit(base_url)
    host = at.hostname or ""
    if {at.scheme, "all"} & getproxies().keys() and not proxy_bypass(host):
        return ""
    try:
        socket.create_connection((host, at.port or (443 if at.scheme == "https" else 80)), timeout=REACHED).close()
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def is_loopback(base_url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
