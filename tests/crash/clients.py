"""The traffic of the kill loop: clients that run until the server dies under them.

Each client is a thread that does one kind of thing for as long as it can, and
tells the log what it sent before it sends it and what it heard after that.
"""

import random
import threading
import traceback

import grpc

from amend.v1 import edit_pb2, edit_pb2_grpc, generation_pb2, generation_pb2_grpc
from amend.v1 import revision_pb2, revision_pb2_grpc
from tests.crash import log as logs
from tests.integration import harness, wire

_UNARY = "unary:"


class Edits:
    """Makes batches of edits of the demo model's facts."""

    def __init__(self, records, seed):
        self._records = records
        self._random = random.Random(seed)

    def batch(self, most=2, malformed=False):
        records = self._random.sample(self._records, self._random.randint(1, most))
        edits = [wire.edit_of(record) for record in records]
        if malformed:
            edits[-1].subject = "no such subject"
        return edits


class Traffic:
    """What the clients of one run of the server share."""

    def __init__(self, address, log, edits, prompts, seed):
        self.channel = grpc.insecure_channel(address)
        self.edits = edit_pb2_grpc.EditServiceStub(self.channel)
        self.revisions = revision_pb2_grpc.RevisionServiceStub(self.channel)
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.log = log
        self.source = edits
        self.prompts = prompts
        self.random = random.Random(seed)
        # Set before the server is killed: errors from then on are expected.
        self.over = threading.Event()
        self._threads = []

    def start(self):
        clients = [
            lambda: stream_edits(self, "promoting", staged=False),
            lambda: stream_edits(self, "strict", staged=False, reliability=1.0, locality=1.0),
            lambda: stream_edits(self, "staging", staged=True),
            lambda: stream_edits(self, "dropping", staged=False, drops=True, reliability=1.0),
            lambda: submit_edits(self),
            lambda: generate_live(self),
            lambda: generate_pinned(self),
            lambda: move_label(self),
            lambda: move_canary(self),
            lambda: cancel_batch(self),
            lambda: withdraw_edits(self),
            lambda: keep_revisions(self),
        ]
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]
        for thread in self._threads:
            thread.start()

    def _run(self, client):
        try:
            while not self.over.is_set():
                client()
        except grpc.RpcError as error:
            if not self.over.is_set():
                self.log.violated(f"while the server ran: {error.code()} {error.details()}\n{traceback.format_exc()}")
        except Exception:  # pylint: disable=broad-except
            self.log.violated(traceback.format_exc())

    def join(self):
        """After the server's death: every client has seen it."""
        for thread in self._threads:
            thread.join(harness.PATIENCE)
            if thread.is_alive():
                self.log.violated("a client still waits for a server that is dead")
        self.channel.close()


def resume(traffic, session, staged, drops=False, **thresholds):
    """Opens a session's stream and sends again what has no outcome. Returns the stream and what is in flight.

    With `drops`, edits that fail the gate are left out of their batches.
    """
    start = {
        "promotion": edit_pb2.STAGE_ONLY if staged else edit_pb2.PROMOTE_WHEN_VALIDATED,
        "failure_policy": edit_pb2.DROP_FAILING if drops else edit_pb2.ALL_OR_NOTHING,
        "thresholds": thresholds,
    }
    stream = wire.EditStream(traffic.channel, session, **start)
    try:
        traffic.log.started(session, stream.read().started.next_offset)
        in_flight = {batch.offset: batch for batch in traffic.log.unfinished(session)}
        for batch in in_flight.values():
            stream.send(batch.offset, batch.edits)
    except BaseException:
        stream.end()
        raise
    return stream, in_flight


def _read_batch(traffic, stream, in_flight):
    status = stream.read().batch
    traffic.log.heard(in_flight[status.offset], status)
    if logs.is_last(status) or status.HasField("error"):
        del in_flight[status.offset]


