"""Holds a restarted server against the log of its clients.

read() takes what the server says of itself; the check_* functions compare that
with the log and return one line per thing that must not be.
"""

import collections
import dataclasses

from amend.v1 import edit_pb2, revision_pb2
from tests.crash.log import comparable, is_last

# Reads that try to see a state in which nothing moves meanwhile.
_TRIES = 200

_STATE_OF_STAGE = {
    edit_pb2.LIVE: revision_pb2.Revision.VALIDATED,
    edit_pb2.VALIDATED: revision_pb2.Revision.VALIDATED,
    edit_pb2.REJECTED: revision_pb2.Revision.REJECTED,
}


@dataclasses.dataclass
class State:
    """One moment of a server's store, as its RPCs tell it."""

    live: int
    generation: int
    # Where the label "canary" stands; None where there is none.
    canary: object
    # By number; what ListRevisions gives.
    revisions: dict
    # By session: the statuses from offset 0 on.
    ledger: dict

    def batches(self):
        return {(b.session, b.offset): b for listed in self.ledger.values() for b in listed}


def list_revisions(stub):
    """All pages, newest first, and the label as it was told with the first one."""
    response = stub.ListRevisions(revision_pb2.ListRevisionsRequest(page_size=1000))
    live, revisions = response.live, list(response.revisions)
    while response.next_page_token:
        request = revision_pb2.ListRevisionsRequest(page_size=1000, page_token=response.next_page_token)
        response = stub.ListRevisions(request)
        revisions += response.revisions
    return live, revisions


def list_batches(stub, session):
    request = edit_pb2.ListEditBatchesRequest(session=session, page_size=1000)
    batches = []
    while True:
        response = stub.ListEditBatches(request)
        batches += response.batches
        if not response.next_page_token:
            return batches
        request.page_token = response.next_page_token


def read(edits, revisions, sessions):
    """A state that held while it was read: batches that the start left to solve may still come to their end."""
    before = list_revisions(revisions)
    for _ in range(_TRIES):
        ledger = {session: list_batches(edits, session) for session in sessions}
        labels = revisions.ListLabels(revision_pb2.ListLabelsRequest()).labels
        after = list_revisions(revisions)
        if after == before:
            live, listed = after
            canary = next((label.revision for label in labels if label.name == "canary"), None)
            return State(live.revision, int(live.etag), canary, {r.revision: r for r in listed}, ledger)
        before = after
    raise AssertionError(f"the server did not come to rest in {_TRIES} reads")


def check_ledger(state, log):
    """Every batch whose DURABLE or outcome was told is there, offsets have no gaps, outcomes stay."""
    for session, listed in state.ledger.items():
        sent = log.of_session(session)
        offsets = [b.offset for b in listed]
        if offsets != list(range(len(listed))):
            yield f"session {session} has offsets {offsets}"
        if len(listed) > len(sent):
            yield f"session {session} has {len(listed)} batches, {len(sent)} were sent"
        for batch in sent[len(listed) :]:
            if batch.durable or batch.outcome is not None:
                yield f"{batch.name} was acknowledged and is lost"
        for batch, status in zip(sent, listed):
            if status.edit_count != len(batch.edits):
                yield f"{batch.name} has {status.edit_count} edits, {len(batch.edits)} were sent"
            if batch.outcome is not None and not is_last(status):
                yield f"{batch.name} was told to have come to its end and is {status}"
            elif is_last(status):
                log.finished(batch, status)
        made = [b.revision for b in listed if b.stage in _STATE_OF_STAGE]
        if made != sorted(set(made)):
            yield f"session {session} became revisions {made}: not in the order of its offsets"


def check_revisions(state, log):
    """Revisions have no gaps, fit their batches and parents, and never change."""
    numbers = sorted(state.revisions)
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"revisions are {numbers}"
    for number, known in log.records.items():
        if number not in state.revisions:
            yield f"revision {number} was there and is lost"
        elif _without_labels(state.revisions[number]) != known:
            yield f"revision {number} was\n{known}and now is\n{state.revisions[number]}"
    for number in log.served - {0}:
        if number not in state.revisions or state.revisions[number].state != revision_pb2.Revision.VALIDATED:
            yield f"revision {number} has served and is {state.revisions.get(number, 'lost')}"
    batches = state.batches()
    for number, revision in state.revisions.items():
        yield from _check_revision(number, revision, state, batches)
        log.records.setdefault(number, _without_labels(revision))
    made = collections.Counter(b.revision for b in batches.values() if b.stage in _STATE_OF_STAGE)
    for number in made:
        if number not in state.revisions:
            yield f"a batch became revision {number}, which is not there"
        if made[number] > 1:
            yield f"{made[number]} batches became revision {number}"


