from amend.v1 import edit_pb2 as _edit_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditRecord(_message.Message):
    __slots__ = ["actor", "label", "reason", "sequence", "time", "to", "verb"]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    actor: str
    label: str
    reason: str
    sequence: int
    time: _timestamp_pb2.Timestamp
    to: int
    verb: str
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., verb: _Optional[str] = ..., label: _Optional[str] = ..., to: _Optional[int] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...

class CompareRevisionsRequest(_message.Message):
    __slots__ = ["base_revision", "page_size", "page_token", "revision"]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    base_revision: int
    page_size: int
    page_token: str
    revision: int
    def __init__(self, base_revision: _Optional[int] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class CompareRevisionsResponse(_message.Message):
    __slots__ = ["added_count", "common_ancestor", "differences", "next_page_token", "removed_count"]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMON_ANCESTOR_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    added_count: int
    common_ancestor: int
    differences: _containers.RepeatedCompositeFieldContainer[RevisionDifference]
    next_page_token: str
    removed_count: int
    def __init__(self, common_ancestor: _Optional[int] = ..., added_count: _Optional[int] = ..., removed_count: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[RevisionDifference, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteLabelRequest(_message.Message):
    __slots__ = ["etag", "label", "reason"]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    etag: str
    label: str
    reason: str
    def __init__(self, label: _Optional[str] = ..., etag: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteLabelResponse(_message.Message):
    __slots__ = ["label"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    label: Label
    def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ...) -> None: ...

class DeleteRevisionRequest(_message.Message):
    __slots__ = ["reason", "revision"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    reason: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ExportChunk(_message.Message):
    __slots__ = ["bytes", "file", "sha256"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    bytes: bytes
    file: int
    sha256: str
    def __init__(self, file: _Optional[int] = ..., bytes: _Optional[bytes] = ..., sha256: _Optional[str] = ...) -> None: ...

class ExportFile(_message.Message):
    __slots__ = ["name", "size"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class ExportRevisionRequest(_message.Message):
    __slots__ = ["label", "projections_only", "revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_ONLY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    label: str
    projections_only: bool
    revision: int
    def __init__(self, revision: _Optional[int] = ..., label: _Optional[str] = ..., projections_only: bool = ...) -> None: ...

class ExportRevisionResponse(_message.Message):
    __slots__ = ["chunk", "start"]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    chunk: ExportChunk
    start: ExportStart
    def __init__(self, start: _Optional[_Union[ExportStart, _Mapping]] = ..., chunk: _Optional[_Union[ExportChunk, _Mapping]] = ...) -> None: ...

class ExportStart(_message.Message):
    __slots__ = ["base_fingerprint", "files", "revision"]
    BASE_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    base_fingerprint: str
    files: _containers.RepeatedCompositeFieldContainer[ExportFile]
    revision: int
    def __init__(self, revision: _Optional[int] = ..., base_fingerprint: _Optional[str] = ..., files: _Optional[_Iterable[_Union[ExportFile, _Mapping]]] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ["label", "revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    label: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ["etag", "name", "revision"]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    etag: str
    name: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class LayerNorm(_message.Message):
    __slots__ = ["layer", "update_norm_ratio"]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_NORM_RATIO_FIELD_NUMBER: _ClassVar[int]
    layer: int
    update_norm_ratio: float
    def __init__(self, layer: _Optional[int] = ..., update_norm_ratio: _Optional[float] = ...) -> None: ...

class ListAuditRecordsRequest(_message.Message):
    __slots__ = ["page_size", "page_token"]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditRecordsResponse(_message.Message):
    __slots__ = ["next_page_token", "records"]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    next_page_token: str
    records: _containers.RepeatedCompositeFieldContainer[AuditRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[AuditRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListLabelsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListLabelsResponse(_message.Message):
    __slots__ = ["labels"]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ["page_size", "page_token"]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ["live", "next_page_token", "revisions"]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    live: Label
    next_page_token: str
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., live: _Optional[_Union[Label, _Mapping]] = ...) -> None: ...

class PinRevisionRequest(_message.Message):
    __slots__ = ["reason", "revision"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    reason: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ["etag", "label", "reason", "revision"]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    etag: str
    label: str
    reason: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., label: _Optional[str] = ..., etag: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PromoteResponse(_message.Message):
    __slots__ = ["label", "previous_revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_REVISION_FIELD_NUMBER: _ClassVar[int]
    label: Label
    previous_revision: int
    def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ..., previous_revision: _Optional[int] = ...) -> None: ...

class PurgeRevisionsRequest(_message.Message):
    __slots__ = ["dry_run", "reason", "without_delay"]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_DELAY_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    reason: str
    without_delay: bool
    def __init__(self, without_delay: bool = ..., dry_run: bool = ..., reason: _Optional[str] = ...) -> None: ...

class PurgeRevisionsResponse(_message.Message):
    __slots__ = ["more", "revisions"]
    MORE_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    more: bool
    revisions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, revisions: _Optional[_Iterable[int]] = ..., more: bool = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ["actor", "create_time", "delete_time", "edit_count", "edit_results", "edits", "gate_report", "labels", "layer_norms", "line_edit_count", "offset", "parent", "pinned", "purge_time", "revision", "session", "state", "withdrawn"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    EDIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EDIT_RESULTS_FIELD_NUMBER: _ClassVar[int]
    GATE_REPORT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LAYER_NORMS_FIELD_NUMBER: _ClassVar[int]
    LINE_EDIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    REJECTED: Revision.State
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNSPECIFIED: Revision.State
    TEMPORARY: Revision.State
    VALIDATED: Revision.State
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    actor: str
    create_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    edit_count: int
    edit_results: _containers.RepeatedCompositeFieldContainer[_edit_pb2.EditResult]
    edits: _containers.RepeatedCompositeFieldContainer[_edit_pb2.Edit]
    gate_report: _edit_pb2.GateReport
    labels: _containers.RepeatedScalarFieldContainer[str]
    layer_norms: _containers.RepeatedCompositeFieldContainer[LayerNorm]
    line_edit_count: int
    offset: int
    parent: int
    pinned: bool
    purge_time: _timestamp_pb2.Timestamp
    revision: int
    session: str
    state: Revision.State
    withdrawn: _containers.RepeatedCompositeFieldContainer[_edit_pb2.EditReference]
    def __init__(self, revision: _Optional[int] = ..., parent: _Optional[int] = ..., state: _Optional[_Union[Revision.State, str]] = ..., session: _Optional[str] = ..., offset: _Optional[int] = ..., edit_count: _Optional[int] = ..., line_edit_count: _Optional[int] = ..., gate_report: _Optional[_Union[_edit_pb2.GateReport, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., edits: _Optional[_Iterable[_Union[_edit_pb2.Edit, _Mapping]]] = ..., edit_results: _Optional[_Iterable[_Union[_edit_pb2.EditResult, _Mapping]]] = ..., layer_norms: _Optional[_Iterable[_Union[LayerNorm, _Mapping]]] = ..., pinned: bool = ..., delete_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., withdrawn: _Optional[_Iterable[_Union[_edit_pb2.EditReference, _Mapping]]] = ..., actor: _Optional[str] = ...) -> None: ...

class RevisionDifference(_message.Message):
    __slots__ = ["edit", "edit_index", "kind", "revision"]
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ADDED: RevisionDifference.Kind
    EDIT_FIELD_NUMBER: _ClassVar[int]
    EDIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KIND_UNSPECIFIED: RevisionDifference.Kind
    REMOVED: RevisionDifference.Kind
    REVISION_FIELD_NUMBER: _ClassVar[int]
    edit: _edit_pb2.Edit
    edit_index: int
    kind: RevisionDifference.Kind
    revision: int
    def __init__(self, kind: _Optional[_Union[RevisionDifference.Kind, str]] = ..., revision: _Optional[int] = ..., edit_index: _Optional[int] = ..., edit: _Optional[_Union[_edit_pb2.Edit, _Mapping]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ["etag", "label", "previous", "reason", "revision"]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    etag: str
    label: str
    previous: bool
    reason: str
    revision: int
    def __init__(self, label: _Optional[str] = ..., revision: _Optional[int] = ..., previous: bool = ..., reason: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ["label", "previous_revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_REVISION_FIELD_NUMBER: _ClassVar[int]
    label: Label
    previous_revision: int
    def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ..., previous_revision: _Optional[int] = ...) -> None: ...

class SetLabelRequest(_message.Message):
    __slots__ = ["etag", "label", "reason", "revision"]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    etag: str
    label: str
    reason: str
    revision: int
    def __init__(self, label: _Optional[str] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SetLabelResponse(_message.Message):
    __slots__ = ["label", "previous_revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_REVISION_FIELD_NUMBER: _ClassVar[int]
    label: Label
    previous_revision: int
    def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ..., previous_revision: _Optional[int] = ...) -> None: ...

class UndeleteRevisionRequest(_message.Message):
    __slots__ = ["reason", "revision"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    reason: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class UnpinRevisionRequest(_message.Message):
    __slots__ = ["reason", "revision"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    reason: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ValidateRevisionRequest(_message.Message):
    __slots__ = ["revision", "thresholds"]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    thresholds: _edit_pb2.GateThresholds
    def __init__(self, revision: _Optional[int] = ..., thresholds: _Optional[_Union[_edit_pb2.GateThresholds, _Mapping]] = ...) -> None: ...

class ValidateRevisionResponse(_message.Message):
    __slots__ = ["edit_results", "gate_report"]
    EDIT_RESULTS_FIELD_NUMBER: _ClassVar[int]
    GATE_REPORT_FIELD_NUMBER: _ClassVar[int]
    edit_results: _containers.RepeatedCompositeFieldContainer[_edit_pb2.EditResult]
    gate_report: _edit_pb2.GateReport
    def __init__(self, gate_report: _Optional[_Union[_edit_pb2.GateReport, _Mapping]] = ..., edit_results: _Optional[_Iterable[_Union[_edit_pb2.EditResult, _Mapping]]] = ...) -> None: ...

class WatchRevisionsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class WatchRevisionsResponse(_message.Message):
    __slots__ = ["label_deleted", "label_moved", "revision_changed", "state"]
    class LabelDeleted(_message.Message):
        __slots__ = ["label"]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        label: Label
        def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ...) -> None: ...
    class LabelMoved(_message.Message):
        __slots__ = ["label", "previous_revision"]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        PREVIOUS_REVISION_FIELD_NUMBER: _ClassVar[int]
        label: Label
        previous_revision: int
        def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ..., previous_revision: _Optional[int] = ...) -> None: ...
    class RevisionChanged(_message.Message):
        __slots__ = ["change", "revision"]
        class Change(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = []
        CHANGE_FIELD_NUMBER: _ClassVar[int]
        CHANGE_UNSPECIFIED: WatchRevisionsResponse.RevisionChanged.Change
        CREATED: WatchRevisionsResponse.RevisionChanged.Change
        DELETED: WatchRevisionsResponse.RevisionChanged.Change
        PINNED: WatchRevisionsResponse.RevisionChanged.Change
        PURGED: WatchRevisionsResponse.RevisionChanged.Change
        REVISION_FIELD_NUMBER: _ClassVar[int]
        UNDELETED: WatchRevisionsResponse.RevisionChanged.Change
        UNPINNED: WatchRevisionsResponse.RevisionChanged.Change
        change: WatchRevisionsResponse.RevisionChanged.Change
        revision: Revision
        def __init__(self, change: _Optional[_Union[WatchRevisionsResponse.RevisionChanged.Change, str]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ...) -> None: ...
    class State(_message.Message):
        __slots__ = ["labels", "latest_revision"]
        LABELS_FIELD_NUMBER: _ClassVar[int]
        LATEST_REVISION_FIELD_NUMBER: _ClassVar[int]
        labels: _containers.RepeatedCompositeFieldContainer[Label]
        latest_revision: int
        def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ..., latest_revision: _Optional[int] = ...) -> None: ...
    LABEL_DELETED_FIELD_NUMBER: _ClassVar[int]
    LABEL_MOVED_FIELD_NUMBER: _ClassVar[int]
    REVISION_CHANGED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    label_deleted: WatchRevisionsResponse.LabelDeleted
    label_moved: WatchRevisionsResponse.LabelMoved
    revision_changed: WatchRevisionsResponse.RevisionChanged
    state: WatchRevisionsResponse.State
    def __init__(self, state: _Optional[_Union[WatchRevisionsResponse.State, _Mapping]] = ..., revision_changed: _Optional[_Union[WatchRevisionsResponse.RevisionChanged, _Mapping]] = ..., label_moved: _Optional[_Union[WatchRevisionsResponse.LabelMoved, _Mapping]] = ..., label_deleted: _Optional[_Union[WatchRevisionsResponse.LabelDeleted, _Mapping]] = ...) -> None: ...

class WithdrawEditsRequest(_message.Message):
    __slots__ = ["edits", "etag", "label", "promotion", "reason", "revision", "validate_only"]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROMOTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    edits: _containers.RepeatedCompositeFieldContainer[_edit_pb2.EditReference]
    etag: str
    label: str
    promotion: _edit_pb2.Promotion
    reason: str
    revision: int
    validate_only: bool
    def __init__(self, revision: _Optional[int] = ..., label: _Optional[str] = ..., edits: _Optional[_Iterable[_Union[_edit_pb2.EditReference, _Mapping]]] = ..., reason: _Optional[str] = ..., etag: _Optional[str] = ..., promotion: _Optional[_Union[_edit_pb2.Promotion, str]] = ..., validate_only: bool = ...) -> None: ...

class WithdrawEditsResponse(_message.Message):
    __slots__ = ["label", "revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    label: Label
    revision: Revision
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., label: _Optional[_Union[Label, _Mapping]] = ...) -> None: ...