def stream_edits(traffic, session, staged, drops=False, **thresholds):
    """One connection of a session: takes up where the last one ended, and sends a few batches more."""
    choose = random.Random(traffic.random.random())
    stream, in_flight = resume(traffic, session, staged, drops, **thresholds)
    try:
        for _ in range(choose.randint(1, 8)):
            for _ in range(choose.randint(1, 3) - len(in_flight)):
                edits = traffic.source.batch(most=5 if drops else 2, malformed=choose.random() < 0.05)
                batch = traffic.log.send(session, edits, staged)
                in_flight[batch.offset] = batch
                stream.send(batch.offset, batch.edits)
            _read_batch(traffic, stream, in_flight)
    finally:
        # Some leave in the middle of everything; the rest is heard by the next connection.
        stream.end(gone=choose.random() < 0.5)


def finish_session(traffic, session, staged):
    """Until every batch of the session has its outcome."""
    stream, in_flight = resume(traffic, session, staged)
    try:
        while in_flight:
            _read_batch(traffic, stream, in_flight)
    finally:
        stream.end()


def _submit(traffic, batch, wait_for):
    request = edit_pb2.SubmitEditBatchRequest(
        batch={"edits": batch.edits},
        request_id=batch.session[len(_UNARY) :],
        promotion=edit_pb2.STAGE_ONLY if batch.staged else edit_pb2.PROMOTE_WHEN_VALIDATED,
        wait_for=wait_for,
    )
    status = traffic.edits.SubmitEditBatch(request, timeout=harness.PATIENCE).batch
    if status.stage == edit_pb2.SOLVING or status.stage == edit_pb2.STAGED:
        status.stage = edit_pb2.DURABLE
    traffic.log.heard(batch, status)


def submit_edits(traffic):
    """One unary request, or one of an earlier time again."""
    known = [b for session in traffic.log.sessions() if is_unary(session) for b in traffic.log.of_session(session)]
    if known and traffic.random.random() < 0.3:
        batch = traffic.random.choice(known)
    else:
        name = f"{_UNARY}request-{len(known)}"
        batch = traffic.log.send(name, traffic.source.batch(), staged=traffic.random.random() < 0.3)
    waits = traffic.random.choice([edit_pb2.DURABLE, edit_pb2.BATCH_STAGE_UNSPECIFIED])
    _submit(traffic, batch, waits)


def is_unary(session):
    return session.startswith(_UNARY)


def finish_request(traffic, batch):
    _submit(traffic, batch, edit_pb2.BATCH_STAGE_UNSPECIFIED)


def cancel_batch(traffic):
    """Cancels a batch that may be on its way, waiting, being solved or done; and some generation in between."""
    sent = [b for session in traffic.log.sessions() for b in traffic.log.unfinished(session)]
    if sent:
        batch = traffic.random.choice(sent)
        request = edit_pb2.CancelEditBatchRequest(session=batch.session, offset=batch.offset, reason=logs.CANCEL_REASON)
        try:
            traffic.log.heard(batch, traffic.edits.CancelEditBatch(request, timeout=harness.PATIENCE))
        except grpc.RpcError as error:
            if wire.reason_of(error) not in ("BATCH_CONCLUDED", "BATCH_NOT_FOUND"):
                raise
    for _ in range(traffic.random.randint(4, 20)):
        generate_live(traffic)


# Why a revision does not answer, and a label does not move there.
_GONE = {"REVISION_DELETED": "deleted", "REVISION_PURGED": "purged"}


def generate(traffic, prompt, revision=None, label=""):
    """A greedy answer, whole or streamed, from `revision` or what is live; the log compares it.

    With `label`, that stands at `revision`. A revision that is deleted or purged does not answer.
    """
    request = generation_pb2.GenerateRequest(prompt=prompt, max_new_tokens=6, logprobs=True)
    if label:
        request.at.label = label
    elif revision is not None:
        request.at.revision = revision
    seen = traffic.log.seen_marks(revision)
    try:
        if traffic.random.random() < 0.5:
            answers = [traffic.generation.Generate(request, timeout=harness.PATIENCE)]
        else:
            answers = list(traffic.generation.GenerateStream(request, timeout=harness.PATIENCE))
    except grpc.RpcError as error:
        gone = _GONE.get(wire.reason_of(error))
        if gone is None or revision is None or label:
            raise
        traffic.log.asked(revision, seen, gone)
        return
    if revision is not None:
        traffic.log.asked(revision, seen, "there")
    text = "".join(a.text for a in answers)
    tokens = tuple(t for a in answers for t in a.token_ids)
    logprobs = tuple(p for a in answers for p in a.logprobs)
    answered = answers[-1].revision
    if revision is not None and answered != revision:
        traffic.log.violated(f"revision {revision} was asked and {answered} answered")
    traffic.log.answered(answered, prompt, (text, tokens, logprobs))


