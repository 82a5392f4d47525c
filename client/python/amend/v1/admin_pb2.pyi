from amend.v1 import profile_pb2 as _profile_pb2
from amend.v1 import revision_pb2 as _revision_pb2
from amend.v1 import server_config_pb2 as _server_config_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backup(_message.Message):
    __slots__ = ["bytes", "create_time", "damage", "latest_revision", "live_revision", "model_fingerprint", "number", "store_digest"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    LATEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIVE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STORE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    create_time: _timestamp_pb2.Timestamp
    damage: str
    latest_revision: int
    live_revision: int
    model_fingerprint: str
    number: int
    store_digest: str
    def __init__(self, number: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., live_revision: _Optional[int] = ..., latest_revision: _Optional[int] = ..., store_digest: _Optional[str] = ..., model_fingerprint: _Optional[str] = ..., bytes: _Optional[int] = ..., damage: _Optional[str] = ...) -> None: ...

class CreateBackupRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class DeleteBackupRequest(_message.Message):
    __slots__ = ["number"]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class DeleteBackupResponse(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ["edit_queue_depth", "running_sequences", "waiting_sequences"]
    EDIT_QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    edit_queue_depth: int
    running_sequences: int
    waiting_sequences: int
    def __init__(self, running_sequences: _Optional[int] = ..., waiting_sequences: _Optional[int] = ..., edit_queue_depth: _Optional[int] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ["config", "config_file", "reloadable_fields"]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FILE_FIELD_NUMBER: _ClassVar[int]
    RELOADABLE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    config: _server_config_pb2.ServerConfig
    config_file: str
    reloadable_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, config: _Optional[_Union[_server_config_pb2.ServerConfig, _Mapping]] = ..., config_file: _Optional[str] = ..., reloadable_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class Limits(_message.Message):
    __slots__ = ["default_max_new_tokens", "edit_credits", "kv_cache_tokens", "max_batch_edits", "max_running_sequences", "max_waiting_sequences"]
    DEFAULT_MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EDIT_CREDITS_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_EDITS_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    default_max_new_tokens: int
    edit_credits: int
    kv_cache_tokens: int
    max_batch_edits: int
    max_running_sequences: int
    max_waiting_sequences: int
    def __init__(self, max_batch_edits: _Optional[int] = ..., max_running_sequences: _Optional[int] = ..., max_waiting_sequences: _Optional[int] = ..., edit_credits: _Optional[int] = ..., default_max_new_tokens: _Optional[int] = ..., kv_cache_tokens: _Optional[int] = ...) -> None: ...

class ListBackupsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListBackupsResponse(_message.Message):
    __slots__ = ["backups"]
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    backups: _containers.RepeatedCompositeFieldContainer[Backup]
    def __init__(self, backups: _Optional[_Iterable[_Union[Backup, _Mapping]]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ["architecture", "context_length", "device", "dtype", "fingerprint", "hidden_size", "intermediate_size", "layers", "name", "parameters", "vocabulary_size"]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    INTERMEDIATE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    context_length: int
    device: str
    dtype: str
    fingerprint: str
    hidden_size: int
    intermediate_size: int
    layers: int
    name: str
    parameters: int
    vocabulary_size: int
    def __init__(self, architecture: _Optional[str] = ..., name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., intermediate_size: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., context_length: _Optional[int] = ..., parameters: _Optional[int] = ..., dtype: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class ReloadConfigRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ReloadConfigResponse(_message.Message):
    __slots__ = ["changed_fields", "fields_that_need_a_restart"]
    CHANGED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_THAT_NEED_A_RESTART_FIELD_NUMBER: _ClassVar[int]
    changed_fields: _containers.RepeatedScalarFieldContainer[str]
    fields_that_need_a_restart: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changed_fields: _Optional[_Iterable[str]] = ..., fields_that_need_a_restart: _Optional[_Iterable[str]] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ["edit_queue_depth", "http_address", "latest_revision", "limits", "live", "model", "profile", "running_sequences", "start_time", "version", "waiting_sequences"]
    EDIT_QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LATEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    edit_queue_depth: int
    http_address: str
    latest_revision: int
    limits: Limits
    live: _revision_pb2.Label
    model: ModelInfo
    profile: _profile_pb2.Profile
    running_sequences: int
    start_time: _timestamp_pb2.Timestamp
    version: str
    waiting_sequences: int
    def __init__(self, version: _Optional[str] = ..., model: _Optional[_Union[ModelInfo, _Mapping]] = ..., profile: _Optional[_Union[_profile_pb2.Profile, _Mapping]] = ..., live: _Optional[_Union[_revision_pb2.Label, _Mapping]] = ..., latest_revision: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., edit_queue_depth: _Optional[int] = ..., running_sequences: _Optional[int] = ..., waiting_sequences: _Optional[int] = ..., http_address: _Optional[str] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ["level"]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ["previous_level"]
    PREVIOUS_LEVEL_FIELD_NUMBER: _ClassVar[int]
    previous_level: str
    def __init__(self, previous_level: _Optional[str] = ...) -> None: ...

class StoreDamage(_message.Message):
    __slots__ = ["description", "expected_digest", "found_digest", "key"]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FOUND_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    description: str
    expected_digest: str
    found_digest: str
    key: str
    def __init__(self, key: _Optional[str] = ..., expected_digest: _Optional[str] = ..., found_digest: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class VerifyReport(_message.Message):
    __slots__ = ["damage_count", "damages", "latest_revision", "live_revision", "store_digest"]
    DAMAGES_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIVE_REVISION_FIELD_NUMBER: _ClassVar[int]
    STORE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    damage_count: int
    damages: _containers.RepeatedCompositeFieldContainer[StoreDamage]
    latest_revision: int
    live_revision: int
    store_digest: str
    def __init__(self, live_revision: _Optional[int] = ..., latest_revision: _Optional[int] = ..., store_digest: _Optional[str] = ..., damage_count: _Optional[int] = ..., damages: _Optional[_Iterable[_Union[StoreDamage, _Mapping]]] = ...) -> None: ...

class VerifyStoreRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class VerifyStoreResponse(_message.Message):
    __slots__ = ["blobs", "bytes", "records", "report"]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    blobs: int
    bytes: int
    records: int
    report: VerifyReport
    def __init__(self, records: _Optional[int] = ..., blobs: _Optional[int] = ..., bytes: _Optional[int] = ..., report: _Optional[_Union[VerifyReport, _Mapping]] = ...) -> None: ...
