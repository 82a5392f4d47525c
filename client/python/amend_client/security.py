"""How a client knows its server and shows who it is."""

from __future__ import annotations

import os
from typing import Optional, Tuple, Union

import grpc

Path = Union[str, "os.PathLike[str]"]


def tls(ca: Optional[Path] = None, cert: Optional[Path] = None, key: Optional[Path] = None) -> grpc.ChannelCredentials:
    """Credentials of a connection with TLS, from PEM files.

    Args:
        ca: the authorities of the server's certificate; None: those that gRPC knows.
        cert: the client's own certificate and its chain, for a server that asks for one.
        key: the certificate's private key.
    """
    if (cert is None) != (key is None):
        raise ValueError(f"cert {cert!r} and key {key!r} have to be given together")
    return grpc.ssl_channel_credentials(_read(ca), _read(key), _read(cert))


def token_metadata(token: Optional[str], address: str, has_tls: bool) -> Tuple[Tuple[str, str], ...]:
    """What is sent with each call for a bearer token. ValueError where another machine would get it in clear text."""
    if token is None:
        return ()
    host = address.rpartition(":")[0]
    if not has_tls and host not in ("localhost", "[::1]") and not host.startswith("127."):
        raise ValueError(f"the token would be sent to {address} in clear text: give credentials, for example tls(ca=...)")
    return (("authorization", f"Bearer {token.strip()}"),)


def _read(path: Optional[Path]) -> Optional[bytes]:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()
