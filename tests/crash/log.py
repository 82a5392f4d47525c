"""What clients sent to a server that gets killed, and what came back.

The log lives in the test's process, so it outlives every kill: it is the oracle
that a restarted server is held against (see checks.py). Thread-safe.
"""

import dataclasses
import threading

from amend.v1 import edit_pb2

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
class Move:
    """A promotion or rollback that was sent. Its end is unknown until it is answered."""

    # None: to the parent of what is live.
    target: object
    # The label's generation after it; None while unanswered.
    generation: object = None
    # Where the label stood after it.
    revision: object = None
    # Nothing moved, and the server said so.
    refused: bool = False


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
        # Revision records as they were first read, without labels, and which were read with their edits.
        self.records = {}
        self.detailed = set()
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

    def send_move(self, target):
        move = Move(target)
        with self._lock:
            self.moves.append(move)
        self.happened("move sent")
        return move

    def moved(self, move, label):
        generation = int(label.etag)
        with self._lock:
            if move.target is not None and label.revision != move.target:
                self.violations.append(f"a move to revision {move.target} ended at {label.revision}")
            taken = [m for m in self.moves if m.generation == generation]
            if taken:
                self.violations.append(f"two moves have generation {generation}: {taken[0]} and {move}")
            move.generation, move.revision = generation, label.revision
        self.saw_label(label)
        self.happened("moved")

    def refused(self, move):
        with self._lock:
            move.refused = True
        self.happened("refused")

    def saw_label(self, label):
        with self._lock:
            self.generation = max(self.generation, int(label.etag))

    def send_canary(self, target):
        """One client alone moves this label."""
        with self._lock:
            self.canary.append(target)
        self.happened("canary sent")

    def canary_moved(self):
        with self._lock:
            del self.canary[0]
        self.happened("canary moved")

    def settle(self, generation, revision, verb_moves, canary):
        """The outcome of every move is known now."""
        with self._lock:
            self.canary = [canary]
            self.moves = []
            self.settled = (generation, revision, verb_moves)
            self.generation = max(self.generation, generation)

    # What revisions say.

    def answered(self, revision, prompt, answer, logprobs=None):
        """`answer` is all that a greedy request gave: it is the same whenever it is asked for.

        `logprobs` are given where nothing else ran: the products of other batches round otherwise.
        """
        with self._lock:
            self.served.add(revision)
            for what, now in (("answer", answer), ("logprobs", logprobs)):
                known = self.outputs.setdefault((revision, prompt, what), now) if now is not None else None
                if known != now:
                    self.violations.append(f"revision {revision} on {prompt!r}: {what} was {known} and now is {now}")
        self.happened("answered")

    def revisions_to_ask(self):
        """Revisions that serve, as far as anybody was told."""
        with self._lock:
            return sorted(self.served | {0})

    def noted(self, revision):
        """The prompts of which it is known what the revision says."""
        with self._lock:
            return sorted({prompt for known, prompt, _ in self.outputs if known == revision})
