"""Holds a restarted server against the log of its clients.

read() takes what the server says of itself; the check_* functions compare that
with the log and return one line per thing that must not be.
"""

import collections
import dataclasses
import itertools

from amend.v1 import edit_pb2, generation_pb2, revision_pb2
from tests.crash.log import CANCEL_REASON, Marks, comparable, is_last

# google.rpc.Code of what a client ended.
CANCELLED = 1

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
    # Oldest first.
    audit: list

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


def list_audit(stub):
    """The whole trail, oldest first."""
    request = revision_pb2.ListAuditRecordsRequest(page_size=1000)
    records = []
    while True:
        response = stub.ListAuditRecords(request)
        records += response.records
        if not response.next_page_token:
            return records[::-1]
        request.page_token = response.next_page_token


def read(edits, revisions, sessions):
    """A state that held while it was read: batches that the start left to solve may still come to their end."""
    before = list_revisions(revisions)
    for _ in range(_TRIES):
        ledger = {session: list_batches(edits, session) for session in sessions}
        labels = revisions.ListLabels(revision_pb2.ListLabelsRequest()).labels
        audit = list_audit(revisions)
        after = list_revisions(revisions)
        if after == before:
            live, listed = after
            canary = next((label.revision for label in labels if label.name == "canary"), None)
            return State(live.revision, int(live.etag), canary, {r.revision: r for r in listed}, ledger, audit)
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
    """Revisions have no gaps, fit their batches and parents, and never change but for their marks."""
    numbers = sorted(state.revisions)
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"revisions are {numbers}"
    for number, known in log.records.items():
        if number not in state.revisions:
            yield f"revision {number} was there and is lost"
        elif _unchanging(state.revisions[number]) != known:
            yield f"revision {number} was\n{known}and now is\n{state.revisions[number]}"
    for number in log.served - {0}:
        if number not in state.revisions or state.revisions[number].state != revision_pb2.Revision.VALIDATED:
            yield f"revision {number} has served and is {state.revisions.get(number, 'lost')}"
    batches = state.batches()
    for number, revision in state.revisions.items():
        yield from _check_revision(number, revision, state, batches)
        log.records.setdefault(number, _unchanging(revision))
    made = collections.Counter(b.revision for b in batches.values() if b.stage in _STATE_OF_STAGE)
    for number in made:
        if number not in state.revisions:
            yield f"a batch became revision {number}, which is not there"
        if made[number] > 1:
            yield f"{made[number]} batches became revision {number}"


def _unchanging(revision):
    copy = revision_pb2.Revision()
    copy.CopyFrom(revision)
    for field in ("labels", "pinned", "delete_time", "purge_time"):
        copy.ClearField(field)
    return copy


def _check_revision(number, revision, state, batches):
    parent = state.revisions.get(revision.parent)
    line = parent.line_edit_count if parent is not None else 0
    if revision.parent != 0 and (parent is None or parent.state != revision_pb2.Revision.VALIDATED):
        yield f"revision {number} has parent {revision.parent}, which is not validated"
    if not 0 <= revision.parent < number:
        yield f"revision {number} has parent {revision.parent}"
    line += revision.edit_count - len(revision.withdrawn)
    if revision.line_edit_count != line:
        yield f"revision {number} counts {revision.line_edit_count} edits on its line, not {line}"
    yield from _check_marks(number, revision, parent, state)
    if revision.withdrawn:
        yield from _check_withdrawal(number, revision, state)
        return
    batch = batches.get((revision.session, revision.offset))
    if batch is None:
        yield f"revision {number} is of {revision.session}[{revision.offset}], which is not in the ledger"
    elif (batch.revision, _STATE_OF_STAGE.get(batch.stage)) != (number, revision.state):
        yield f"revision {number} does not fit its batch: {revision} and {batch}"
    elif revision.edit_count not in _possible_counts(batch) or batch.gate_report != revision.gate_report:
        yield f"revision {number} and its batch differ: {revision} and {batch}"


def _possible_counts(status):
    """How many edits the revision of a batch may have: those left, or of none left those that were tried last."""
    left = status.edit_count - len(dropped(status))
    return [left] if left else range(1, status.edit_count + 1)


def _check_marks(number, revision, parent, state):
    labels = [name for name, at in (("canary", state.canary), ("live", state.live)) if at == number]
    if sorted(revision.labels) != labels:
        yield f"revision {number} has labels {list(revision.labels)}, and live is {state.live}, canary {state.canary}"
    marks = Marks.of(revision)
    if labels and marks.state != "there":
        yield f"revision {number} has labels {labels} and is {marks.state}"
    if marks.state == "purged" and (marks.pinned or not revision.HasField("delete_time")):
        yield f"revision {number} was purged and is pinned or was not deleted"
    has_factors = revision.state == revision_pb2.Revision.VALIDATED and marks.state != "purged"
    if has_factors and parent is not None and Marks.of(parent).state == "purged":
        yield f"revision {number} is there and its parent {revision.parent} was purged"


