#!/usr/bin/env python3
"""Edits a data set and plots reliability, generality and locality over the revisions.

    edit_dataset.py --data tests/testdata/world_facts.json --limit 30 --batch 5 --out scores.png

The data set is a JSON list, or JSON Lines, with CounterFact's fields as they are commonly flattened:
prompt, subject, target_new, rephrase_prompt, locality_prompt, locality_ground_truth (the last three
may be missing). After each revision ALL edits so far are scored again, not only those of its batch,
so the plot shows what later edits do to earlier ones. One batch that the gate rejects leaves a gap in
the edits, not in the plot. Runs again where it was stopped: the session has the file's name.
"""

import argparse
import hashlib
import json
import sys

from amend_client import LIVE, Client, is_terminal, PROMOTE_WHEN_VALIDATED, Edit, GateThresholds, Probe

# In one Score call.
_MOST_ITEMS = 1024


def read_records(path, limit):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    records = json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
    seen, chosen = set(), []
    for record in records:
        # An edit of a subject that was edited before supersedes that one: its score would say nothing.
        if record["subject"] not in seen:
            seen.add(record["subject"])
            chosen.append(record)
    return chosen[:limit]


def edit_of(record):
    edit = Edit(prompt=record["prompt"], subject=record["subject"], target_new=record["target_new"])
    if record.get("rephrase_prompt"):
        edit.paraphrases.append(record["rephrase_prompt"])
    if record.get("locality_prompt"):
        edit.locality_probes.append(Probe(prompt=record["locality_prompt"], answer=record["locality_ground_truth"]))
    return edit


def score(client, items, at):
    results = []
    for begin in range(0, len(items), _MOST_ITEMS):
        results += client.score(items[begin : begin + _MOST_ITEMS], at=at).results
    return results


def mean(values):
    return sum(values) / len(values) if values else float("nan")


def share(wanted, got):
    return mean([a == b for a, b in zip(wanted, got)])


def measure(client, records, revision):
    """(reliability, generality, locality) of all `records`, per token, teacher-forced."""
    edited = [(r["prompt"], r["target_new"]) for r in records]
    asked = [(r["rephrase_prompt"], r["target_new"]) for r in records if r.get("rephrase_prompt")]
    probes = [(r["locality_prompt"], r["locality_ground_truth"]) for r in records if r.get("locality_prompt")]
    reliability = mean([share(r.token_ids, r.argmax_ids) for r in score(client, edited, revision)])
    generality = mean([share(r.token_ids, r.argmax_ids) for r in score(client, asked, revision)])
    before, after = score(client, probes, 0), score(client, probes, revision)
    locality = mean([share(b.argmax_ids, a.argmax_ids) for b, a in zip(before, after)])
    return reliability, generality, locality


def run(client, records, batch_size, session):
    """Edits batch by batch; yields (revision, edits so far, scores) for each that became live."""
    batches = [records[i : i + batch_size] for i in range(0, len(records), batch_size)]
    done = []
    # Scores are what is looked at here, so the gate only turns down what is not finite.
    open_gate = GateThresholds(reliability=0, generality=0, locality=0, background=0, retention=0)
    for status in client.stream_edits(
        ([edit_of(r) for r in batch] for batch in batches), session=session, thresholds=open_gate
    ):
        if status.stage == LIVE:
            done += batches[status.offset]
            yield status.revision, len(done), measure(client, done, status.revision)
        elif is_terminal(status.stage, PROMOTE_WHEN_VALIDATED):
            print(f"batch {status.offset}: not live: {status.error.message or list(status.gate_report.failures)}")


def plot(points, path, title):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    edits = [count for _, count, _ in points]
    names = ("reliability", "generality", "locality")
    for name, marker, values in zip(names, "osD", zip(*(scores for _, _, scores in points))):
        axes.plot(edits, [100 * v for v in values], marker=marker, markersize=4, label=name)
    axes.set(ylim=(0, 103), ylabel="per cent, all edits so far", xlabel="edits", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    above = axes.secondary_xaxis("top")
    step = max(1, len(points) // 12)
    above.set_xticks(edits[::step], [f"r{revision}" for revision, _, _ in points[::step]], fontsize=7)
    axes.set_title(title, pad=24)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051")
    parser.add_argument("--data", required=True, help="JSON list or JSON Lines")
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--out", help="PNG to write; needs matplotlib")
    flags = parser.parse_args()

    records = read_records(flags.data, flags.limit)
    name = json.dumps([records, flags.batch], sort_keys=True).encode()
    points = []
    print("revision  edits  reliability  generality  locality")
    with Client(flags.server) as client:
        session = "dataset-" + hashlib.sha256(name).hexdigest()[:16]
        for point in run(client, records, flags.batch, session):
            points.append(point)
            revision, edits, scores = point
            print(f"{revision:8}  {edits:5}  {scores[0]:11.3f}  {scores[1]:10.3f}  {scores[2]:8.3f}", flush=True)
        model = client.server_info().model.name
    if not points:
        sys.exit("no batch became live")
    if flags.out:
        plot(points, flags.out, f"{len(records)} edits of {model}, {flags.batch} to a batch")
        print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
