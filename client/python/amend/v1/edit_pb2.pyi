from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ACCEPTED: BatchStage
ALL_OR_NOTHING: FailurePolicy
BATCH_STAGE_UNSPECIFIED: BatchStage
CONTEXT_TEMPLATES: GeneralitySource
DESCRIPTOR: _descriptor.FileDescriptor
DROP_FAILING: FailurePolicy
DURABLE: BatchStage
FAILED: BatchStage
FAILURE_POLICY_UNSPECIFIED: FailurePolicy
GENERALITY_SOURCE_UNSPECIFIED: GeneralitySource
LIVE: BatchStage
PARAPHRASES: GeneralitySource
PROMOTE_WHEN_VALIDATED: Promotion
PROMOTION_UNSPECIFIED: Promotion
REJECTED: BatchStage
SOLVING: BatchStage
STAGED: BatchStage
STAGE_ONLY: Promotion
VALIDATED: BatchStage

class CancelEditBatchRequest(_message.Message):
    __slots__ = ["offset", "reason", "session"]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    offset: int
    reason: str
    session: str
    def __init__(self, session: _Optional[str] = ..., offset: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Edit(_message.Message):
    __slots__ = ["client_edit_id", "locality_probes", "paraphrases", "prompt", "subject", "target_new"]
    CLIENT_EDIT_ID_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_PROBES_FIELD_NUMBER: _ClassVar[int]
    PARAPHRASES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TARGET_NEW_FIELD_NUMBER: _ClassVar[int]
    client_edit_id: str
    locality_probes: _containers.RepeatedCompositeFieldContainer[Probe]
    paraphrases: _containers.RepeatedScalarFieldContainer[str]
    prompt: str
    subject: str
    target_new: str
    def __init__(self, prompt: _Optional[str] = ..., subject: _Optional[str] = ..., target_new: _Optional[str] = ..., paraphrases: _Optional[_Iterable[str]] = ..., locality_probes: _Optional[_Iterable[_Union[Probe, _Mapping]]] = ..., client_edit_id: _Optional[str] = ...) -> None: ...

class EditBatch(_message.Message):
    __slots__ = ["edits"]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    edits: _containers.RepeatedCompositeFieldContainer[Edit]
    def __init__(self, edits: _Optional[_Iterable[_Union[Edit, _Mapping]]] = ...) -> None: ...

class EditBatchStatus(_message.Message):
    __slots__ = ["actor", "edit_count", "edit_results", "error", "gate_report", "offset", "progress", "replayed", "revision", "session", "stage"]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EDIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EDIT_RESULTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GATE_REPORT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    actor: str
    edit_count: int
    edit_results: _containers.RepeatedCompositeFieldContainer[EditResult]
    error: _status_pb2.Status
    gate_report: GateReport
    offset: int
    progress: SolveProgress
    replayed: bool
    revision: int
    session: str
    stage: BatchStage
    def __init__(self, session: _Optional[str] = ..., offset: _Optional[int] = ..., stage: _Optional[_Union[BatchStage, str]] = ..., revision: _Optional[int] = ..., edit_results: _Optional[_Iterable[_Union[EditResult, _Mapping]]] = ..., gate_report: _Optional[_Union[GateReport, _Mapping]] = ..., progress: _Optional[_Union[SolveProgress, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., replayed: bool = ..., edit_count: _Optional[int] = ..., actor: _Optional[str] = ...) -> None: ...

class EditReference(_message.Message):
    __slots__ = ["edit_index", "revision"]
    EDIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    edit_index: int
    revision: int
    def __init__(self, revision: _Optional[int] = ..., edit_index: _Optional[int] = ...) -> None: ...

class EditResult(_message.Message):
    __slots__ = ["client_edit_id", "dropped", "generality", "generality_source", "index", "locality", "overlaps", "passed", "reliability", "target_loss", "target_steps", "violation"]
    CLIENT_EDIT_ID_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    GENERALITY_FIELD_NUMBER: _ClassVar[int]
    GENERALITY_SOURCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    OVERLAPS_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    TARGET_LOSS_FIELD_NUMBER: _ClassVar[int]
    TARGET_STEPS_FIELD_NUMBER: _ClassVar[int]
    VIOLATION_FIELD_NUMBER: _ClassVar[int]
    client_edit_id: str
    dropped: bool
    generality: float
    generality_source: GeneralitySource
    index: int
    locality: float
    overlaps: _containers.RepeatedCompositeFieldContainer[KeyOverlap]
    passed: bool
    reliability: float
    target_loss: float
    target_steps: int
    violation: FieldViolation
    def __init__(self, index: _Optional[int] = ..., client_edit_id: _Optional[str] = ..., violation: _Optional[_Union[FieldViolation, _Mapping]] = ..., reliability: _Optional[float] = ..., generality: _Optional[float] = ..., locality: _Optional[float] = ..., passed: bool = ..., target_loss: _Optional[float] = ..., target_steps: _Optional[int] = ..., overlaps: _Optional[_Iterable[_Union[KeyOverlap, _Mapping]]] = ..., generality_source: _Optional[_Union[GeneralitySource, str]] = ..., dropped: bool = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ["description", "field"]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    description: str
    field: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class GateReport(_message.Message):
    __slots__ = ["background", "broken_edits", "failures", "generality", "locality", "mode", "passed", "perplexity_change", "reliability", "retained_edits", "retention", "reverted", "thresholds"]
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    BROKEN_EDITS_FIELD_NUMBER: _ClassVar[int]
    ENFORCE: GateReport.Mode
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    GENERALITY_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_UNSPECIFIED: GateReport.Mode
    PASSED_FIELD_NUMBER: _ClassVar[int]
    PERPLEXITY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    REPORT: GateReport.Mode
    RETAINED_EDITS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    REVERTED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    background: float
    broken_edits: _containers.RepeatedCompositeFieldContainer[EditReference]
    failures: _containers.RepeatedScalarFieldContainer[str]
    generality: float
    locality: float
    mode: GateReport.Mode
    passed: bool
    perplexity_change: float
    reliability: float
    retained_edits: int
    retention: float
    reverted: float
    thresholds: GateThresholds
    def __init__(self, mode: _Optional[_Union[GateReport.Mode, str]] = ..., passed: bool = ..., reliability: _Optional[float] = ..., generality: _Optional[float] = ..., locality: _Optional[float] = ..., thresholds: _Optional[_Union[GateThresholds, _Mapping]] = ..., failures: _Optional[_Iterable[str]] = ..., background: _Optional[float] = ..., perplexity_change: _Optional[float] = ..., retained_edits: _Optional[int] = ..., retention: _Optional[float] = ..., broken_edits: _Optional[_Iterable[_Union[EditReference, _Mapping]]] = ..., reverted: _Optional[float] = ...) -> None: ...

class GateThresholds(_message.Message):
    __slots__ = ["background", "generality", "locality", "max_perplexity_change", "reliability", "retention"]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    GENERALITY_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    MAX_PERPLEXITY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    background: float
    generality: float
    locality: float
    max_perplexity_change: float
    reliability: float
    retention: float
    def __init__(self, reliability: _Optional[float] = ..., generality: _Optional[float] = ..., locality: _Optional[float] = ..., background: _Optional[float] = ..., retention: _Optional[float] = ..., max_perplexity_change: _Optional[float] = ...) -> None: ...

class GetEditBatchRequest(_message.Message):
    __slots__ = ["offset", "session"]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    offset: int
    session: str
    def __init__(self, session: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class KeyOverlap(_message.Message):
    __slots__ = ["activation", "edit_index", "revision", "same_prompt"]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    EDIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SAME_PROMPT_FIELD_NUMBER: _ClassVar[int]
    activation: float
    edit_index: int
    revision: int
    same_prompt: bool
    def __init__(self, revision: _Optional[int] = ..., edit_index: _Optional[int] = ..., activation: _Optional[float] = ..., same_prompt: bool = ...) -> None: ...

class ListEditBatchesRequest(_message.Message):
    __slots__ = ["page_size", "page_token", "session"]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    session: str
    def __init__(self, session: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEditBatchesResponse(_message.Message):
    __slots__ = ["batches", "next_page_token"]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[EditBatchStatus]
    next_page_token: str
    def __init__(self, batches: _Optional[_Iterable[_Union[EditBatchStatus, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ["answer", "prompt"]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    answer: str
    prompt: str
    def __init__(self, prompt: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class SolveProgress(_message.Message):
    __slots__ = ["done", "phase", "total"]
    class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    DONE_FIELD_NUMBER: _ClassVar[int]
    LAYER_UPDATES: SolveProgress.Phase
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PHASE_UNSPECIFIED: SolveProgress.Phase
    TARGET_VALUES: SolveProgress.Phase
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    phase: SolveProgress.Phase
    total: int
    def __init__(self, phase: _Optional[_Union[SolveProgress.Phase, str]] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class StreamEditsRequest(_message.Message):
    __slots__ = ["batch", "flush", "start"]
    class Batch(_message.Message):
        __slots__ = ["batch", "offset"]
        BATCH_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        batch: EditBatch
        offset: int
        def __init__(self, offset: _Optional[int] = ..., batch: _Optional[_Union[EditBatch, _Mapping]] = ...) -> None: ...
    class Flush(_message.Message):
        __slots__ = []
        def __init__(self) -> None: ...
    class Start(_message.Message):
        __slots__ = ["failure_policy", "promotion", "session", "thresholds"]
        FAILURE_POLICY_FIELD_NUMBER: _ClassVar[int]
        PROMOTION_FIELD_NUMBER: _ClassVar[int]
        SESSION_FIELD_NUMBER: _ClassVar[int]
        THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
        failure_policy: FailurePolicy
        promotion: Promotion
        session: str
        thresholds: GateThresholds
        def __init__(self, session: _Optional[str] = ..., promotion: _Optional[_Union[Promotion, str]] = ..., thresholds: _Optional[_Union[GateThresholds, _Mapping]] = ..., failure_policy: _Optional[_Union[FailurePolicy, str]] = ...) -> None: ...
    BATCH_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    batch: StreamEditsRequest.Batch
    flush: StreamEditsRequest.Flush
    start: StreamEditsRequest.Start
    def __init__(self, start: _Optional[_Union[StreamEditsRequest.Start, _Mapping]] = ..., batch: _Optional[_Union[StreamEditsRequest.Batch, _Mapping]] = ..., flush: _Optional[_Union[StreamEditsRequest.Flush, _Mapping]] = ...) -> None: ...

class StreamEditsResponse(_message.Message):
    __slots__ = ["batch", "flushed", "started"]
    class Flushed(_message.Message):
        __slots__ = ["next_offset"]
        NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
        next_offset: int
        def __init__(self, next_offset: _Optional[int] = ...) -> None: ...
    class Started(_message.Message):
        __slots__ = ["credits", "next_offset", "session"]
        CREDITS_FIELD_NUMBER: _ClassVar[int]
        NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
        SESSION_FIELD_NUMBER: _ClassVar[int]
        credits: int
        next_offset: int
        session: str
        def __init__(self, session: _Optional[str] = ..., next_offset: _Optional[int] = ..., credits: _Optional[int] = ...) -> None: ...
    BATCH_FIELD_NUMBER: _ClassVar[int]
    FLUSHED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    batch: EditBatchStatus
    flushed: StreamEditsResponse.Flushed
    started: StreamEditsResponse.Started
    def __init__(self, started: _Optional[_Union[StreamEditsResponse.Started, _Mapping]] = ..., batch: _Optional[_Union[EditBatchStatus, _Mapping]] = ..., flushed: _Optional[_Union[StreamEditsResponse.Flushed, _Mapping]] = ...) -> None: ...

class SubmitEditBatchRequest(_message.Message):
    __slots__ = ["batch", "failure_policy", "promotion", "request_id", "thresholds", "validate_only", "wait_for"]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_POLICY_FIELD_NUMBER: _ClassVar[int]
    PROMOTION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_FIELD_NUMBER: _ClassVar[int]
    batch: EditBatch
    failure_policy: FailurePolicy
    promotion: Promotion
    request_id: str
    thresholds: GateThresholds
    validate_only: bool
    wait_for: BatchStage
    def __init__(self, batch: _Optional[_Union[EditBatch, _Mapping]] = ..., request_id: _Optional[str] = ..., promotion: _Optional[_Union[Promotion, str]] = ..., thresholds: _Optional[_Union[GateThresholds, _Mapping]] = ..., validate_only: bool = ..., wait_for: _Optional[_Union[BatchStage, str]] = ..., failure_policy: _Optional[_Union[FailurePolicy, str]] = ...) -> None: ...

class SubmitEditBatchResponse(_message.Message):
    __slots__ = ["batch"]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: EditBatchStatus
    def __init__(self, batch: _Optional[_Union[EditBatchStatus, _Mapping]] = ...) -> None: ...

class Promotion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FailurePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class BatchStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class GeneralitySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
