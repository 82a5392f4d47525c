"""amend_client against the real server: the whole way once, and kill -9 in the middle of its streams."""

import asyncio
import os
import random
import subprocess
import sys
import threading

import amend_client
from tests.integration import harness, wire

_BATCH = 2
_POLICY = amend_client.RetryPolicy(attempts=60, first_pause=0.1, longest_pause=1.0)
_EXAMPLE = "client/python/examples/edit_dataset.py"


def batches_of(records):
    edits = [wire.edit_of(record) for record in records]
    return [edits[i : i + _BATCH] for i in range(0, len(edits), _BATCH)]


def stream(address, batches, session, told):
    """Runs stream_edits to its end; calls told(status) for each status."""
    with amend_client.Client(address, retries=_POLICY) as client:
        for status in client.stream_edits(batches, session=session):
            told(status)


def stream_asynchronously(address, batches, session, told):
    async def run():
        async with amend_client.AsyncClient(address, retries=_POLICY) as client:
            async for status in client.stream_edits(batches, session=session):
                told(status)

    asyncio.run(run())


class PythonClientTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"AMEND_TEST_SEED={self.seed}", flush=True)
        self.random = random.Random(self.seed)

    def connect(self, server):
        client = amend_client.Client(server.address)
        self.addCleanup(client.close)
        return client

    def answer(self, client, record, **options):
        return client.generate(record["prompt"], max_new_tokens=12, stop=["."], **options).text.strip()

    def test_an_edit_is_asked_moved_withdrawn_and_read_back(self):
        client = self.connect(self.start())
        one, two = harness.facts(2)
        before = self.answer(client, one)
        batch = client.edit([wire.edit_of(one), wire.edit_of(two)], timeout=harness.PATIENCE)
        self.assertEqual((batch.stage, batch.revision), (amend_client.LIVE, 1))
        self.assertEqual([r.passed for r in batch.edit_results], [True, True])
        self.assertEqual(self.answer(client, one, min_revision=1), one["target_new"])
        pieces = [message.text for message in client.stream(one["prompt"], max_new_tokens=12, stop=["."])]
        self.assertEqual("".join(pieces).strip(), one["target_new"])

        moved = client.rollback(reason="a test")
        self.assertEqual((moved.previous_revision, moved.label.revision), (1, 0))
        self.assertEqual(self.answer(client, one), before)
        self.assertEqual(self.answer(client, one, at=1), one["target_new"])
        client.set_label("canary", 1)
        self.assertEqual(self.answer(client, one, at="canary"), one["target_new"])
        self.assertEqual({n: l.revision for n, l in client.labels().items()}, {"live": 0, "canary": 1})
        client.delete_label("canary")

        client.promote(1, etag=moved.label.etag)
        withdrawn = client.withdraw([(1, 0)], reason="a test", timeout=harness.PATIENCE)
        self.assertEqual(withdrawn.label.revision, 2)
        self.assertEqual(self.answer(client, one), before)
        self.assertEqual(self.answer(client, two), two["target_new"])

        self.assertEqual([r.revision for r in client.revisions()], [2, 1])
        self.assertEqual([e.subject for e in client.revision(1).edits], [one["subject"], two["subject"]])
        self.assertEqual(client.revision().revision, 2)
        self.assertEqual([d.edit.subject for d in client.compare(1, 2)], [one["subject"]])
        self.assertIn("withdraw", [record.verb for record in client.audit()])
        scored = client.score([(two["prompt"], two["target_new"])]).results[0]
        self.assertEqual(list(scored.token_ids), list(scored.argmax_ids))

    def test_every_other_call_once_with_asyncio(self):
        server = self.start(flags=["--backup-dir", self.path("backups")])
        one, two = (wire.edit_of(record) for record in harness.facts(2))

        async def run():
            async with amend_client.AsyncClient(server.address, timeout=harness.PATIENCE) as client:
                changes = client.watch()
                self.assertEqual((await changes.__anext__()).state.latest_revision, 0)
                checked = await client.edit([one], validate_only=True)
                self.assertEqual(checked.revision, 0)
                durable = await client.edit([one], request_id="mine", wait_for=amend_client.DURABLE)
                self.assertGreaterEqual(durable.stage, amend_client.DURABLE)
                self.assertEqual((await changes.__anext__()).revision_changed.revision.revision, 1)
                self.assertEqual((await changes.__anext__()).label_moved.label.revision, 1)
                await changes.aclose()
                again = await client.edit([one], request_id="mine")
                self.assertEqual((again.stage, again.revision, again.replayed), (amend_client.LIVE, 1, True))
                self.assertEqual([b.revision async for b in client.batches(again.session)], [1])
                self.assertEqual((await client.batch(again.session)).stage, amend_client.LIVE)
                with self.assertRaises(amend_client.FailedPrecondition) as concluded:
                    await client.cancel_batch(again.session)
                self.assertEqual(concluded.exception.reason, "BATCH_CONCLUDED")

                staged = await client.edit([two], promotion=amend_client.STAGE_ONLY)
                self.assertEqual((staged.stage, staged.revision), (amend_client.VALIDATED, 2))
                self.assertTrue((await client.validate(2)).gate_report.passed)
                self.assertTrue((await client.pin(2)).pinned)
                self.assertFalse((await client.unpin(2)).pinned)
                self.assertTrue((await client.delete(2)).HasField("delete_time"))
                self.assertFalse((await client.undelete(2)).HasField("delete_time"))
                self.assertEqual((await client.promote(2)).previous_revision, 1)
                self.assertEqual((await client.server_info()).live.revision, 2)
                made = await client.backup()
                self.assertEqual([b.number for b in await client.backups()], [made.number])

                tokens = list((await client.tokenize(one.prompt)).token_ids)
                options = {"max_new_tokens": 6, "stop": ["."]}
                answers = {(await client.generate(p, **options)).text.strip() for p in (one.prompt, tokens)}
                self.assertEqual(answers, {one.target_new})
                pieces = [m async for m in client.stream(one.prompt, logprobs=True, **options)]
                self.assertEqual("".join(m.text for m in pieces).strip(), one.target_new)
                self.assertEqual((await client.rollback(reason="a test")).label.revision, 1)

        asyncio.run(run())

    def test_errors_have_the_servers_reasons(self):
        client = self.connect(self.start())
        with self.assertRaises(amend_client.InvalidArgument) as malformed:
            client.edit([{"prompt": "Nobody is here", "subject": "Somebody", "target_new": "x"}])
        self.assertEqual(malformed.exception.reason, "EDIT_INVALID")
        self.assertEqual([v.field for v in malformed.exception.field_violations], ["batch.edits[0].subject"])
        with self.assertRaises(amend_client.NotFound) as unknown:
            client.generate("x", at="no-such-label")
        self.assertEqual(unknown.exception.reason, "LABEL_NOT_FOUND")
        with self.assertRaises(amend_client.Aborted) as stale:
            client.set_label("canary", 0, etag="12345")
        self.assertEqual(stale.exception.reason, "LIVE_CHANGED")
        self.assertEqual(stale.exception.metadata["expected"], "12345")

    def test_a_batch_that_is_malformed_does_not_end_the_stream(self):
        client = self.connect(self.start())
        good = wire.edit_of(harness.facts(1)[0])
        bad = amend_client.Edit(prompt="Nobody is here", subject="Somebody", target_new="x")
        last = {s.offset: s for s in client.stream_edits([[bad], [good]])}
        self.assertEqual(last[0].stage, amend_client.FAILED)
        self.assertEqual(amend_client.batch_error(last[0]).reason, "EDIT_INVALID")
        self.assertEqual(last[1].stage, amend_client.LIVE)

    def check_kills(self, run):
        """Kills the server at random statuses, three times at most; what comes out is what an undisturbed run gives."""
        batches = batches_of(harness.facts(12))
        address = harness.lasting_address()
        servers = [self.start(address=address)]
        told, ends, failure = [[]], {}, []
        wake, running = threading.Event(), threading.Event()
        running.set()
        # After so many statuses of each run of the server.
        kills = [self.random.randint(2, 6) for _ in range(3)]

        def hear(status):
            told[-1].append(status)
            if amend_client.is_terminal(status.stage, amend_client.PROMOTE_WHEN_VALIDATED):
                ends.setdefault(status.offset, []).append(status)
            if kills and len(told[-1]) >= kills[0]:
                kills.pop(0)
                told.append([])
                # On this thread, so that the server is dead when the client reads on.
                running.wait(harness.PATIENCE)
                running.clear()
                servers[-1].kill()
                wake.set()

        def client():
            try:
                run(address, batches, "killed", hear)
            except BaseException as error:  # Shown by the test's thread.
                failure.append(error)
            finally:
                wake.set()

        thread = threading.Thread(target=client)
        thread.start()
        while thread.is_alive():
            self.assertTrue(wake.wait(harness.PATIENCE), f"seed {self.seed}: nothing happens")
            wake.clear()
            if servers[-1].process.poll() is not None:
                servers.append(self.start_as_is("data", address=address))
                running.set()
            elif ends.keys() == set(range(len(batches))) or failure:
                thread.join(harness.PATIENCE)
        self.assertEqual(failure, [], f"seed {self.seed}")
        # A server that was killed solves what is durable as soon as it starts; it may be done before the last kill.
        self.assertGreaterEqual(len(servers), 2, f"seed {self.seed}: {[len(t) for t in told]} statuses")

        final = self.connect(servers[-1])
        kept = {(r.session, r.offset): r.revision for r in final.revisions()}
        self.assertEqual(kept, {("killed", i): i + 1 for i in range(len(batches))}, f"seed {self.seed}")
        for offset, batch in enumerate(batches):
            self.assertEqual({s.revision for s in ends[offset]}, {offset + 1})
            self.assertEqual([e.prompt for e in final.revision(offset + 1).edits], [e.prompt for e in batch])
        self.assertEqual(final.revision().revision, len(batches))
        # Again in another process's stead: everything is recorded.
        recorded = [s for s in final.stream_edits(batches, session="killed")]
        self.assertTrue(all(s.replayed for s in recorded))
        self.assertEqual(final.revision().revision, len(batches))

    def test_a_killed_server_costs_a_stream_nothing(self):
        self.check_kills(stream)

    def test_nor_an_asynchronous_one(self):
        self.check_kills(stream_asynchronously)

    def test_the_example_edits_a_data_set(self):
        server = self.start()
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        picture = self.path("scores.png")
        result = subprocess.run(
            [sys.executable, _EXAMPLE, "--server", server.address, "--data", harness.FACTS, "--limit", "6"]
            + ["--batch", "3", "--out", picture],
            capture_output=True,
            text=True,
            timeout=harness.PATIENCE,
            env=environment,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [line.split() for line in result.stdout.splitlines()[1:3]]
        self.assertEqual([row[:2] for row in rows], [["1", "3"], ["2", "6"]], result.stdout)
        for row in rows:
            self.assertTrue(all(0.5 <= float(score) <= 1 for score in row[2:]), result.stdout)
        with open(picture, "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")