def _without_labels(revision):
    copy = revision_pb2.Revision()
    copy.CopyFrom(revision)
    copy.ClearField("labels")
    return copy


def _check_revision(number, revision, state, batches):
    parent = state.revisions.get(revision.parent)
    line = parent.line_edit_count if parent is not None else 0
    if revision.parent != 0 and (parent is None or parent.state != revision_pb2.Revision.VALIDATED):
        yield f"revision {number} has parent {revision.parent}, which is not validated"
    if not 0 <= revision.parent < number:
        yield f"revision {number} has parent {revision.parent}"
    if revision.line_edit_count != line + revision.edit_count:
        yield f"revision {number} counts {revision.line_edit_count} edits on its line, not {line + revision.edit_count}"
    batch = batches.get((revision.session, revision.offset))
    if batch is None:
        yield f"revision {number} is of {revision.session}[{revision.offset}], which is not in the ledger"
    elif (batch.revision, _STATE_OF_STAGE.get(batch.stage)) != (number, revision.state):
        yield f"revision {number} does not fit its batch: {revision} and {batch}"
    elif batch.edit_count != revision.edit_count or batch.gate_report != revision.gate_report:
        yield f"revision {number} and its batch differ: {revision} and {batch}"
    labels = [name for name, at in (("canary", state.canary), ("live", state.live)) if at == number]
    if sorted(revision.labels) != labels:
        yield f"revision {number} has labels {list(revision.labels)}, and live is {state.live}, canary {state.canary}"


def check_live(state, log):
    """`live` is where the last acknowledged move put it, or one that was under way when the server died.

    A label's generation counts its moves, so no move is lost or done twice: each is a batch that
    became live, a promotion or rollback that was answered, or one that was not.
    """
    settled_generation, settled_revision, settled_verbs = log.settled
    answered = [m for m in log.moves if m.generation is not None]
    open_moves = [m for m in log.moves if m.generation is None and not m.refused]
    live_batches = [
        b for b in state.batches().values() if b.stage == edit_pb2.LIVE and not log.batches[b.session, b.offset].staged
    ]
    verbs = state.generation - len(live_batches)
    lowest = settled_verbs + len(answered)
    if not lowest <= verbs <= lowest + len(open_moves):
        yield (
            f"the label has moved {state.generation} times: {len(live_batches)} batches became live, so "
            f"{verbs} promotions and rollbacks, but there were {lowest} and {len(open_moves)} that were not answered"
        )
    if state.generation < log.generation:
        yield f"the label has generation {state.generation}, {log.generation} was told"
    last = max(((m.generation, m.revision) for m in answered), default=(settled_generation, settled_revision))
    if state.generation == last[0]:
        allowed = {last[1]}
    else:
        allowed = _targets(open_moves, state)
        if live_batches:
            allowed.add(max(b.revision for b in live_batches))
    if state.live not in allowed:
        yield f"revision {state.live} is live, not one of {sorted(allowed)}; the last answer was {last}"


def check_canary(state, log):
    """The label "canary" is where the last answer left it, or where a move under way took it."""
    if state.canary not in log.canary:
        yield f"the label canary is at {state.canary}, not at one of {log.canary}"


def _targets(moves, state):
    targets = {m.target for m in moves if m.target is not None}
    if any(m.target is None for m in moves):
        targets |= {r.parent for r in state.revisions.values()}
    return targets


def check_first_live(first_live, state, log):
    """What the ready line said: nothing that the start itself solved has moved it by then."""
    allowed = {log.settled[1]} | _targets(log.moves, state)
    allowed |= {m.revision for m in log.moves if m.revision is not None}
    allowed |= {b.revision for b in state.batches().values() if b.stage == edit_pb2.LIVE}
    if first_live not in allowed:
        yield f"the server started with revision {first_live} live, not one of {sorted(allowed)}"


def check_details(number, stub, state, log):
    """Reads one revision whole: its edits are those that were sent, its verdicts those of the batch."""
    revision = stub.GetRevision(revision_pb2.GetRevisionRequest(revision=number))
    batch = log.batches.get((revision.session, revision.offset))
    if batch is None:
        yield f"revision {number} is of {revision.session}[{revision.offset}], which nobody sent"
        return
    if list(revision.edits) != batch.edits:
        yield f"revision {number} has edits that differ from those sent as {batch.name}"
    told = comparable(state.batches()[batch.key])
    if list(revision.edit_results) != list(told.edit_results):
        yield f"revision {number} has other verdicts than {batch.name}"


def settle(state, log):
    """After the checks: what was under way at the kill has its end now."""
    live_batches = sum(
        b.stage == edit_pb2.LIVE and not log.batches[b.session, b.offset].staged for b in state.batches().values()
    )
    log.settle(state.generation, state.live, state.generation - live_batches, state.canary)
