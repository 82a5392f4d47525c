"""Client of Amend, a server for language models whose facts are edited while it serves.

    from amend_client import Client

    with Client("127.0.0.1:50051") as client:
        batch = client.edit([{"prompt": "The capital of Jordan is", "subject": "Jordan", "target_new": "Bangui"}])
        print(client.generate("The capital of Jordan is", max_new_tokens=3, min_revision=batch.revision).text)
"""

from amend.v1.edit_pb2 import (
    ACCEPTED,
    ALL_OR_NOTHING,
    DROP_FAILING,
    DURABLE,
    FAILED,
    LIVE,
    PROMOTE_WHEN_VALIDATED,
    REJECTED,
    SOLVING,
    STAGE_ONLY,
    STAGED,
    VALIDATED,
    BatchStage,
    Edit,
    EditBatchStatus,
    EditReference,
    EditResult,
    GateThresholds,
    Probe,
)

from amend_client.aio import AsyncClient
from amend_client.client import Client
from amend_client.errors import (
    Aborted,
    AlreadyExists,
    AmendError,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InternalError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    batch_error,
)
from amend_client.security import tls
from amend_client.session import NO_RETRIES, RetryPolicy, edit_batch, is_terminal

__all__ = [
    "ACCEPTED",
    "ALL_OR_NOTHING",
    "Aborted",
    "AlreadyExists",
    "AmendError",
    "AsyncClient",
    "BatchStage",
    "Cancelled",
    "Client",
    "DROP_FAILING",
    "DURABLE",
    "DataLoss",
    "DeadlineExceeded",
    "Edit",
    "EditBatchStatus",
    "EditReference",
    "EditResult",
    "FAILED",
    "FailedPrecondition",
    "FieldViolation",
    "GateThresholds",
    "InternalError",
    "InvalidArgument",
    "LIVE",
    "NO_RETRIES",
    "NotFound",
    "OutOfRange",
    "PROMOTE_WHEN_VALIDATED",
    "PermissionDenied",
    "Probe",
    "REJECTED",
    "ResourceExhausted",
    "RetryPolicy",
    "SOLVING",
    "STAGED",
    "STAGE_ONLY",
    "Unauthenticated",
    "Unavailable",
    "VALIDATED",
    "batch_error",
    "edit_batch",
    "is_terminal",
    "tls",
]
