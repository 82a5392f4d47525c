"""What clients sent to a server that gets killed, and what came back.

The log lives in the test's process, so it outlives every kill: it is the oracle
that a restarted server is held against (see checks.py). Thread-safe.
"""

import dataclasses
import threading

from amend.v1 import edit_pb2, revision_pb2

# What cancels say, as the audit trail has it.
CANCEL_REASON = "kill loop"

# What a batch comes to; VALIDATED only where it was to be staged.
_LAST = (edit_pb2.VALIDATED, edit_pb2.REJECTED, edit_pb2.LIVE, edit_pb2.FAILED)


@dataclasses.dataclass
class Batch:
    """A batch that was sent, at least once."""

    session: str
    offset: int
    edits: list
    staged: bool
    durable: bool = False
    # The last stage as it was first heard: an EditBatchStatus.
    outcome: object = None

    @property
    def key(self):
        return (self.session, self.offset)

    @property
    def name(self):
        return f"batch {self.session}[{self.offset}]"


@dataclasses.dataclass
class Verb:
    """A verb that was sent. Its end is unknown until it is answered."""

    # As it stands in the audit trail.
    name: str
    # No other verb has it, so it finds the verb's records there.
    reason: str
    # Of a withdrawal: the edits as (revision, place), and the revision that is to be without them, None for
    # the one that is live.
    edits: tuple = ()
    at: object = None
    # The revisions that its audit records are about; none where it changed nothing. None while unanswered.
    records: object = None


@dataclasses.dataclass
class Move:
    """A promotion, a rollback or a withdrawal that goes live, from when it was sent."""

    verb: Verb
    # None: to the parent of what is live, or to the revision that a withdrawal makes.
    target: object
    # The label's generation after it; None while unanswered.
    generation: object = None
    # Where the label stood after it.
    revision: object = None
    # Nothing moved, and the server said so.
    refused: bool = False


@dataclasses.dataclass(frozen=True)
class Marks:
    """What pins, deletions and purges make of a revision."""

    # "there", "deleted" or "purged".
    state: str = "there"
    pinned: bool = False

    def after(self, verb):
        """After a pin, unpin, delete or undelete that is carried out."""
        if verb in ("pin", "unpin"):
            return dataclasses.replace(self, pinned=verb == "pin")
        return dataclasses.replace(self, state="deleted" if verb == "delete" else "there")

    @staticmethod
    def of(revision):
        """As a Revision message has them."""
        state = "deleted" if revision.HasField("delete_time") else "there"
        return Marks("purged" if revision.HasField("purge_time") else state, revision.pinned)


# Why a verb on marks may be turned down.
MARK_REFUSALS = {
    "REVISION_PINNED": lambda marks: marks.pinned,
    "REVISION_LABELLED": lambda marks: marks.state == "there",
    "REVISION_PURGED": lambda marks: marks.state == "purged",
}


def is_last(status):
    return status.stage in _LAST


def comparable(status):
    """A status without what may differ between the first time it is told and later ones."""
    copy = edit_pb2.EditBatchStatus()
    copy.CopyFrom(status)
    copy.ClearField("replayed")
    copy.ClearField("progress")
    # Details name the same fields as edit_results; only their first telling has all of them.
    del copy.error.details[:]
    return copy