def _check_withdrawal(number, revision, state):
    if revision.session or revision.edit_count:
        yield f"revision {number} withdraws edits and has some of its own: {revision}"
    line = []
    while revision.parent in state.revisions:
        revision = state.revisions[revision.parent]
        line.append(revision)
    gone = {(e.revision, e.edit_index) for r in line for e in r.withdrawn}
    places = {(r.revision, place) for r in line for place in range(r.edit_count)}
    for edit in state.revisions[number].withdrawn:
        if (edit.revision, edit.edit_index) not in places - gone:
            yield f"revision {number} withdraws edit {edit.edit_index} of revision {edit.revision}, not on its line"


def check_live(state, log):
    """`live` is where the last acknowledged move put it, or one that was under way when the server died.

    A label's generation counts its moves, so no move is lost or done twice: each is a batch that
    became live, a promotion, rollback or withdrawal that was answered, or one that was not.
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
            f"the label has moved {state.generation} times: {len(live_batches)} batches became live, so {verbs} "
            f"promotions, rollbacks and withdrawals, but there were {lowest} and {len(open_moves)} not answered"
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
        targets |= {r.revision for r in state.revisions.values() if r.withdrawn}
    return targets


def check_first_live(first_live, state, log):
    """What the ready line said: nothing that the start itself solved has moved it by then."""
    allowed = {log.settled[1]} | _targets(log.moves, state)
    allowed |= {m.revision for m in log.moves if m.revision is not None}
    allowed |= {b.revision for b in state.batches().values() if b.stage == edit_pb2.LIVE}
    if first_live not in allowed:
        yield f"the server started with revision {first_live} live, not one of {sorted(allowed)}"


def dropped(status):
    """Places in its batch of the edits that the gate made be left out."""
    return {result.index for result in status.edit_results if result.dropped}


def kept(batch, status):
    """The edits that a batch's revision has, in the order of their places there."""
    gone = dropped(status)
    return [edit for place, edit in enumerate(batch.edits) if place not in gone]


def check_details(number, stub, state, log):
    """Reads one revision whole: its edits are those that were sent, its verdicts those of the batch."""
    revision = stub.GetRevision(revision_pb2.GetRevisionRequest(revision=number))
    if revision.withdrawn:
        if revision.edits or revision.edit_results:
            yield f"revision {number} withdraws edits and has some of its own: {revision}"
        return
    batch = log.batches.get((revision.session, revision.offset))
    if batch is None:
        yield f"revision {number} is of {revision.session}[{revision.offset}], which nobody sent"
        return
    status = comparable(state.batches()[batch.key])
    left = kept(batch, status) or [edit for edit in batch.edits if edit in revision.edits]
    if list(revision.edits) != left:
        yield f"revision {number} has edits that differ from those sent as {batch.name}"
    told = [status.edit_results[batch.edits.index(edit)] for edit in left] if status.edit_results else []
    for place, result in enumerate(told):
        result.index = place
    if list(revision.edit_results) != told:
        yield f"revision {number} has other verdicts than {batch.name}"


def check_marks(state, log):
    """Pins, deletions and purges are what the last answer left, or what a verb under way made."""
    for number, revision in state.revisions.items():
        _, possible = log.seen_marks(number)
        if Marks.of(revision) not in possible:
            yield f"revision {number} is {Marks.of(revision)}, not one of {set(possible)}"


_MADE = {
    (edit_pb2.LIVE, False): "promote",
    (edit_pb2.LIVE, True): "validate",
    (edit_pb2.VALIDATED, True): "validate",
    (edit_pb2.REJECTED, False): "reject",
    (edit_pb2.REJECTED, True): "reject",
}
_MOVES = ("promote", "rollback", "set_label", "withdraw")


def _by_reason(audit):
    found = collections.defaultdict(list)
    for record in audit:
        found[record.reason].append(record)
    return found


def check_audit(state, log):
    """One record per verb that was answered and changed something, and per verdict; together they make the state."""
    if [record.sequence for record in state.audit] != list(range(1, len(state.audit) + 1)):
        yield f"the audit trail has the sequences {[record.sequence for record in state.audit]}"
    for known, found in itertools.zip_longest(log.audit, state.audit[: len(log.audit)]):
        if known != found:
            yield f"the audit trail had\n{known}and now has\n{found}"
    by_reason = _by_reason(state.audit)
    for verb in log.verbs:
        yield from _check_verb(verb, by_reason.pop(verb.reason, []), state)
    for key, status in state.batches().items():
        if key in log.batches:
            yield from _check_outcome(status, log.batches[key].staged, by_reason)
    for reason, records in by_reason.items():
        yield f"the audit trail has records of nothing that was sent: {reason}: {records}"
    yield from _check_replay(state)


