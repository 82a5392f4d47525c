from amend.v1 import profile_pb2 as _profile_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServerConfig(_message.Message):
    __slots__ = ["admin_listen", "allow_insecure", "backup_dir", "backups_kept", "console", "console_hosts", "cuda_graphs", "data", "decode_threads", "device", "drain_seconds", "dtype", "http", "keep_revisions", "keep_seconds", "kv_cache_mib", "limits", "listen", "log_format", "log_level", "model", "policy", "profile", "profile_file", "purge_delay_seconds", "security_reload_seconds", "serve_intact_ancestor", "threads", "tls_cert", "tls_client_ca", "tls_client_cert_optional", "tls_key"]
    ADMIN_LISTEN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_INSECURE_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_KEPT_FIELD_NUMBER: _ClassVar[int]
    BACKUP_DIR_FIELD_NUMBER: _ClassVar[int]
    CONSOLE_FIELD_NUMBER: _ClassVar[int]
    CONSOLE_HOSTS_FIELD_NUMBER: _ClassVar[int]
    CUDA_GRAPHS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DECODE_THREADS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    KEEP_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    KEEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_MIB_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LISTEN_FIELD_NUMBER: _ClassVar[int]
    LOG_FORMAT_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FILE_FIELD_NUMBER: _ClassVar[int]
    PURGE_DELAY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SECURITY_RELOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SERVE_INTACT_ANCESTOR_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    TLS_CERT_FIELD_NUMBER: _ClassVar[int]
    TLS_CLIENT_CA_FIELD_NUMBER: _ClassVar[int]
    TLS_CLIENT_CERT_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    TLS_KEY_FIELD_NUMBER: _ClassVar[int]
    admin_listen: str
    allow_insecure: bool
    backup_dir: str
    backups_kept: int
    console: str
    console_hosts: str
    cuda_graphs: bool
    data: str
    decode_threads: int
    device: str
    drain_seconds: float
    dtype: str
    http: str
    keep_revisions: int
    keep_seconds: float
    kv_cache_mib: int
    limits: ServerLimits
    listen: str
    log_format: str
    log_level: str
    model: str
    policy: str
    profile: _profile_pb2.Profile
    profile_file: str
    purge_delay_seconds: float
    security_reload_seconds: float
    serve_intact_ancestor: bool
    threads: int
    tls_cert: str
    tls_client_ca: str
    tls_client_cert_optional: bool
    tls_key: str
    def __init__(self, model: _Optional[str] = ..., data: _Optional[str] = ..., backup_dir: _Optional[str] = ..., backups_kept: _Optional[int] = ..., profile_file: _Optional[str] = ..., profile: _Optional[_Union[_profile_pb2.Profile, _Mapping]] = ..., listen: _Optional[str] = ..., http: _Optional[str] = ..., device: _Optional[str] = ..., cuda_graphs: bool = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., decode_threads: _Optional[int] = ..., kv_cache_mib: _Optional[int] = ..., drain_seconds: _Optional[float] = ..., keep_revisions: _Optional[int] = ..., keep_seconds: _Optional[float] = ..., purge_delay_seconds: _Optional[float] = ..., serve_intact_ancestor: bool = ..., log_level: _Optional[str] = ..., log_format: _Optional[str] = ..., console: _Optional[str] = ..., console_hosts: _Optional[str] = ..., limits: _Optional[_Union[ServerLimits, _Mapping]] = ..., tls_cert: _Optional[str] = ..., tls_key: _Optional[str] = ..., tls_client_ca: _Optional[str] = ..., tls_client_cert_optional: bool = ..., policy: _Optional[str] = ..., admin_listen: _Optional[str] = ..., allow_insecure: bool = ..., security_reload_seconds: _Optional[float] = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ["default_max_new_tokens", "edit_credits", "max_batch_edits", "max_pending_batches", "max_pending_mib", "max_prefill_tokens_per_step", "max_reader_pause_seconds", "max_running_sequences", "max_unread_messages", "max_waiting_sequences"]
    DEFAULT_MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EDIT_CREDITS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_EDITS_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_BATCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_MIB_FIELD_NUMBER: _ClassVar[int]
    MAX_PREFILL_TOKENS_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_READER_PAUSE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    MAX_UNREAD_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    default_max_new_tokens: int
    edit_credits: int
    max_batch_edits: int
    max_pending_batches: int
    max_pending_mib: int
    max_prefill_tokens_per_step: int
    max_reader_pause_seconds: float
    max_running_sequences: int
    max_unread_messages: int
    max_waiting_sequences: int
    def __init__(self, max_running_sequences: _Optional[int] = ..., max_waiting_sequences: _Optional[int] = ..., max_prefill_tokens_per_step: _Optional[int] = ..., max_unread_messages: _Optional[int] = ..., max_reader_pause_seconds: _Optional[float] = ..., default_max_new_tokens: _Optional[int] = ..., max_batch_edits: _Optional[int] = ..., edit_credits: _Optional[int] = ..., max_pending_batches: _Optional[int] = ..., max_pending_mib: _Optional[int] = ...) -> None: ...
