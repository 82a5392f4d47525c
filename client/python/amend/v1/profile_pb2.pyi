from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackgroundTexts(_message.Message):
    __slots__ = ["max_texts", "max_tokens_per_text", "text_file", "texts"]
    MAX_TEXTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_PER_TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FILE_FIELD_NUMBER: _ClassVar[int]
    max_texts: int
    max_tokens_per_text: int
    text_file: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., text_file: _Optional[str] = ..., max_texts: _Optional[int] = ..., max_tokens_per_text: _Optional[int] = ...) -> None: ...

class ContextTemplates(_message.Message):
    __slots__ = ["seed", "templates"]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    seed: int
    templates: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, templates: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ...) -> None: ...

class CovarianceSource(_message.Message):
    __slots__ = ["covariance_file", "max_tokens_per_text", "text_file"]
    COVARIANCE_FILE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_PER_TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FILE_FIELD_NUMBER: _ClassVar[int]
    covariance_file: str
    max_tokens_per_text: int
    text_file: str
    def __init__(self, text_file: _Optional[str] = ..., covariance_file: _Optional[str] = ..., max_tokens_per_text: _Optional[int] = ...) -> None: ...

class GateSettings(_message.Message):
    __slots__ = ["background", "background_texts", "generality", "locality", "max_perplexity_change", "mode", "reliability", "retention"]
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_TEXTS_FIELD_NUMBER: _ClassVar[int]
    ENFORCE: GateSettings.Mode
    GENERALITY_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    MAX_PERPLEXITY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_UNSPECIFIED: GateSettings.Mode
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    REPORT: GateSettings.Mode
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    background: float
    background_texts: BackgroundTexts
    generality: float
    locality: float
    max_perplexity_change: float
    mode: GateSettings.Mode
    reliability: float
    retention: float
    def __init__(self, mode: _Optional[_Union[GateSettings.Mode, str]] = ..., reliability: _Optional[float] = ..., generality: _Optional[float] = ..., locality: _Optional[float] = ..., background: _Optional[float] = ..., retention: _Optional[float] = ..., max_perplexity_change: _Optional[float] = ..., background_texts: _Optional[_Union[BackgroundTexts, _Mapping]] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ["architecture", "hidden_size", "layers", "vocabulary_size"]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    hidden_size: int
    layers: int
    vocabulary_size: int
    def __init__(self, architecture: _Optional[str] = ..., layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., vocabulary_size: _Optional[int] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ["context_templates", "covariance", "gate", "layers", "match", "name", "scope", "target"]
    CONTEXT_TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    COVARIANCE_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    context_templates: ContextTemplates
    covariance: CovarianceSource
    gate: GateSettings
    layers: _containers.RepeatedScalarFieldContainer[int]
    match: Match
    name: str
    scope: ScopeSettings
    target: TargetSettings
    def __init__(self, name: _Optional[str] = ..., match: _Optional[_Union[Match, _Mapping]] = ..., layers: _Optional[_Iterable[int]] = ..., scope: _Optional[_Union[ScopeSettings, _Mapping]] = ..., target: _Optional[_Union[TargetSettings, _Mapping]] = ..., context_templates: _Optional[_Union[ContextTemplates, _Mapping]] = ..., covariance: _Optional[_Union[CovarianceSource, _Mapping]] = ..., gate: _Optional[_Union[GateSettings, _Mapping]] = ..., **kwargs) -> None: ...

class ScopeSettings(_message.Message):
    __slots__ = ["alpha", "beta", "mode"]
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    LEVERAGE: ScopeSettings.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_UNSPECIFIED: ScopeSettings.Mode
    REFERENCE: ScopeSettings.Mode
    alpha: float
    beta: float
    mode: ScopeSettings.Mode
    def __init__(self, mode: _Optional[_Union[ScopeSettings.Mode, str]] = ..., beta: _Optional[float] = ..., alpha: _Optional[float] = ...) -> None: ...

class TargetSettings(_message.Message):
    __slots__ = ["clamp", "kl_factor", "learning_rate", "loss_layer", "precision", "steps", "stop_loss", "weight_decay"]
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    BFLOAT16: TargetSettings.Precision
    CLAMP_FIELD_NUMBER: _ClassVar[int]
    FLOAT32: TargetSettings.Precision
    KL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    LOSS_LAYER_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_UNSPECIFIED: TargetSettings.Precision
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STOP_LOSS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    clamp: float
    kl_factor: float
    learning_rate: float
    loss_layer: int
    precision: TargetSettings.Precision
    steps: int
    stop_loss: float
    weight_decay: float
    def __init__(self, learning_rate: _Optional[float] = ..., steps: _Optional[int] = ..., clamp: _Optional[float] = ..., kl_factor: _Optional[float] = ..., weight_decay: _Optional[float] = ..., stop_loss: _Optional[float] = ..., loss_layer: _Optional[int] = ..., precision: _Optional[_Union[TargetSettings.Precision, str]] = ...) -> None: ...
