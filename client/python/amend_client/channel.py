"""How both clients connect, and types of their arguments."""

from __future__ import annotations

from typing import Sequence, Tuple, TypedDict, Union

from amend_client.requests import At

Metadata = Sequence[Tuple[str, Union[str, bytes]]]

CHANNEL_OPTIONS = (
    # A server that restarts is found again soon; gRPC's own pauses grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A revision of a batch near the 4 MiB that a request may have is somewhat longer than that.
    ("grpc.max_receive_message_length", 16 << 20),
)


class GenerateOptions(TypedDict, total=False):
    """Of generate() and stream(): fields of amend.v1.GenerateRequest. What is left out is the server's default."""

    # A revision's number or a label; None is "live".
    at: At
    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    seed: int
    stop: Sequence[str]
    # Read your edit: an error while the label is below it.
    min_revision: int
    trace_hooks: bool
    logprobs: bool