def _check_verb(verb, found, state):
    names = ("withdraw", "reject") if verb.name == "withdraw" else (verb.name,)
    about = [record.to for record in found]
    if any(record.verb not in names for record in found):
        yield f"the records of {verb} are {found}"
    elif verb.records is not None and sorted(about) != sorted(verb.records):
        yield f"the audit trail has revisions {about} for {verb}"
    elif verb.name != "purge" and len(found) > 1:
        yield f"the audit trail has {len(found)} records of {verb}"
    for number in about if verb.name == "withdraw" else ():
        revision = state.revisions.get(number)
        if revision is None or {(e.revision, e.edit_index) for e in revision.withdrawn} != set(verb.edits):
            yield f"revision {number} is {revision or 'lost'} and was made by {verb}"
        elif verb.at not in (None, revision.parent):
            yield f"revision {number} has parent {revision.parent} and was made by {verb}"


def _check_outcome(status, staged, by_reason):
    """A batch has one record of the verdict, or of being cancelled, or none."""
    reason = f'session "{status.session}" offset {status.offset}'
    found = [(record.verb, record.to) for record in by_reason.pop(reason, [])]
    cancels = [record.verb for record in by_reason.pop(f"{reason}: {CANCEL_REASON}", [])]
    made = _MADE.get((status.stage, staged))
    if found != ([] if made is None else [(made, status.revision)]):
        yield f"the audit trail has {found} for {reason}, which is {status}"
    cancelled = status.stage == edit_pb2.FAILED and status.error.code == CANCELLED
    if cancels != ["cancel"] * cancelled:
        yield f"the audit trail has {cancels} for {reason}, which is {status}"


def _check_replay(state):
    """The records, one after the other, lead to the labels and marks that are there."""
    stands, moved = {"live": 0}, 0
    marks = collections.defaultdict(Marks)
    for record in state.audit:
        if record.verb in _MOVES and record.label:
            if getattr(record, "from") != stands.get(record.label, 0):
                yield f"the label {record.label} stood at {stands.get(record.label)} before {record}"
            stands[record.label] = record.to
            moved += record.label == "live"
        elif record.verb == "delete_label":
            stands.pop(record.label, None)
        elif record.verb == "purge":
            marks[record.to] = Marks("purged", marks[record.to].pinned)
        elif record.verb in ("pin", "unpin", "delete", "undelete"):
            if marks[record.to].after(record.verb) == marks[record.to] or marks[record.to].state == "purged":
                yield f"revision {record.to} was {marks[record.to]} before {record}"
            marks[record.to] = marks[record.to].after(record.verb)
    if (stands["live"], stands.get("canary"), moved) != (state.live, state.canary, state.generation):
        yield (
            f"the audit trail leaves the labels at {stands} after {moved} moves, and they are at {state.live} "
            f"and {state.canary} after {state.generation}"
        )
    for number, revision in state.revisions.items():
        if marks[number] != Marks.of(revision):
            yield f"the audit trail leaves revision {number} as {marks[number]}, and it is {Marks.of(revision)}"


def check_withdrawn(number, stub, state, log):
    """What a revision withdraws fires there no more, and does on its parent."""
    revision = state.revisions[number]
    if revision.state != revision_pb2.Revision.VALIDATED:
        return
    for edit in revision.withdrawn:
        made = state.revisions[edit.revision]
        key = made.session, made.offset
        prompt = kept(log.batches[key], state.batches()[key])[edit.edit_index].prompt
        for at, fires in ((number, False), (revision.parent, True)):
            if at == 0 or Marks.of(state.revisions[at]).state != "there":
                continue
            request = generation_pb2.GenerateRequest(prompt=prompt, max_new_tokens=1, trace_hooks=True)
            request.at.revision = at
            fired = {(f.revision, f.edit_index) for f in stub.Generate(request).hook_firings}
            if ((edit.revision, edit.edit_index) in fired) != fires:
                name = f"edit {edit.edit_index} of revision {edit.revision}, withdrawn by {number}"
                yield f"{name}: fires at {at}: {not fires}"


def settle(state, log):
    """After the checks: what was under way at the kill has its end now."""
    live_batches = sum(
        b.stage == edit_pb2.LIVE and not log.batches[b.session, b.offset].staged for b in state.batches().values()
    )
    log.settle(state.generation, state.live, state.generation - live_batches, state.canary)
    log.settle_marks({number: Marks.of(revision) for number, revision in state.revisions.items()})
    log.audit = state.audit
    found = _by_reason(state.audit)
    for verb in log.verbs:
        if verb.records is None:
            verb.records = [record.to for record in found[verb.reason]]


# What holds after every start: each takes a state and a log.
ALL = (check_ledger, check_revisions, check_live, check_canary, check_marks, check_audit)
