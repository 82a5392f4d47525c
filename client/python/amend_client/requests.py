"""Requests from Python arguments: what both clients share."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence, Tuple, Union

from amend.v1 import edit_pb2, generation_pb2, revision_pb2

from amend_client.session import BatchLike, new_name, edit_batch

# A revision's number, or a label's name.
At = Union[int, str, None]
# Revision and place in its list of edits.
EditPlace = Union[Tuple[int, int], edit_pb2.EditReference]


def _at(at: At) -> dict:
    """Keyword arguments for the oneof that most requests have; None is the label "live"."""
    if at is None:
        return {}
    return {"label": at} if isinstance(at, str) else {"revision": at}


def submit(
    edits: BatchLike,
    wait_for: int,
    promotion: int,
    failure_policy: int,
    thresholds: Optional[edit_pb2.GateThresholds],
    request_id: Optional[str],
    validate_only: bool,
) -> edit_pb2.SubmitEditBatchRequest:
    return edit_pb2.SubmitEditBatchRequest(
        batch=edit_batch(edits),
        request_id=request_id or new_name(),
        promotion=promotion,
        thresholds=thresholds,
        validate_only=validate_only,
        wait_for=wait_for,
        failure_policy=failure_policy,
    )


def start(
    session: Optional[str], promotion: int, failure_policy: int, thresholds: Optional[edit_pb2.GateThresholds]
) -> edit_pb2.StreamEditsRequest.Start:
    return edit_pb2.StreamEditsRequest.Start(
        session=session or new_name(), promotion=promotion, failure_policy=failure_policy, thresholds=thresholds
    )


def generate(
    prompt: Union[str, Sequence[int]],
    *,
    at: At = None,
    max_new_tokens: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 0.0,
    repetition_penalty: float = 0.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    min_revision: int = 0,
    trace_hooks: bool = False,
    logprobs: bool = False,
) -> generation_pb2.GenerateRequest:
    request = generation_pb2.GenerateRequest(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop=stop,
        at=generation_pb2.RevisionSelector(**_at(at)) if at is not None else None,
        min_revision=min_revision,
        trace_hooks=trace_hooks,
        logprobs=logprobs,
    )
    if isinstance(prompt, str):
        request.prompt = prompt
    else:
        request.token_ids.ids.extend(prompt)
    return request


def score(items: Iterable[Tuple[str, str]], at: At) -> generation_pb2.ScoreRequest:
    return generation_pb2.ScoreRequest(
        items=[generation_pb2.ScoreRequest.Item(prompt=p, continuation=c) for p, c in items],
        at=generation_pb2.RevisionSelector(**_at(at)) if at is not None else None,
    )


def get_revision(at: At) -> revision_pb2.GetRevisionRequest:
    return revision_pb2.GetRevisionRequest(**_at("live" if at is None else at))


def rollback(to: Optional[int], reason: str, label: str, etag: str) -> revision_pb2.RollbackRequest:
    request = revision_pb2.RollbackRequest(label=label, reason=reason, etag=etag)
    if to is None:
        request.previous = True
    else:
        request.revision = to
    return request


def withdraw(
    edits: Iterable[EditPlace], reason: str, at: At, etag: str, promotion: int, validate_only: bool
) -> revision_pb2.WithdrawEditsRequest:
    return revision_pb2.WithdrawEditsRequest(
        edits=[
            e if isinstance(e, edit_pb2.EditReference) else edit_pb2.EditReference(revision=e[0], edit_index=e[1])
            for e in edits
        ],
        reason=reason,
        etag=etag,
        promotion=promotion,
        validate_only=validate_only,
        **_at(at),
    )
