"""What a stream of edits is, apart from how its bytes travel.

Both clients drive an EditSession: they ask it what to send, tell it what came,
and reconnect when it says so. It does no I/O and knows no clock.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Dict, Iterable, List, Optional, Set, Union

import grpc
from amend.v1 import edit_pb2

from amend_client.errors import AmendError, batch_error, make_error

# An edit as a message, or as a dict of its fields.
EditLike = Union[edit_pb2.Edit, dict]
BatchLike = Iterable[EditLike]

_RETRYABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    # What a server says to its streams when it goes.
    grpc.StatusCode.CANCELLED,
)


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How often, and after what pause in seconds, a lost connection is tried again."""

    # In a row, without a batch that came to its end in between.
    attempts: int = 8
    first_pause: float = 0.2
    longest_pause: float = 5.0

    def pause(self, attempt: int, error: AmendError) -> float:
        """Before attempt 1, 2, ...: doubled each time, and not shorter than what the server asks for."""
        pause = min(self.first_pause * 2 ** (attempt - 1), self.longest_pause)
        return max(pause, error.retry_delay or 0.0)


NO_RETRIES = RetryPolicy(attempts=0)


class Retries:
    """Counts attempts. Not thread-safe."""

    def __init__(self, policy: RetryPolicy):
        self._policy = policy
        self._attempt = 0

    def progress(self) -> None:
        self._attempt = 0

    def pause_after(self, error: AmendError) -> float:
        """Seconds until the next attempt, or raises `error` when there is none."""
        self._attempt += 1
        waiting_helps = error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_delay is not None
        if error.code not in _RETRYABLE or not waiting_helps or self._attempt > self._policy.attempts:
            raise error
        return self._policy.pause(self._attempt, error)


class SourceError(Exception):
    """Carries what the caller's own batches raised past the retries, which are for the server's errors."""

    def __init__(self, cause: Exception):
        super().__init__(str(cause))
        self.cause = cause


def new_name() -> str:
    """A session or request id that nobody else has."""
    return f"py-{uuid.uuid4().hex}"


def edit_batch(edits: BatchLike) -> edit_pb2.EditBatch:
    return edit_pb2.EditBatch(edits=[edit_pb2.Edit(**e) if isinstance(e, dict) else e for e in edits])


def is_terminal(stage: int, promotion: int) -> bool:
    """True when nothing more will happen to a batch."""
    if stage == edit_pb2.VALIDATED:
        return promotion == edit_pb2.STAGE_ONLY
    return stage in (edit_pb2.REJECTED, edit_pb2.LIVE, edit_pb2.FAILED)


class EditSession:
    """The batches of one session over any number of connections. Not thread-safe.

    Keeps a batch until it has its outcome, so that it can be sent again: as the
    server knows session and offset, it does nothing twice and answers with what
    it recorded.
    """

    def __init__(self, start: edit_pb2.StreamEditsRequest.Start):
        self._start = start
        self._next_offset = 0
        # Without an outcome, by offset.
        self._unfinished: Dict[int, edit_pb2.EditBatch] = {}
        # Of those, what this connection has not sent.
        self._to_send: List[int] = []
        # Those that this connection has sent.
        self._in_flight: Set[int] = set()
        self._credits = 0
        self._complete = False
        self._flush_sent = False
        self.flushed = False

    @property
    def name(self) -> str:
        return self._start.session

    def connected(self) -> edit_pb2.StreamEditsRequest:
        """A connection begins: its first request."""
        self._credits = 0
        self._in_flight.clear()
        self._to_send = sorted(self._unfinished)
        self._flush_sent = False
        self.flushed = False
        return edit_pb2.StreamEditsRequest(start=self._start)

    def wants_batch(self) -> bool:
        """True when a further batch could be sent at once."""
        return not self._complete and not self._to_send and len(self._in_flight) < self._credits

    def add(self, edits: BatchLike) -> None:
        self._unfinished[self._next_offset] = edit_batch(edits)
        self._to_send.append(self._next_offset)
        self._next_offset += 1

    def complete(self) -> None:
        """No batch will follow."""
        self._complete = True

    def next_request(self) -> Optional[edit_pb2.StreamEditsRequest]:
        """What to send now, or None."""
        if self._to_send and len(self._in_flight) < self._credits:
            offset = self._to_send.pop(0)
            self._in_flight.add(offset)
            batch = edit_pb2.StreamEditsRequest.Batch(offset=offset, batch=self._unfinished[offset])
            return edit_pb2.StreamEditsRequest(batch=batch)
        if self._complete and not self._to_send and not self._flush_sent and self._credits > 0:
            self._flush_sent = True
            return edit_pb2.StreamEditsRequest(flush=edit_pb2.StreamEditsRequest.Flush())
        return None

    def receive(self, response: edit_pb2.StreamEditsResponse) -> Optional[edit_pb2.EditBatchStatus]:
        """Takes a response in; returns what it says of a batch. Raises what the server refuses."""
        kind = response.WhichOneof("response")
        if kind == "started":
            self._credits = max(1, response.started.credits)
        elif kind == "flushed":
            self.flushed = True
        elif kind == "batch":
            return self._record(response.batch)
        return None

    def _record(self, batch: edit_pb2.EditBatchStatus) -> edit_pb2.EditBatchStatus:
        if batch.stage == edit_pb2.BATCH_STAGE_UNSPECIFIED:
            error = batch_error(batch)
            if error is not None:
                raise error
        sent = self._unfinished.get(batch.offset)
        if sent is not None and batch.edit_count not in (0, len(sent.edits)):
            raise make_error(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"session {self.name} has a batch of {batch.edit_count} edits at offset {batch.offset}, this one has "
                f"{len(sent.edits)}: the session belongs to other edits; choose another name",
            )
        if self.is_done(batch):
            self._unfinished.pop(batch.offset, None)
            self._in_flight.discard(batch.offset)
        return batch

    def is_done(self, batch: edit_pb2.EditBatchStatus) -> bool:
        # A recorded VALIDATED is where a staged batch stays, whatever this stream asks for.
        staged_before = batch.replayed and batch.stage == edit_pb2.VALIDATED
        return staged_before or is_terminal(batch.stage, self._start.promotion)

    def untold(self) -> List[edit_pb2.GetEditBatchRequest]:
        """Of what to ask when all is flushed: batches whose outcome the stream did not tell."""
        return [edit_pb2.GetEditBatchRequest(session=self.name, offset=o) for o in sorted(self._unfinished)]

    def fetched(self, batch: edit_pb2.EditBatchStatus) -> edit_pb2.EditBatchStatus:
        self._unfinished.pop(batch.offset, None)
        return batch