def generate_live(traffic):
    generate(traffic, traffic.random.choice(traffic.prompts))


def generate_pinned(traffic):
    revision = traffic.random.choice(traffic.log.revisions_to_ask())
    generate(traffic, traffic.random.choice(traffic.prompts), revision)


def move_canary(traffic):
    """Sets the label "canary" to some revision and asks it, or deletes it."""
    log = traffic.log
    target = traffic.random.choice(log.revisions_to_ask())
    if log.canary[0] is not None and traffic.random.random() < 0.2:
        target = None
    verb = log.send_canary(target)
    try:
        if target is None:
            request = revision_pb2.DeleteLabelRequest(label="canary", reason=verb.reason)
            traffic.revisions.DeleteLabel(request, timeout=harness.PATIENCE)
        else:
            request = revision_pb2.SetLabelRequest(label="canary", revision=target, reason=verb.reason)
            traffic.revisions.SetLabel(request, timeout=harness.PATIENCE)
    except grpc.RpcError as error:
        if target is None or wire.reason_of(error) not in _GONE:
            raise
        return log.canary_refused(verb)
    log.canary_moved(verb)
    for _ in range(traffic.random.randint(1, 4)):
        if target is None:
            generate_live(traffic)
        else:
            generate(traffic, traffic.random.choice(traffic.prompts), target, label="canary")
    return None


# Why a promotion or rollback may be turned down; nothing has moved then.
_REFUSALS = {"LIVE_CHANGED", "SAME_REVISION", "NOT_EARLIER", "NO_PREVIOUS_REVISION", *_GONE}


def _live(traffic):
    first = revision_pb2.ListRevisionsRequest(page_size=1)
    live = traffic.revisions.ListRevisions(first, timeout=harness.PATIENCE).live
    traffic.log.saw_label(live)
    return live


def move_label(traffic):
    """One promotion or rollback, with or without an etag, and generation in between."""
    live = _live(traffic)
    etag = live.etag if traffic.random.random() < 0.5 else ""
    target = traffic.random.choice(traffic.log.revisions_to_ask())
    rolls_back = target < live.revision or traffic.random.random() < 0.2
    if rolls_back and traffic.random.random() < 0.3:
        target = None
    verb = traffic.log.send_verb("rollback" if rolls_back else "promote")
    move = traffic.log.send_move(verb, target)
    try:
        if rolls_back:
            where = {"previous": True} if target is None else {"revision": target}
            request = revision_pb2.RollbackRequest(reason=verb.reason, etag=etag, **where)
            response = traffic.revisions.Rollback(request, timeout=harness.PATIENCE)
        else:
            request = revision_pb2.PromoteRequest(revision=target, etag=etag, reason=verb.reason)
            response = traffic.revisions.Promote(request, timeout=harness.PATIENCE)
    except grpc.RpcError as error:
        if wire.reason_of(error) not in _REFUSALS:
            raise
        return traffic.log.refused(move)
    if response.previous_revision == response.label.revision:
        # It stood there already: no move.
        return traffic.log.refused(move)
    traffic.log.moved(move, response.label)
    for _ in range(traffic.random.randint(0, 4)):
        generate_live(traffic)
    return None


# Why a withdrawal may be turned down without a revision.
_NOT_WITHDRAWN = {"LIVE_CHANGED", "NOT_AT_LABEL", "EDIT_NOT_ON_LINE", "ALREADY_WITHDRAWN", "EDIT_NOT_FOUND", *_GONE}


