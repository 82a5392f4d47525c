"""The client for asyncio: Client's methods as coroutines and async iterators."""

from __future__ import annotations

import asyncio
import time
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterable,
    AsyncIterator,
    Dict,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
)

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


class AsyncClient:
    """A connection to one Amend server, for one event loop. See Client for what its methods promise."""

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
        """As Client's. Call it where the event loop runs."""
        self._metadata = (*metadata, *token_metadata(token, address, credentials is not None))
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, CHANNEL_OPTIONS)
        self.address = address
        self._timeout = timeout
        self._retries = retries
        self._edits = edit_pb2_grpc.EditServiceStub(self._channel)
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._revisions = revision_pb2_grpc.RevisionServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._channel)

    async def close(self) -> None:
        """Ends all calls."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any, timeout: Optional[float] = None) -> Any:
        try:
            return await method(request, timeout=self._timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    async def _call_again(self, method: Any, request: Any, timeout: Optional[float]) -> Any:
        """For requests that are idempotent: a lost connection is tried again until the time is over."""
        timeout = self._timeout if timeout is None else timeout
        end = None if timeout is None else time.monotonic() + timeout
        retries = Retries(self._retries)
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                return await method(request, timeout=left, metadata=self._metadata)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                pause = retries.pause_after(failure)
                if end is not None and time.monotonic() + pause >= end:
                    raise failure from error
            await asyncio.sleep(pause)

    async def _pages(self, method: Any, request: Any) -> AsyncIterator[Any]:
        while True:
            page = await self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _messages(self, method: Any, request: Any, timeout: Optional[float]) -> AsyncIterator[Any]:
        call = method(request, timeout=timeout, metadata=self._metadata)
        try:
            async for message in call:
                yield message
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    # Edits.

    async def edit(
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
        response = await self._call_again(self._edits.SubmitEditBatch, request, timeout)
        return response.batch

    async def stream_edits(
        self,
        batches: Union[Iterable[BatchLike], AsyncIterable[BatchLike]],
        *,
        session: Optional[str] = None,
        promotion: int = edit_pb2.PROMOTE_WHEN_VALIDATED,
        failure_policy: int = edit_pb2.ALL_OR_NOTHING,
        thresholds: Optional[edit_pb2.GateThresholds] = None,
    ) -> AsyncIterator[edit_pb2.EditBatchStatus]:
        """As Client.stream_edits(). A source that waits for its next batch holds nothing up."""
        edits = EditSession(requests.start(session, promotion, failure_policy, thresholds))
        source = _Source(batches)
        retries = Retries(self._retries)
        try:
            while True:
                try:
                    async for batch in self._run_connection(edits, source, retries):
                        yield batch
                    return
                except SourceError as error:
                    raise error.cause from None
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                except AmendError as error:
                    failure = error
                await asyncio.sleep(retries.pause_after(failure))
        finally:
            source.close()

    async def _run_connection(
        self, edits: EditSession, source: _Source, retries: Retries
    ) -> AsyncIterator[edit_pb2.EditBatchStatus]:
        call = self._edits.StreamEdits(metadata=self._metadata)
        outgoing: asyncio.Queue = asyncio.Queue()
        writer = asyncio.ensure_future(_write(call, outgoing))
        read = None
        try:
            outgoing.put_nowait(edits.connected())
            while True:
                read = read or asyncio.ensure_future(call.read())
                waited = [read, source.next()] if edits.wants_batch() else [read]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if edits.wants_batch() and source.next().done():
                    source.move_to(edits)
                batch = None
                if read.done():
                    response, read = read.result(), None
                    if response is grpc.aio.EOF:
                        break
                    batch = edits.receive(response)
                    if edits.flushed:
                        outgoing.put_nowait(None)
                for request in iter(edits.next_request, None):
                    outgoing.put_nowait(request)
                if batch is not None:
                    if edits.is_done(batch):
                        retries.progress()
                    yield batch
            if await call.code() is not grpc.StatusCode.OK:
                raise make_error(await call.code(), await call.details())
            if not edits.flushed:
                raise make_error(
                    grpc.StatusCode.UNAVAILABLE, "the server ended the stream before its answers were complete"
                )
        finally:
            # A read that is waited for no more would tell of its end in the log.
            for task in (writer, read):
                if task is not None:
                    task.cancel()
            call.cancel()
        for request in edits.untold():
            yield edits.fetched(await self._edits.GetEditBatch(request, metadata=self._metadata))

    async def batch(self, session: str, offset: int = 0) -> edit_pb2.EditBatchStatus:
        """Where one batch stands."""
        return await self._call(
            self._edits.GetEditBatch, edit_pb2.GetEditBatchRequest(session=session, offset=offset)
        )

    async def batches(self, session: str) -> AsyncIterator[edit_pb2.EditBatchStatus]:
        """The batches of a session in the order of their offsets."""
        request = edit_pb2.ListEditBatchesRequest(session=session)
        async for page in self._pages(self._edits.ListEditBatches, request):
            for batch in page.batches:
                yield batch

    async def cancel_batch(self, session: str, offset: int = 0, *, reason: str = "") -> edit_pb2.EditBatchStatus:
        """Ends a batch that has no outcome yet: it becomes FAILED (CANCELLED_BY_CLIENT)."""
        request = edit_pb2.CancelEditBatchRequest(session=session, offset=offset, reason=reason)
        return await self._call(self._edits.CancelEditBatch, request)

    # Generation.

    async def generate(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        timeout: Optional[float] = None,
        **options: Unpack[GenerateOptions],
    ) -> generation_pb2.GenerateResponse:
        """The whole continuation of a prompt, or of token ids. `at` chooses a revision's number or a label."""
        return await self._call(self._generation.Generate, requests.generate(prompt, **options), timeout)

    async def stream(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        timeout: Optional[float] = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncIterator[generation_pb2.GenerateStreamResponse]:
        """The same as it is made. The last message has `finish_reason`, `usage` and `timings`."""
        request = requests.generate(prompt, **options)
        async for message in self._messages(self._generation.GenerateStream, request, timeout):
            yield message

    async def score(
        self, items: Iterable[Tuple[str, str]], *, at: At = None, timeout: Optional[float] = None
    ) -> generation_pb2.ScoreResponse:
        """Log probabilities of continuations: `items` are (prompt, continuation), 1 to 1024 of them."""
        return await self._call(self._generation.Score, requests.score(items, at), timeout)

    async def tokenize(self, text: str) -> generation_pb2.TokenizeResponse:
        return await self._call(self._generation.Tokenize, generation_pb2.TokenizeRequest(text=text))

    # Revisions and labels.

    async def revision(self, at: At = None) -> revision_pb2.Revision:
        """One revision, with its edits and verdicts: a number, a label, or what is live."""
        return await self._call(self._revisions.GetRevision, requests.get_revision(at))

    async def revisions(self) -> AsyncIterator[revision_pb2.Revision]:
        """All revisions, newest first, without their edits."""
        request = revision_pb2.ListRevisionsRequest()
        async for page in self._pages(self._revisions.ListRevisions, request):
            for revision in page.revisions:
                yield revision

    async def promote(
        self, revision: int, *, label: str = "", etag: str = "", reason: str = ""
    ) -> revision_pb2.PromoteResponse:
        """Moves "live", or `label`, to a validated revision; with `etag` only if the label has not moved since."""
        request = revision_pb2.PromoteRequest(revision=revision, label=label, etag=etag, reason=reason)
        return await self._call(self._revisions.Promote, request)

    async def rollback(
        self, *, reason: str, to: Optional[int] = None, label: str = "", etag: str = ""
    ) -> revision_pb2.RollbackResponse:
        """Moves "live", or `label`, back: to revision `to`, or to the one before."""
        return await self._call(self._revisions.Rollback, requests.rollback(to, reason, label, etag))

    async def withdraw(
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
        return await self._call(self._revisions.WithdrawEdits, request, timeout)

    async def compare(self, base: int, revision: int) -> AsyncIterator[revision_pb2.RevisionDifference]:
        """The edits that one line has and the other has not."""
        request = revision_pb2.CompareRevisionsRequest(base_revision=base, revision=revision)
        async for page in self._pages(self._revisions.CompareRevisions, request):
            for difference in page.differences:
                yield difference

    async def validate(
        self, revision: int, *, thresholds: Optional[edit_pb2.GateThresholds] = None, timeout: Optional[float] = None
    ) -> revision_pb2.ValidateRevisionResponse:
        """Runs the gate once more; changes nothing."""
        request = revision_pb2.ValidateRevisionRequest(revision=revision, thresholds=thresholds)
        return await self._call(self._revisions.ValidateRevision, request, timeout)

    async def watch(self) -> AsyncIterator[revision_pb2.WatchRevisionsResponse]:
        """Where revisions and labels stand, then every change; ends only with an error or when it is closed."""
        request = revision_pb2.WatchRevisionsRequest()
        async for message in self._messages(self._revisions.WatchRevisions, request, None):
            yield message

    async def labels(self) -> Dict[str, revision_pb2.Label]:
        response = await self._call(self._revisions.ListLabels, revision_pb2.ListLabelsRequest())
        return {label.name: label for label in response.labels}

    async def set_label(
        self, label: str, revision: int, *, etag: str = "", reason: str = ""
    ) -> revision_pb2.SetLabelResponse:
        """Makes a label beside "live", or moves it; etag "0" only makes it."""
        request = revision_pb2.SetLabelRequest(label=label, revision=revision, etag=etag, reason=reason)
        return await self._call(self._revisions.SetLabel, request)

    async def delete_label(self, label: str, *, etag: str = "", reason: str = "") -> revision_pb2.Label:
        request = revision_pb2.DeleteLabelRequest(label=label, etag=etag, reason=reason)
        response = await self._call(self._revisions.DeleteLabel, request)
        return response.label

    async def pin(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        """It is neither deleted nor purged from now on."""
        request = revision_pb2.PinRevisionRequest(revision=revision, reason=reason)
        return await self._call(self._revisions.PinRevision, request)

    async def unpin(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        request = revision_pb2.UnpinRevisionRequest(revision=revision, reason=reason)
        return await self._call(self._revisions.UnpinRevision, request)

    async def delete(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        """The revision serves no more; undelete() brings it back until it is purged."""
        request = revision_pb2.DeleteRevisionRequest(revision=revision, reason=reason)
        return await self._call(self._revisions.DeleteRevision, request)

    async def undelete(self, revision: int, *, reason: str = "") -> revision_pb2.Revision:
        request = revision_pb2.UndeleteRevisionRequest(revision=revision, reason=reason)
        return await self._call(self._revisions.UndeleteRevision, request)

    async def audit(self) -> AsyncIterator[revision_pb2.AuditRecord]:
        """Who did what to revisions and labels, and why; newest first."""
        request = revision_pb2.ListAuditRecordsRequest()
        async for page in self._pages(self._revisions.ListAuditRecords, request):
            for record in page.records:
                yield record

    # The server.

    async def server_info(self) -> admin_pb2.ServerInfo:
        return await self._call(self._admin.GetServerInfo, admin_pb2.GetServerInfoRequest())

    async def backup(self, *, timeout: Optional[float] = None) -> admin_pb2.Backup:
        """Makes a backup in the server's backup directory; returns when it is on disk."""
        return await self._call(self._admin.CreateBackup, admin_pb2.CreateBackupRequest(), timeout)

    async def backups(self) -> List[admin_pb2.Backup]:
        response = await self._call(self._admin.ListBackups, admin_pb2.ListBackupsRequest())
        return list(response.backups)


class _Source:
    """The caller's batches, one asked for at a time. What was asked for outlives a connection."""

    def __init__(self, batches: Union[Iterable[BatchLike], AsyncIterable[BatchLike]]):
        self._iterator = batches.__aiter__() if hasattr(batches, "__aiter__") else _each(batches)
        self._next: Optional[asyncio.Future] = None

    def next(self) -> asyncio.Future:
        if self._next is None:
            self._next = asyncio.ensure_future(self._take())
        return self._next

    def move_to(self, edits: EditSession) -> None:
        """Of a next() that is done."""
        done, self._next = self.next(), None
        batch = done.result()
        if batch is None:
            edits.complete()
        else:
            edits.add(batch)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()

    async def _take(self) -> Optional[BatchLike]:
        try:
            return await self._iterator.__anext__()
        except StopAsyncIteration:
            return None
        except Exception as error:
            raise SourceError(error) from error


async def _each(batches: Iterable[BatchLike]) -> AsyncIterator[BatchLike]:
    for batch in batches:
        yield batch


async def _write(call: Any, outgoing: asyncio.Queue) -> None:
    """Reading never waits for writing, nor the other way round. A stream that broke is the reader's to tell."""
    try:
        while True:
            request = await outgoing.get()
            if request is None:
                await call.done_writing()
                return
            await call.write(request)
    except (grpc.RpcError, asyncio.InvalidStateError):
        pass
