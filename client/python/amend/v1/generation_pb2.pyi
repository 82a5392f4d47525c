from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

CONTEXT_FULL: FinishReason
DESCRIPTOR: _descriptor.FileDescriptor
END_OF_TEXT: FinishReason
FINISH_REASON_UNSPECIFIED: FinishReason
LENGTH: FinishReason
STOP: FinishReason

class GenerateRequest(_message.Message):
    __slots__ = ["at", "logprobs", "max_new_tokens", "min_revision", "prompt", "repetition_penalty", "seed", "stop", "temperature", "token_ids", "top_k", "top_p", "trace_hooks"]
    class TokenIds(_message.Message):
        __slots__ = ["ids"]
        IDS_FIELD_NUMBER: _ClassVar[int]
        ids: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TRACE_HOOKS_FIELD_NUMBER: _ClassVar[int]
    at: RevisionSelector
    logprobs: bool
    max_new_tokens: int
    min_revision: int
    prompt: str
    repetition_penalty: float
    seed: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    temperature: float
    token_ids: GenerateRequest.TokenIds
    top_k: int
    top_p: float
    trace_hooks: bool
    def __init__(self, prompt: _Optional[str] = ..., token_ids: _Optional[_Union[GenerateRequest.TokenIds, _Mapping]] = ..., max_new_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., at: _Optional[_Union[RevisionSelector, _Mapping]] = ..., min_revision: _Optional[int] = ..., trace_hooks: bool = ..., logprobs: bool = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ["finish_reason", "hook_firings", "logprobs", "revision", "text", "timings", "token_ids", "usage"]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIRINGS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    finish_reason: FinishReason
    hook_firings: _containers.RepeatedCompositeFieldContainer[HookFiring]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    revision: int
    text: str
    timings: Timings
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    usage: Usage
    def __init__(self, text: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., revision: _Optional[int] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., hook_firings: _Optional[_Iterable[_Union[HookFiring, _Mapping]]] = ...) -> None: ...

class GenerateStreamResponse(_message.Message):
    __slots__ = ["finish_reason", "hook_firings", "logprobs", "revision", "text", "timings", "token_ids", "usage"]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIRINGS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    finish_reason: FinishReason
    hook_firings: _containers.RepeatedCompositeFieldContainer[HookFiring]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    revision: int
    text: str
    timings: Timings
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    usage: Usage
    def __init__(self, text: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., revision: _Optional[int] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., hook_firings: _Optional[_Iterable[_Union[HookFiring, _Mapping]]] = ...) -> None: ...

class HookFiring(_message.Message):
    __slots__ = ["edit_index", "layer", "relative_activation", "revision", "token_position"]
    EDIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_POSITION_FIELD_NUMBER: _ClassVar[int]
    edit_index: int
    layer: int
    relative_activation: float
    revision: int
    token_position: int
    def __init__(self, token_position: _Optional[int] = ..., layer: _Optional[int] = ..., revision: _Optional[int] = ..., edit_index: _Optional[int] = ..., relative_activation: _Optional[float] = ...) -> None: ...

class RevisionSelector(_message.Message):
    __slots__ = ["label", "revision"]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    label: str
    revision: int
    def __init__(self, revision: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ["at", "items"]
    class Item(_message.Message):
        __slots__ = ["continuation", "prompt"]
        CONTINUATION_FIELD_NUMBER: _ClassVar[int]
        PROMPT_FIELD_NUMBER: _ClassVar[int]
        continuation: str
        prompt: str
        def __init__(self, prompt: _Optional[str] = ..., continuation: _Optional[str] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    at: RevisionSelector
    items: _containers.RepeatedCompositeFieldContainer[ScoreRequest.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[ScoreRequest.Item, _Mapping]]] = ..., at: _Optional[_Union[RevisionSelector, _Mapping]] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ["results", "revision"]
    class Result(_message.Message):
        __slots__ = ["argmax_ids", "logprobs", "token_ids"]
        ARGMAX_IDS_FIELD_NUMBER: _ClassVar[int]
        LOGPROBS_FIELD_NUMBER: _ClassVar[int]
        TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
        argmax_ids: _containers.RepeatedScalarFieldContainer[int]
        logprobs: _containers.RepeatedScalarFieldContainer[float]
        token_ids: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., argmax_ids: _Optional[_Iterable[int]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ScoreResponse.Result]
    revision: int
    def __init__(self, results: _Optional[_Iterable[_Union[ScoreResponse.Result, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ["queue_seconds", "time_to_first_token_seconds", "total_seconds"]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    queue_seconds: float
    time_to_first_token_seconds: float
    total_seconds: float
    def __init__(self, queue_seconds: _Optional[float] = ..., time_to_first_token_seconds: _Optional[float] = ..., total_seconds: _Optional[float] = ...) -> None: ...

class TokenizeRequest(_message.Message):
    __slots__ = ["text"]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ["token_ids", "tokens"]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    tokens: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., tokens: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ["cached_prompt_tokens", "generated_tokens", "prompt_tokens"]
    CACHED_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    cached_prompt_tokens: int
    generated_tokens: int
    prompt_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., cached_prompt_tokens: _Optional[int] = ...) -> None: ...

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
