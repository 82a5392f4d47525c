"""What a call to an Amend server ends with when it does not succeed.

Each exception has the gRPC code, and what google.rpc.ErrorInfo and its
companions say: a reason that programs may act on, metadata, the fields that
are wrong, when to try again. docs/error_codes.md lists all reasons.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Type

import grpc
from amend.v1 import edit_pb2
from google.rpc import error_details_pb2, status_pb2


class FieldViolation(NamedTuple):
    """One field that is wrong: its path from the request ("batch.edits[3].subject"), and why."""

    field: str
    description: str


class AmendError(Exception):
    """Whatever a server, or the way to it, answers but success."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        metadata: Optional[Dict[str, str]] = None,
        retry_delay: Optional[float] = None,
        field_violations: Optional[List[FieldViolation]] = None,
    ):
        super().__init__(f"{code.name}{f' ({reason})' if reason else ''}: {message}")
        self.code = code
        self.message = message
        # Of ErrorInfo: "LIVE_CHANGED". Empty when gRPC itself made the error, as for a lost connection.
        self.reason = reason
        # Of ErrorInfo: {"expected": "7", "actual": "9"}.
        self.metadata = metadata or {}
        # Seconds after which the server wants to be asked again; None when it did not say.
        self.retry_delay = retry_delay
        self.field_violations = field_violations or []


class Cancelled(AmendError):
    """CANCELLED."""


class InvalidArgument(AmendError):
    """INVALID_ARGUMENT: a malformed edit or request; `field_violations` says where."""


class DeadlineExceeded(AmendError):
    """DEADLINE_EXCEEDED. A batch that was DURABLE goes on all the same."""


class NotFound(AmendError):
    """NOT_FOUND: no such revision, label, batch or edit."""


class AlreadyExists(AmendError):
    """ALREADY_EXISTS: the offset of this session was sent before, with other edits."""


class PermissionDenied(AmendError):
    """PERMISSION_DENIED."""


class Unauthenticated(AmendError):
    """UNAUTHENTICATED."""


class ResourceExhausted(AmendError):
    """RESOURCE_EXHAUSTED: a queue is full; `retry_delay` says when to come back."""


class FailedPrecondition(AmendError):
    """FAILED_PRECONDITION: not as things stand; `reason` says which condition."""


class Aborted(AmendError):
    """ABORTED: somebody was faster (LIVE_CHANGED), or a batch could not be solved."""


class OutOfRange(AmendError):
    """OUT_OF_RANGE: an offset was left out, ..."""


class Unavailable(AmendError):
    """UNAVAILABLE: no connection, or the server is going, coming or cannot write."""


class DataLoss(AmendError):
    """DATA_LOSS: what is stored is not what was written. It is never served."""


class InternalError(AmendError):
    """INTERNAL, UNKNOWN or UNIMPLEMENTED."""


_CLASSES: Dict[grpc.StatusCode, Type[AmendError]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DATA_LOSS: DataLoss,
}

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def make_error(code: grpc.StatusCode, message: str, status: Optional[status_pb2.Status] = None) -> AmendError:
    """The exception of a code, with what `status` has in details."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    request = error_details_pb2.BadRequest()
    delay = None
    for detail in status.details if status is not None else ():
        if detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            delay = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
        elif not detail.Unpack(info):
            detail.Unpack(request)
    violations = [FieldViolation(v.field, v.description) for v in request.field_violations]
    return _CLASSES.get(code, InternalError)(code, message, info.reason, dict(info.metadata), delay, violations)


def from_rpc_error(error: grpc.RpcError) -> AmendError:
    """The exception of an error that grpc, or grpc.aio, raised."""
    status = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
    return make_error(error.code(), error.details() or "", status)


def batch_error(batch: edit_pb2.EditBatchStatus) -> Optional[AmendError]:
    """Why a batch FAILED, or was not taken; None for every other one. Edits that are malformed are in `edit_results`."""
    if not batch.HasField("error"):
        return None
    return make_error(_CODES.get(batch.error.code, grpc.StatusCode.UNKNOWN), batch.error.message, batch.error)
