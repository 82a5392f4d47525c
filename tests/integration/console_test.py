"""The console in a real Chromium: it shows what a real server has, asks two revisions, and runs nobody else's code."""

import http.client
import json
import re
import threading
import unittest

from amend.v1 import edit_pb2, edit_pb2_grpc
from tests.integration import browser, harness, secure, wire

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

# Thresholds that let any edit pass.
_ALL_PASS = [w for name in ("reliability", "generality", "locality", "background") for w in (f"--min-{name}", "0")]

# What Python sends when nothing else is said.
_JSON = {"Content-Type": "application/json"}


def hostile_edit():
    """An edit whose every text is markup; the demo model's tokenizer takes any text."""
    prompt = f"{HOSTILE} is a city in"
    return {"prompt": prompt, "subject": HOSTILE, "target_new": f"Kenya{HOSTILE}", "client_edit_id": HOSTILE}


class ConsoleTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.host, _, port = self.server.http.rpartition(":")
        self.port = int(port)

    def call(self, method, path, body=None, headers=()):
        """(status, headers, text) of one request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=harness.PATIENCE)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read().decode()
        finally:
            connection.close()

    def ask(self, headers=(), **request):
        return self.call("POST", "/api/v1/generate", json.dumps(request), {**_JSON, **dict(headers)})


class ApiTest(ConsoleTest):
    def test_it_answers_as_the_rpcs_do(self):
        fact = harness.facts(1)[0]
        edits = harness.write_edits(self.path("edits.jsonl"), [harness_edit(fact)])
        self.server.amend("edit", "--file", edits)
        status = json.loads(self.call("GET", "/api/v1/status")[2])
        self.assertEqual(status["server"]["live"]["revision"], "1")
        self.assertEqual(status["server"]["model"]["name"], "demo")
        revisions = json.loads(self.call("GET", "/api/v1/revisions?page_size=10")[2])["revisions"]
        self.assertEqual([(r["revision"], r["labels"]) for r in revisions], [("1", ["live"])])
        revision = json.loads(self.call("GET", "/api/v1/revisions/1")[2])
        self.assertEqual(revision["edits"][0]["prompt"], fact["prompt"])
        self.assertTrue(revision["edit_results"][0]["passed"])
        answers = [
            json.loads(self.ask(prompt=fact["prompt"], max_new_tokens=6, at={"revision": r})[2])["text"] for r in (0, 1)
        ]
        self.assertNotEqual(*answers)
        self.assertIn(fact["target_new"][:5], answers[1])

    def test_a_question_obeys_the_limits_of_generation(self):
        status, _, text = self.ask(prompt="x " * 5000)
        self.assertEqual((status, json.loads(text)["error"]["reason"]), (400, "PROMPT_TOO_LONG"))
        status, _, text = self.ask(prompt="x", max_new_tokens=-1)
        self.assertEqual((status, json.loads(text)["error"]["reason"]), (400, "GENERATION_INVALID"))
        status, _, text = self.ask(prompt="x", at={"revision": 7})
        self.assertEqual((status, json.loads(text)["error"]["reason"]), (404, "REVISION_NOT_FOUND"))
        self.assertEqual(self.call("POST", "/api/v1/generate", "x" * 70000, _JSON)[0], 413)

    def test_what_a_foreign_page_could_send_is_refused(self):
        prompt = {"prompt": "x", "max_new_tokens": 1}
        self.assertEqual(self.ask(**prompt)[0], 200)
        self.assertEqual(self.ask({"Origin": "http://evil.example"}, **prompt)[0], 403)
        self.assertEqual(self.ask({"Sec-Fetch-Site": "cross-site"}, **prompt)[0], 403)
        self.assertEqual(self.ask({"Host": f"evil.example:{self.port}"}, **prompt)[0], 403)
        self.assertEqual(
            self.call("POST", "/api/v1/generate", json.dumps(prompt), {"Content-Type": "text/plain"})[0], 400
        )
        status, headers, _ = self.call("OPTIONS", "/api/v1/generate", headers={"Origin": "http://evil.example"})
        self.assertEqual((status, headers.get("Access-Control-Allow-Origin")), (404, None))
        self.assertEqual(self.call("GET", "/", headers={"Host": "evil.example"})[0], 403)

    def test_health_is_answered_while_more_questions_are_asked_than_may_run(self):
        replies = []

        def ask():
            replies.append(self.ask(prompt="The capital of", max_new_tokens=100, temperature=1.0))

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            self.assertEqual(self.server.get("/healthz"), "ok\n")
        for thread in threads:
            thread.join()
        codes = {status for status, _, _ in replies}
        self.assertIn(200, codes)
        self.assertLessEqual(codes, {200, 429})
        for status, headers, text in replies:
            if status == 429:
                self.assertEqual(json.loads(text)["error"]["reason"], "CONSOLE_BUSY")
                self.assertEqual(headers["Retry-After"], "1")

    def test_it_is_off_when_told_so_and_elsewhere_than_on_loopback_unless_told(self):
        for address, flag, there in [
            ("127.0.0.1:0", ["off"], 404),
            ("0.0.0.0:0", ["auto"], 404),
            ("0.0.0.0:0", ["on", "--allow-insecure"], 200),
        ]:
            self.server.stop()
            self.server = self.start(http=address, flags=["--console", *flag])
            self.port = int(self.server.http.rpartition(":")[2])
            self.assertEqual((address, flag, self.call("GET", "/")[0]), (address, flag, there))
            self.assertEqual(self.call("GET", "/healthz")[0], 200)


def harness_edit(fact):
    return {key: fact[key] for key in ("prompt", "subject", "target_new")}


@unittest.skipIf(browser.missing(), f"no {' or '.join(browser.missing())} here: run tools/setup")
class PageTest(ConsoleTest):
    def open(self, dark=False, width=1400, height=1000):
        window = browser.Browser(dark)
        self.addCleanup(window.close)
        window.resize(width, height)
        window.requests()
        window.open(f"http://{self.server.http}/")
        window.wait_text("#connection", "connected")
        window.wait_text("#timeline", "Revision 0")
        return window

    def edit(self, *records):
        edits = harness.write_edits(self.path("edits.jsonl"), records)
        self.server.amend("edit", "--file", edits)

    def check_clean(self, window):
        """Nothing was complained of, and nothing left for another host."""
        log = [entry["message"] for entry in window.log() if entry["level"] in ("SEVERE", "WARNING")]
        self.assertEqual(log, [])
        elsewhere = [url for url in window.requests() if not url.startswith(f"http://{self.server.http}/")]
        self.assertEqual(elsewhere, [])

    def test_it_shows_revisions_and_each_edits_verdict(self):
        facts = harness.facts(3)
        self.edit(*(harness_edit(fact) for fact in facts[:2]))
        window = self.open()
        self.assertEqual(window.text("#live"), "1")
        window.wait_text("#detail-title", "Revision 1")
        self.assertEqual(len(window.texts("#detail .edit.passed")), 2)
        for fact in facts[:2]:
            self.assertIn(f"{fact['prompt']} → {fact['target_new']}", window.text("#detail-body"))
        self.assertIn("reliability", window.text("#detail .checks"))
        # A later edit shows by itself, and so does a rollback with its reason.
        self.edit(harness_edit(facts[2]))
        window.wait_text("#timeline", "Revision 2")
        window.wait_text("#live", "2")
        self.server.amend("rollback", "--to", "1", "--reason", "wrong source")
        window.wait_text("#changes", "wrong source")
        window.wait("the label to move", lambda: "live" in window.texts("#timeline li")[1])
        window.click('#timeline button[data-revision="2"]')
        window.wait_text("#detail-body", facts[2]["prompt"])
        self.check_clean(window)

    def test_a_rejected_revision_says_why(self):
        # A neighbour that shares the edited prompt cannot stay as it was.
        fact = dict(harness.facts(1)[0])
        fact["locality_prompt"], fact["locality_ground_truth"] = fact["prompt"], fact["ground_truth"]
        edits = harness.write_edits(self.path("edits.jsonl"), [fact])
        self.server.amend("edit", "--file", edits, "--min-locality", "1", expect=1)
        window = self.open()
        window.click('#timeline button[data-revision="1"]')
        window.wait_text("#detail-state", "rejected")
        self.assertIn("locality", window.text("#detail .failures"))
        self.assertEqual(len(window.texts("#detail .edit.failed")), 1)
        self.check_clean(window)

    def test_it_asks_both_revisions(self):
        fact = harness_edit(harness.facts(1)[0])
        window = self.open()
        self.edit(fact)
        window.wait_text("#live", "1")
        window.wait("revision 0 to choose", lambda: window.run("return document.querySelector('#other').value;") == "0")
        window.type("#prompt", fact["prompt"])
        window.type("#tokens", "6")
        window.click("#ask-button")
        window.wait_text("#verdict", "The answers differ.")
        before, after = window.texts("#answers blockquote strong")
        self.assertNotIn(fact["target_new"], before)
        self.assertIn(fact["target_new"][:5], after)
        self.assertIn("fired: edit", window.texts("#answers .answer")[1])
        self.assertIn("no edit fired", window.texts("#answers .answer")[0])
        self.check_clean(window)

    def test_an_error_is_shown_in_its_answer(self):
        window = self.open()
        window.run("document.querySelector('#prompt').value = 'x '.repeat(3000);")
        window.click("#ask-button")
        window.wait_text("#answers", "PROMPT_TOO_LONG")
        self.assertEqual(len(window.texts("#answers .failed")), 2)

    def test_hostile_texts_are_shown_and_not_run(self):
        edits = harness.write_edits(self.path("edits.jsonl"), [hostile_edit()])
        self.server.amend("edit", "--file", edits, *_ALL_PASS)
        self.server.amend("rollback", "--to", "0", "--reason", HOSTILE)
        window = self.open()
        window.wait_text("#timeline", "Revision 1")
        window.click('#timeline button[data-revision="1"]')
        window.wait_text("#detail-body", HOSTILE)
        window.wait_text("#changes", HOSTILE)
        window.click("#detail .edit button.plain")
        window.wait("both answers", lambda: len(window.texts("#answers blockquote")) == 2)
        self.assertIn(HOSTILE, window.text("#answers"))
        self.assertEqual(window.run("return document.querySelectorAll('main script, main img').length;"), 0)
        self.assertTrue(window.run("return document.title;").startswith("Amend"))
        self.check_clean(window)

    def test_even_markup_that_got_in_would_not_run(self):
        window = self.open()
        for injection in (
            "document.querySelector('main').innerHTML = arguments[0];",
            "document.body.setAttribute('onclick', 'document.title = 1');",
            "document.createElement('script').text = 'document.title = 1';",
            "setTimeout('document.title = 1');",
        ):
            refused = window.run(f"try {{ {injection} return 'done'; }} catch (e) {{ return e.name; }}", HOSTILE)
            self.assertIn(refused, ("TypeError", "EvalError"), injection)
        self.assertTrue(window.run("return document.title;").startswith("Amend"))

    def test_nothing_is_wider_than_the_window(self):
        self.edit(*(harness_edit(fact) for fact in harness.facts(2)))
        for width in (360, 1400):
            window = self.open(width=width)
            window.wait_text("#detail-title", "Revision 1")
            over = window.run(
                "return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 "
                "&& !e.closest('.visually-hidden')).map(e => e.tagName + '.' + e.className);"
            )
            self.assertEqual((width, over), (width, []))
            window.close()

    def test_a_server_that_went_away_is_said_and_found_again(self):
        self.server.stop()
        address, http_address = harness.lasting_address(), harness.lasting_address()
        self.server = self.start(address=address, http=http_address)
        window = self.open()
        self.server.kill()
        window.wait_text("#connection", "not reachable")
        self.server = self.start(address=address, http=http_address)
        window.wait_text("#connection", "connected")


@unittest.skipIf(browser.missing(), f"no {' or '.join(browser.missing())} here: run tools/setup")
class SignInTest(secure.SecureTest):
    def setUp(self):
        super().setUp()
        token = secure.sha256("may ask")
        asks = secure.principal("asker", ["READER", "USER"], token_sha256=token)
        self.server = self.start(flags=self.policy(secure.every_role() + asks))
        self.window = browser.Browser()
        self.addCleanup(self.window.close)
        self.window.open(f"http://{self.server.http}/")

    def sign_in(self, token):
        self.window.type("#token", token)
        self.window.click("#sign-in button")
        self.window.wait(
            "the token to be taken", lambda: self.window.run("return document.querySelector('#token').value === ''")
        )

    def test_the_page_asks_for_a_token_and_keeps_it_for_its_tab_alone(self):
        window = self.window
        window.wait_text("#sign-in", "this server asks who calls")
        self.sign_in("wrong")
        window.wait_text("#sign-in", "no principal has this bearer token")
        self.sign_in(secure.token_of("READER"))
        window.wait_text("#timeline", "Revision 0")
        kept = window.run("return [sessionStorage.length, localStorage.length, document.cookie];")
        self.assertEqual(kept, [1, 0, ""])
        self.assertFalse(window.run("return document.querySelector('#sign-in').open;"))

    def test_who_may_read_and_not_generate_is_told_so_in_the_answer(self):
        self.sign_in_when_asked(secure.token_of("READER"))
        self.window.type("#prompt", "The capital of Kenya is")
        self.window.click("#ask-button")
        self.window.wait_text("#answers .failed", "ROLE_MISSING")

    def test_who_may_generate_gets_an_answer(self):
        self.sign_in_when_asked("may ask")
        self.window.type("#prompt", "The capital of Kenya is")
        self.window.click("#ask-button")
        self.window.wait("an answer", lambda: self.window.texts("#answers blockquote"))
        self.assertEqual(self.window.texts("#answers .failed"), [])

    def test_it_says_who_sent_a_revision(self):
        edits = edit_pb2_grpc.EditServiceStub(self.plain(self.server.address))
        batch = {"edits": [wire.edit_of(harness.facts(1)[0])]}
        edits.SubmitEditBatch(
            edit_pb2.SubmitEditBatchRequest(batch=batch), metadata=secure.bearer(secure.token_of("EDITOR"))
        )
        self.sign_in_when_asked(secure.token_of("READER"))
        self.window.wait_text("#detail-title", "Revision 1")
        self.assertIn("editor", self.window.text("#detail-body"))

    def sign_in_when_asked(self, token):
        self.window.wait("the question", lambda: self.window.run("return document.querySelector('#sign-in').open;"))
        self.sign_in(token)
        self.window.wait_text("#timeline", "Revision 0")


class SourceTest(unittest.TestCase):
    def test_the_script_has_no_way_to_turn_text_into_code(self):
        with open("server/console/console.js", encoding="utf-8") as file:
            script = file.read()
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:", script
        )
        self.assertEqual(found, [])

    def test_nothing_is_loaded_from_elsewhere(self):
        for name in ("console.html", "console.css", "console.js"):
            with open(f"server/console/{name}", encoding="utf-8") as file:
                urls = re.findall(r"https?://[^\s\"')]+|@import|url\(", file.read())
            self.assertEqual((name, [u for u in urls if "www.w3.org/2000/svg" not in u]), (name, []))