class Log:
    def __init__(self):
        self._lock = threading.Condition()
        self._counts = {}
        self.batches = {}
        self.moves = []
        # All that were sent.
        self.verbs = []
        # What is possible of each revision's marks, where that is not Marks() alone; and how often a verb was
        # sent that may change them.
        self._marks = {}
        self._mark_counts = {}
        # (revision, prompt, what): what was generated the first time.
        self.outputs = {}
        # Revisions that answered somebody or that were told to be validated.
        self.served = set()
        # The highest generation of the label that was told.
        self.generation = 0
        # The settled state of the label at the last check: generation, revision, and how many of
        # the moves so far were promotions and rollbacks, not batches that became live.
        self.settled = (0, 0, 0)
        # Where the label "canary" may stand, None for nowhere: where the last answer left it and, while a move is
        # not answered, where that takes it.
        self.canary = [None]
        # Revision records as they were first read, without labels and marks, and which were read with their edits.
        self.records = {}
        self.detailed = set()
        # The audit trail as it was last read, oldest first.
        self.audit = []
        self.violations = []

    def violated(self, what):
        with self._lock:
            self.violations.append(what)

    def happened(self, kind):
        """Counts an event that wait_for may wait for."""
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._lock.notify_all()

    def count(self, kind):
        with self._lock:
            return self._counts.get(kind, 0)

    def wait_for(self, kind, more, seconds):
        """Until `kind` happened `more` times from now on, or the time is over."""
        with self._lock:
            goal = self._counts.get(kind, 0) + more
            return self._lock.wait_for(lambda: self._counts.get(kind, 0) >= goal, seconds)

    # Batches.

    def of_session(self, session):
        with self._lock:
            return sorted((b for b in self.batches.values() if b.session == session), key=lambda b: b.offset)

    def sessions(self):
        with self._lock:
            return sorted({b.session for b in self.batches.values()})

    def unfinished(self, session):
        """What a client that reconnects has to send again, in order."""
        return [b for b in self.of_session(session) if b.outcome is None]

    def send(self, session, edits, staged):
        """A new batch at the session's next offset. Before it is sent: it may arrive, whatever is heard."""
        with self._lock:
            offset = sum(b.session == session for b in self.batches.values())
            batch = Batch(session, offset, edits, staged)
            self.batches[batch.key] = batch
            return batch

    def started(self, session, next_offset):
        """The session's next offset as the server tells it."""
        batches = self.of_session(session)
        known = [b.offset for b in batches if b.durable or b.outcome is not None]
        lowest = max(known) + 1 if known else 0
        if not lowest <= next_offset <= len(batches):
            self.violated(f"session {session}: next offset {next_offset} is not in [{lowest}, {len(batches)}]")

    def heard(self, batch, status):
        """A status of a batch, new or recorded."""
        if (status.session, status.offset) != batch.key:
            self.violated(f"{batch.name} got a status of {status.session}[{status.offset}]")
        elif status.stage == edit_pb2.BATCH_STAGE_UNSPECIFIED:
            self.violated(f"{batch.name} was not taken: {status.error.message}")
        elif status.stage == edit_pb2.DURABLE:
            batch.durable = True
        elif is_last(status):
            self.finished(batch, status)
        self.happened(edit_pb2.BatchStage.Name(status.stage))

    def finished(self, batch, status):
        """The outcome of a batch, for the first time or again: it never changes."""
        told = comparable(status)
        with self._lock:
            first = batch.outcome is None
            if first:
                batch.outcome = told
                if told.stage in (edit_pb2.LIVE, edit_pb2.VALIDATED):
                    self.served.add(told.revision)
        if first:
            return
        known = comparable(batch.outcome)
        if batch.staged and known.stage == edit_pb2.VALIDATED and self._promotion_sent(known.revision):
            known.stage = told.stage if told.stage == edit_pb2.LIVE else known.stage
        if known != told:
            self.violated(f"{batch.name} came to\n{batch.outcome}and now it is\n{told}")
        elif told.stage == edit_pb2.LIVE:
            # A staged batch that was promoted stays so.
            batch.outcome = told

    def _promotion_sent(self, revision):
        with self._lock:
            return any(m.target == revision and not m.refused for m in self.moves)

    # The label.

    def send_move(self, verb, target):
        move = Move(verb, target)
        with self._lock:
            self.moves.append(move)
        self.happened("move sent")
        return move

    def moved(self, move, label):
        generation = int(label.etag)
        with self._lock:
            move.verb.records = [label.revision]
            if move.target is not None and label.revision != move.target:
                self.violations.append(f"a move to revision {move.target} ended at {label.revision}")
            taken = [m for m in self.moves if m.generation == generation]
            if taken:
                self.violations.append(f"two moves have generation {generation}: {taken[0]} and {move}")
            move.generation, move.revision = generation, label.revision
        self.saw_label(label)
        self.happened("moved")

    def refused(self, move):
        """The label stays where it is."""
        with self._lock:
            if move.verb.records is None:
                move.verb.records = []
            move.refused = True
        self.happened("refused")

    def saw_label(self, label):
        with self._lock:
            self.generation = max(self.generation, int(label.etag))

    def send_canary(self, target):
        """One client alone moves this label."""
        verb = self.send_verb("delete_label" if target is None else "set_label")
        with self._lock:
            self.canary.append(target)
        self.happened("canary sent")
        return verb

    def canary_moved(self, verb):
        with self._lock:
            was, now = self.canary
            verb.records = [was if now is None else now] if was != now else []
            del self.canary[0]
        self.happened("canary moved")

    def canary_refused(self, verb):
        with self._lock:
            verb.records = []
            del self.canary[1]

    def settle(self, generation, revision, verb_moves, canary):
        """The outcome of every move is known now."""
        with self._lock:
            self.canary = [canary]
            self.moves = []
            self.settled = (generation, revision, verb_moves)
            self.generation = max(self.generation, generation)

    # Verbs, and the marks that some of them make.

    def send_verb(self, name, **fields):
        with self._lock:
            verb = Verb(name, f"verb {len(self.verbs)} of the kill loop", **fields)
            self.verbs.append(verb)
        self.happened(f"{name} sent")
        return verb

    def answered_verb(self, verb, records):
        """`records`: the revisions that the audit trail has to name for it."""
        with self._lock:
            verb.records = list(records)
        self.happened(verb.name)

    def seen_marks(self, revision):
        """What asked() needs to know of the time before: see there."""
        with self._lock:
            return self._mark_counts.get(revision, 0), self._possible(revision)

    def _possible(self, revision):
        return self._marks.get(revision, frozenset([Marks()]))

    def send_mark(self, name, revision):
        """A pin, unpin, delete or undelete. One client alone sends these and purges."""
        before = self._possible(revision)
        self._may_become(revision, before | {m.after(name) for m in before if m.state != "purged"})
        return self.send_verb(name), before

    def _may_become(self, revision, possible):
        with self._lock:
            self._marks[revision] = frozenset(possible)
            self._mark_counts[revision] = self._mark_counts.get(revision, 0) + 1

    def marked(self, sent, answer):
        """`answer` is the Revision that came back."""
        verb, before = sent
        marks = Marks.of(answer)
        if marks not in {m.after(verb.name) for m in before if m.state != "purged"}:
            self.violated(f"{verb.name} made revision {answer.revision}, which was {set(before)}, {marks}")
        with self._lock:
            self._marks[answer.revision] = frozenset([marks])
        self.answered_verb(verb, [] if marks in before else [answer.revision])

    def mark_refused(self, sent, revision, reason):
        verb, before = sent
        if not any(MARK_REFUSALS[reason](m) for m in before):
            self.violated(f"{verb.name} of revision {revision}, which is {set(before)}, was refused: {reason}")
        with self._lock:
            self._marks[revision] = before
        self.answered_verb(verb, [])

    def send_purge(self):
        """Every deleted revision without a pin may go, unless another one needs it."""
        before = {}
        for revision in list(self._marks):
            possible = self._possible(revision)
            if Marks("deleted") in possible:
                before[revision] = possible
                self._may_become(revision, possible | {Marks("purged")})
        return self.send_verb("purge"), before

    def purged(self, sent, revisions):
        verb, before = sent
        for revision in revisions:
            if revision not in before:
                self.violated(f"revision {revision} was purged and is {set(self._possible(revision))}")
        with self._lock:
            for revision, possible in before.items():
                self._marks[revision] = frozenset([Marks("purged")]) if revision in revisions else possible
        self.answered_verb(verb, revisions)

    def asked(self, revision, seen, state):
        """A revision that was asked by its number answered ("there") or was refused as "deleted" or "purged".

        `seen` is what seen_marks() said before. What it was at any time meanwhile is right.
        """
        count, before = seen
        now, after = self.seen_marks(revision)
        possible = {m.state for m in before | after}
        if now > count + 1 and possible != {"purged"}:
            # There and back meanwhile.
            possible |= {"there", "deleted"}
        if {m.state for m in before} == {"purged"}:
            possible = {"purged"}
        if state not in possible:
            self.violated(f"revision {revision} was asked and is {state}, not one of {sorted(possible)}")
        self.happened(f"asked {state}")

    def settle_marks(self, marks):
        """By revision, as they were read; for those that are not named they are Marks()."""
        with self._lock:
            self._marks = {revision: frozenset([m]) for revision, m in marks.items() if m != Marks()}

    # What revisions say.

    def answered(self, revision, prompt, answer):
        """`answer` is all that a greedy request gave: it is the same to the last bit whenever it is asked for."""
        with self._lock:
            self.served.add(revision)
            known = self.outputs.setdefault((revision, prompt), answer)
            if known != answer:
                self.violations.append(f"revision {revision} on {prompt!r}: answer was {known} and now is {answer}")
        self.happened("answered")

    def revisions_to_ask(self):
        """Revisions that serve, as far as anybody was told, and some that did before they were deleted."""
        with self._lock:
            there = [r for r in self.served | {0} if any(m.state == "there" for m in self._possible(r))]
            return sorted(there) + sorted(self.served)[-2:]

    def revisions_to_mark(self):
        """Those that served ever, with what may be the state of each."""
        with self._lock:
            return {r: {m.state for m in self._possible(r)} for r in self.served if r != 0}

    def withdrawn(self, verb, answer):
        """`answer` is the Revision that a withdrawal made, or that the gate turned down."""
        if {(e.revision, e.edit_index) for e in answer.withdrawn} != set(verb.edits):
            self.violated(f"{verb.edits} were withdrawn, and revision {answer.revision} withdraws {answer.withdrawn}")
        with self._lock:
            verb.records = [answer.revision]
            if answer.state == revision_pb2.Revision.VALIDATED:
                self.served.add(answer.revision)
        self.happened("withdrawn")

    def noted(self, revision):
        """The prompts of which it is known what the revision says."""
        with self._lock:
            return sorted(prompt for known, prompt in self.outputs if known == revision)