def _choose_edits(traffic, revision):
    """One or two edits of a revision's line, as (revision, place); rarely one that does not exist."""
    request = revision_pb2.CompareRevisionsRequest(base_revision=0, revision=revision, page_size=1000)
    line = traffic.revisions.CompareRevisions(request, timeout=harness.PATIENCE).differences
    edits = [(difference.revision, difference.edit_index) for difference in line]
    chosen = traffic.random.sample(edits, min(len(edits), traffic.random.randint(1, 2)))
    if chosen and traffic.random.random() < 0.05:
        chosen[0] = (chosen[0][0], 99)
    return tuple(chosen)


def withdraw_edits(traffic):
    """Takes edits back of what is live, which then moves, or of any revision, staged."""
    log = traffic.log
    live = _live(traffic)
    at = traffic.random.choice(log.revisions_to_ask()) if traffic.random.random() < 0.4 else None
    edits = _choose_edits(traffic, live.revision if at is None else at)
    if edits:
        _withdraw(traffic, edits, at, live.etag if traffic.random.random() < 0.3 else "")
    for _ in range(traffic.random.randint(1, 4)):
        generate_live(traffic)


def _withdraw(traffic, edits, at, etag):
    log = traffic.log
    verb = log.send_verb("withdraw", edits=edits, at=at)
    move = log.send_move(verb, None) if at is None else None
    where = {} if at is None else {"revision": at}
    request = revision_pb2.WithdrawEditsRequest(
        edits=[edit_pb2.EditReference(revision=r, edit_index=i) for r, i in edits],
        reason=verb.reason,
        etag=etag,
        promotion=edit_pb2.PROMOTE_WHEN_VALIDATED if at is None else edit_pb2.STAGE_ONLY,
        **where,
    )
    try:
        response = traffic.revisions.WithdrawEdits(request, timeout=harness.PATIENCE)
    except grpc.RpcError as error:
        if wire.reason_of(error) not in _NOT_WITHDRAWN:
            raise
        if move is not None:
            log.refused(move)
        return log.answered_verb(verb, [])
    log.withdrawn(verb, response.revision)
    if move is not None and response.revision.state == revision_pb2.Revision.VALIDATED:
        log.moved(move, response.label)
    elif move is not None:
        log.refused(move)
    return None


def keep_revisions(traffic):
    """Pins, deletes, brings back or purges, and asks the revision what has become of it."""
    known = traffic.log.revisions_to_mark()
    if traffic.random.random() < 0.05:
        purge(traffic)
    elif known:
        revision = traffic.random.choice(sorted(known))
        choices = ["pin", "unpin", "delete", "delete"]
        if "there" not in known[revision]:
            choices = ["pin", "unpin", "delete", "undelete", "undelete", "undelete"]
        mark(traffic, traffic.random.choice(choices), revision)
        generate(traffic, traffic.random.choice(traffic.prompts), revision)
    generate_live(traffic)


def mark(traffic, name, revision):
    stub = traffic.revisions
    call, message = {
        "pin": (stub.PinRevision, revision_pb2.PinRevisionRequest),
        "unpin": (stub.UnpinRevision, revision_pb2.UnpinRevisionRequest),
        "delete": (stub.DeleteRevision, revision_pb2.DeleteRevisionRequest),
        "undelete": (stub.UndeleteRevision, revision_pb2.UndeleteRevisionRequest),
    }[name]
    sent = traffic.log.send_mark(name, revision)
    try:
        answer = call(message(revision=revision, reason=sent[0].reason), timeout=harness.PATIENCE)
    except grpc.RpcError as error:
        reason = wire.reason_of(error)
        if reason not in logs.MARK_REFUSALS:
            raise
        return traffic.log.mark_refused(sent, revision, reason)
    return traffic.log.marked(sent, answer)


def purge(traffic):
    sent = traffic.log.send_purge()
    request = revision_pb2.PurgeRevisionsRequest(without_delay=True, reason=sent[0].reason)
    traffic.log.purged(sent, traffic.revisions.PurgeRevisions(request, timeout=harness.PATIENCE).revisions)
