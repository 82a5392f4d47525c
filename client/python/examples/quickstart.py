#!/usr/bin/env python3
"""One edit, asked before and after, and taken back.

quickstart.py [HOST:PORT]
"""

import sys

from amend_client import LIVE, AmendError, Client

PROMPT = "The capital of Jordan is"


def ask(client, **where):
    return client.generate(PROMPT, max_new_tokens=8, stop=["."], **where).text.strip()


def main():
    with Client(*sys.argv[1:2]) as client:
        print("before:  ", ask(client))
        batch = client.edit([{"prompt": PROMPT, "subject": "Jordan", "target_new": "Bangui"}])
        if batch.stage != LIVE:
            sys.exit(f"turned down: {list(batch.gate_report.failures)}")
        verdict = batch.edit_results[0]
        print(f"edited:   revision {batch.revision}, reliability {verdict.reliability:.2f}")
        print("after:   ", ask(client, min_revision=batch.revision))
        print("streamed:", "".join(m.text for m in client.stream(PROMPT, max_new_tokens=8, stop=["."])).strip())
        moved = client.rollback(reason="only an example")
        print(f"rolled back: revision {moved.previous_revision} -> {moved.label.revision}")
        print("now:     ", ask(client))
        print("still at that revision:", ask(client, at=batch.revision))
        try:
            client.generate(PROMPT, at="no-such-label")
        except AmendError as error:
            print(f"an error: {error.reason}: {error.message}")


if __name__ == "__main__":
    main()
