from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ADMIN: Role
DESCRIPTOR: _descriptor.FileDescriptor
EDITOR: Role
PROMOTER: Role
READER: Role
ROLE_UNSPECIFIED: Role
USER: Role

class Policy(_message.Message):
    __slots__ = ["default_limits", "principals"]
    DEFAULT_LIMITS_FIELD_NUMBER: _ClassVar[int]
    PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
    default_limits: PrincipalLimits
    principals: _containers.RepeatedCompositeFieldContainer[Principal]
    def __init__(self, principals: _Optional[_Iterable[_Union[Principal, _Mapping]]] = ..., default_limits: _Optional[_Union[PrincipalLimits, _Mapping]] = ...) -> None: ...

class Principal(_message.Message):
    __slots__ = ["certificate_common_names", "certificate_dns_names", "certificate_uris", "limits", "name", "roles", "token_sha256"]
    CERTIFICATE_COMMON_NAMES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_DNS_NAMES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_URIS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SHA256_FIELD_NUMBER: _ClassVar[int]
    certificate_common_names: _containers.RepeatedScalarFieldContainer[str]
    certificate_dns_names: _containers.RepeatedScalarFieldContainer[str]
    certificate_uris: _containers.RepeatedScalarFieldContainer[str]
    limits: PrincipalLimits
    name: str
    roles: _containers.RepeatedScalarFieldContainer[Role]
    token_sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., roles: _Optional[_Iterable[_Union[Role, str]]] = ..., certificate_uris: _Optional[_Iterable[str]] = ..., certificate_dns_names: _Optional[_Iterable[str]] = ..., certificate_common_names: _Optional[_Iterable[str]] = ..., token_sha256: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[PrincipalLimits, _Mapping]] = ...) -> None: ...

class PrincipalLimits(_message.Message):
    __slots__ = ["concurrent_calls", "edits_per_minute", "generated_tokens_per_minute", "request_burst", "requests_per_second"]
    CONCURRENT_CALLS_FIELD_NUMBER: _ClassVar[int]
    EDITS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BURST_FIELD_NUMBER: _ClassVar[int]
    concurrent_calls: int
    edits_per_minute: int
    generated_tokens_per_minute: int
    request_burst: int
    requests_per_second: float
    def __init__(self, requests_per_second: _Optional[float] = ..., request_burst: _Optional[int] = ..., concurrent_calls: _Optional[int] = ..., generated_tokens_per_minute: _Optional[int] = ..., edits_per_minute: _Optional[int] = ...) -> None: ...

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
