from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SegmentRequest(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, images: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("segmentations", "errors", "model_fingerprint", "timings")
    SEGMENTATIONS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    segmentations: _containers.RepeatedCompositeFieldContainer[Segmentation]
    errors: _containers.RepeatedCompositeFieldContainer[_types_pb2.ItemError]
    model_fingerprint: str
    timings: _types_pb2.Timings
    def __init__(self, segmentations: _Optional[_Iterable[_Union[Segmentation, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[_types_pb2.ItemError, _Mapping]]] = ..., model_fingerprint: _Optional[str] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class Segmentation(_message.Message):
    __slots__ = ("class_map", "width", "height", "shares")
    CLASS_MAP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    class_map: bytes
    width: int
    height: int
    shares: _containers.RepeatedCompositeFieldContainer[ClassShare]
    def __init__(self, class_map: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., shares: _Optional[_Iterable[_Union[ClassShare, _Mapping]]] = ...) -> None: ...

class ClassShare(_message.Message):
    __slots__ = ("index", "name", "share", "colour")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    share: float
    colour: int
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., share: _Optional[float] = ..., colour: _Optional[int] = ...) -> None: ...
