"""The client whose calls block."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import grpc
from amend.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    edit_pb2,
    edit_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    revision_pb2,
    revision_pb2_grpc,
)

from amend_client import requests
from amend_client.channel import CHANNEL_OPTIONS, GenerateOptions, Metadata
from amend_client.errors import AmendError, from_rpc_error, make_error
from amend_client.requests import At, EditPlace
from amend_client.security import token_metadata
from amend_client.session import BatchLike, EditSession, Retries, RetryPolicy, SourceError

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Client:
    """A connection to one Amend server. Thread-safe.

    Calls block until the server has answered and raise AmendError. Nothing is sent twice by itself but edits, which
    session and offset (or a request id) make safe. Does not connect yet: a server that is not there shows in the first
    call. Messages are those of amend.v1, see proto/amend/v1.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        credentials: Optional[grpc.ChannelCredentials] = None,
        token: Optional[str] = None,
        metadata: Metadata = (),
        timeout: Optional[float] = None,
        retries: RetryPolicy = RetryPolicy(),
    ):
        """Args:
        address: HOST:PORT.
        credentials: of TLS, see tls(); without them the connection is in clear text.
        token: a bearer token that says who calls.
        metadata: sent with each call.
        timeout: seconds for calls that are given none of their own; None waits for ever. Not for streams.
        retries: for lost connections of edit() and stream_edits().
        """
        self._metadata = (*metadata, *token_metadata(token, address, credentials is not None))
        if credentials is None:
            self._channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)
        self.address = address
        self._timeout = timeout
        self._retries = retries
        self._edits = edit_pb2_grpc.EditServiceStub(self._channel)
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._revisions = revision_pb2_grpc.RevisionServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._channel)

    def close(self) -> None:
        """Ends all calls."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _call(self, method: Any, request: Any, timeout: Optional[float] = None) -> Any:
        try:
            return method(request, timeout=self._timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def _call_again(self, method: Any, request: Any, timeout: Optional[float]) -> Any:
        """For requests that are idempotent: a lost connection is tried again until the time is over."""
        timeout = self._timeout if timeout is None else timeout
        end = None if timeout is None else time.monotonic() + timeout
        retries = Retries(self._retries)
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                return method(request, timeout=left, metadata=self._metadata)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                pause = retries.pause_after(failure)
                if end is not None and time.monotonic() + pause >= end:
                    raise failure from error
            time.sleep(pause)

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        while True:
            page = self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _messages(self, method: Any, request: Any, timeout: Optional[float]) -> Iterator[Any]:
        call = method(request, timeout=timeout, metadata=self._metadata)
        try:
            for message in call:
                yield message
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    # Edits.

    def edit(
        self,
        edits: BatchLike,
        *,
        wait_for: int = edit_pb2.BATCH_STAGE_UNSPECIFIED,
        promotion: int = edit_pb2.PROMOTE_WHEN_VALIDATED,
        failure_policy: int = edit_pb2.ALL_OR_NOTHING,
        thresholds: Optional[edit_pb2.GateThresholds] = None,
        request_id: Optional[str] = None,
        validate_only: bool = False,
        timeout: Optional[float] = None,
    ) -> edit_pb2.EditBatchStatus:
        """Sends one batch and waits until it is in a terminal stage, or in `wait_for` (DURABLE, STAGED, ...).

        The verdict of each edit is in `edit_results`. A batch that the gate REJECTED is a result, not an error; one with
        a malformed edit raises InvalidArgument. A lost connection is tried again under the same `request_id`: nothing is
        done twice. `timeout` is in seconds, over all attempts.
        """
        request = requests.submit(
            edits, wait_for, promotion, failure_policy, thresholds, request_id, validate_only
        )
        response = self._call_again(self._edits.SubmitEditBatch, request, timeout)
        return response.batch

    def stream_edits(
        self,
        batches: Iterable[BatchLike],
        *,
        session: Optional[str] = None,
        promotion: int = edit_pb2.PROMOTE_WHEN_VALIDATED,
        failure_policy: int = edit_pb2.ALL_OR_NOTHING,
        thresholds: Optional[edit_pb2.GateThresholds] = None,
    ) -> Iterator[edit_pb2.EditBatchStatus]:
        """Sends batches as offsets 0, 1, 2, ... of a session; yields each stage of each batch as it comes.

        Ends when every batch has its outcome; a batch that was rejected or failed is a result, not an error. When the
        connection breaks, connects again and sends what has no outcome yet, at the same offsets: the server does nothing
        twice and answers with what it recorded, so a stage may be told again (`replayed`). The same batches under the
        same `session` resume in another process just so.

        `batches` is asked for the next one, on the caller's thread, whenever the server has credit for it. A source that
        waits between batches holds the answers up meanwhile: AsyncClient takes such a source as an async iterable.
        """
        edits = EditSession(requests.start(session, promotion, failure_policy, thresholds))
        source = iter(batches)
        retries = Retries(self._retries)
        while True:
            try:
                yield from self._run_connection(edits, source, retries)
                return
            except SourceError as error:
                raise error.cause from None
            except grpc.RpcError as error:
                time.sleep(retries.pause_after(from_rpc_error(error)))
            except AmendError as error:
                time.sleep(retries.pause_after(error))

    def _run_connection(
        self, edits: EditSession, source: Iterator[BatchLike], retries: Retries
    ) -> Iterator[edit_pb2.EditBatchStatus]:
        outgoing: queue.SimpleQueue = queue.SimpleQueue()
        call = self._edits.StreamEdits(iter(outgoing.get, None), metadata=self._metadata)
        try:
            outgoing.put(edits.connected())
            for response in call:
                batch = edits.receive(response)
                _send(edits, source, outgoing)
                if batch is not None:
                    if edits.is_done(batch):
                        retries.progress()
                    yield batch
                if edits.flushed:
                    outgoing.put(None)
            if not edits.flushed:
                raise make_error(
                    grpc.StatusCode.UNAVAILABLE, "the server ended the stream before its answers were complete"
                )
        finally:
            outgoing.put(None)
            call.cancel()
        for request in edits.untold():
            yield edits.fetched(self._edits.GetEditBatch(request, metadata=self._metadata))

    def batch(self, session: str, offset: int = 0) -> edit_pb2.EditBatchStatus:
        """Where one batch stands."""
        return self._call(
            self._edits.GetEditBatch, edit_pb2.GetEditBatchRequest(session=session, offset=offset)
        )

    def batches(self, session: str) -> Iterator[edit_pb2.EditBatchStatus]:
        """The batches of a session in the order of their offsets."""
        request = edit_pb2.ListEditBatchesRequest(session=session)
        for page in self._pages(self._edits.ListEditBatches, request):
            for batch in page.batches:
                yield batch

    def cancel_batch(self, session: str, offset: int = 0, *, reason: str = "") -> edit_pb2.EditBatchStatus:
        """Ends a batch that has no outcome yet: it becomes FAILED (CANCELLED_BY_CLIENT)."""
        request = edit_pb2.CancelEditBatchRequest(session=session, offset=offset, reason=reason)
        return self._call(self._edits.CancelEditBatch, request)

    # Generation.

    def generate(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        timeout: Optional[float] = None,
        **options: Unpack[GenerateOptions],
    ) -> generation_pb2.GenerateResponse:
        """The whole continuation of a prompt, or of token ids. `at` chooses a revision's number or a label."""
        return self._call(self._generation.Generate, requests.generate(prompt, **options), timeout)

    def stream(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        timeout: Optional[float] = None,
        **options: Unpack[GenerateOptions],
    ) -> Iterator[generation_pb2.GenerateStreamResponse]:
        """The same as it is made. The last message has `finish_reason`, `usage` and `timings`."""
        request = requests.generate(prompt, **options)
        for message in self._messages(self._generation.GenerateStream, request, timeout):
            yield message

    def score(
        self, items: Iterable[Tuple[str, str]], *, at: At = None, timeout: Optional[float] = None
    ) -> generation_pb2.ScoreResponse:
        """Log probabilities of continuations: `items` are (prompt, continuation), 1 to 1024 of them."""
        return self._call(self._generation.Score, requests.score(items, at), timeout)

    def tokenize(self, text: str) -> generation_pb2.TokenizeResponse:
        return self._call(self._generation.Tokenize, generation_pb2.TokenizeRequest(text=text))

    # Revisions and labels.

    def revision(self, at: At = None) -> revision_pb2.Revision:
        """One revision, with its edits and verdicts: a number, a label, or what is live."""
        return self._call(self._revisions.GetRevision, requests.get_revision(at))

    def revisions(self) -> Iterator[revision_pb2.Revision]:
        """All revisions, newest first, without their edits."""
        request = revision_pb2.ListRevisionsRequest()
        for page in self._pages(self._revisions.ListRevisions, request):
            for revision in page.revisions:
                yield revision

    def promote(
        self, revision: int, *, label: str = "", etag: str = "", reason: str = ""
    ) -> revision_pb2.PromoteResponse:
        """Moves "live", or `label`, to a validated revision; with `etag` only if the label has not moved since."""
        request = revision_pb2.PromoteRequest(revision=revision, label=label, etag=etag, reason=reason)
        return self._call(self._revisions.Promote, request)

    def rollback(
        self, *, reason: str, to: Optional[int] = None, label: str = "", etag: str = ""
    ) -> revision_pb2.RollbackResponse:
        """Moves "live", or `label`, back: to revision `to`, or to the one before."""
        return self._call(self._revisions.Rollback, requests.rollback(to, reason, label, etag))

    def withdraw(
        self,
        edits: Iterable[EditPlace],
        *,
        reason: str,
        at: At = None,
        etag: str = "",
        promotion: int = edit_pb2.PROMOTE_WHEN_VALIDATED,
        validate_only: bool = False,
        timeout: Optional[float] = None,
    ) -> revision_pb2.WithdrawEditsResponse:
        """Takes single edits back: (revision, place in its edits). The gate judges the revision without them."""
        request = requests.withdraw(edits, reason, at, etag, promotion, validate_only)
        return self._call(self._revisions.WithdrawEdits, request, timeout)

    def compare(self, base: int, revision: int) -> Iterator[revision_pb2.RevisionDifference]:
        """The edits that one line has and the other has not."""
        request = revision_pb2.CompareRevisionsRequest(base_revision=base, revision=revision)
        for page in self._pages(self._revisions.CompareRevisions, request):
            for difference in page.differences:
                yield difference

    def validate(
        self, revision: int, *, thresholds: Optional[edit_pb2.GateThresholds] = None, timeout: Optional[float] = None
    ) -> revision_pb2.ValidateRevisionResponse:
        """Runs the gate once more; changes nothing."""
        request = revision_pb2.ValidateRevisionRequest(revision=revision, thresholds=thresholds)
        return self._call(self._revisions.ValidateRevision, request, timeout)

    def watch(self) -> Iterator[revision_pb2.WatchRevisionsResponse]:
        """Where revisions and labels stand, then every change; ends only with an error or when it is closed."""
        request = revision_pb2.WatchRevisionsRequest()
        for message in self._messages(self._revisions.WatchRevisions, request, None):
            yield message

    def labels(self) -> Dict[str, revision_pb2.Label]:
        response = self._call(self._revisions.ListLabels, revision_pb2.ListLabelsRequest())
        return {label.name: label for label in response.labels}

    def set_label(
        self, label: str, revision: int, *, etag: str = "", reason: str = ""
    ) -> revision_pb2.SetLabelResponse:
        """Makes a label beside "live", or moves it; etag "0" only makes it."""
        request = revision_pb2.SetLabelRequest(label=label, revision=revision, etag=etag, reason=reason)
        return self._call(self._revisions.SetLabel, request)

    def delete_label(self, label: str, *, etag: str = "", reason: str = "") -> revision_pb2.Label:
        request = revision_pb2.DeleteLabelRequest(label=label, etag=etag, reason=reason)
        response = self._call(self._revisions.DeleteLabel, request)
        return response.label

    def pin(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        """It is neither deleted nor purged from now on."""
        request = revision_pb2.PinRevisionRequest(revision=revision, reason=reason)
        return self._call(self._revisions.PinRevision, request)

    def unpin(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        request = revision_pb2.UnpinRevisionRequest(revision=revision, reason=reason)
        return self._call(self._revisions.UnpinRevision, request)

    def delete(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        """The revision serves no more; undelete() brings it back until it is purged."""
        request = revision_pb2.DeleteRevisionRequest(revision=revision, reason=reason)
        return self._call(self._revisions.DeleteRevision, request)

    def undelete(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        request = revision_pb2.UndeleteRevisionRequest(revision=revision, reason=reason)
        return self._call(self._revisions.UndeleteRevision, request)

    def audit(self) -> Iterator[revision_pb2.AuditRecord]:
        """Who did what to revisions and labels, and why; newest first."""
        request = revision_pb2.ListAuditRecordsRequest()
        for page in self._pages(self._revisions.ListAuditRecords, request):
            for record in page.records:
                yield record

    # The server.

    def server_info(self) -> admin_pb2.ServerInfo:
        return self._call(self._admin.GetServerInfo, admin_pb2.GetServerInfoRequest())

    def backup(self, *, timeout: Optional[float] = None) -> admin_pb2.Backup:
        """Makes a backup in the server's backup directory; returns when it is on disk."""
        return self._call(self._admin.CreateBackup, admin_pb2.CreateBackupRequest(), timeout)

    def backups(self) -> List[admin_pb2.Backup]:
        response = self._call(self._admin.ListBackups, admin_pb2.ListBackupsRequest())
        return list(response.backups)


def _send(edits: EditSession, source: Iterator[BatchLike], outgoing: queue.SimpleQueue) -> None:
    """Hands over what there is credit for."""
    while True:
        if edits.wants_batch():
            try:
                edits.add(next(source))
            except StopIteration:
                edits.complete()
            except Exception as error:
                raise SourceError(error) from error
        request = edits.next_request()
        if request is None:
            return
        outgoing.put(request)
