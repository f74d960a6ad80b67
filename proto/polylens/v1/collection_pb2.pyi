from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Collection(_message.Message):
    __slots__ = ("name", "dim", "model_fingerprint", "count", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    model_fingerprint: str
    count: int
    problem: str
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., model_fingerprint: _Optional[str] = ..., count: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("id", "image", "vector", "metadata_json", "if_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: bytes
    vector: bytes
    metadata_json: str
    if_version: int
    def __init__(self, id: _Optional[str] = ..., image: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., metadata_json: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "exist_ok", "dtype", "index")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXIST_OK_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    name: str
    exist_ok: bool
    dtype: str
    index: str
    def __init__(self, name: _Optional[str] = ..., exist_ok: bool = ..., dtype: _Optional[str] = ..., index: _Optional[str] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection", "timings")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    timings: _types_pb2.Timings
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection", "timings")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    timings: _types_pb2.Timings
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "timings")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    timings: _types_pb2.Timings
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropCollectionResponse(_message.Message):
    __slots__ = ("timings",)
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    timings: _types_pb2.Timings
    def __init__(self, timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class UpsertPointsRequest(_message.Message):
    __slots__ = ("collection", "points", "idempotency_key")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    points: _containers.RepeatedCompositeFieldContainer[Point]
    idempotency_key: str
    def __init__(self, collection: _Optional[str] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class UpsertPointsResponse(_message.Message):
    __slots__ = ("stored", "errors", "model_fingerprint", "timings")
    STORED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    stored: int
    errors: _containers.RepeatedCompositeFieldContainer[_types_pb2.ItemError]
    model_fingerprint: str
    timings: _types_pb2.Timings
    def __init__(self, stored: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[_types_pb2.ItemError, _Mapping]]] = ..., model_fingerprint: _Optional[str] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class UpsertPointsStreamRequest(_message.Message):
    __slots__ = ("chunk", "collection", "points", "idempotency_key")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    chunk: int
    collection: str
    points: _containers.RepeatedCompositeFieldContainer[Point]
    idempotency_key: str
    def __init__(self, chunk: _Optional[int] = ..., collection: _Optional[str] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class UpsertPointsStreamResponse(_message.Message):
    __slots__ = ("chunk", "stored", "errors", "model_fingerprint", "timings")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    chunk: int
    stored: int
    errors: _containers.RepeatedCompositeFieldContainer[_types_pb2.ItemError]
    model_fingerprint: str
    timings: _types_pb2.Timings
    def __init__(self, chunk: _Optional[int] = ..., stored: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[_types_pb2.ItemError, _Mapping]]] = ..., model_fingerprint: _Optional[str] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class DeletePointsRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter_json", "idempotency_key")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    filter_json: str
    idempotency_key: str
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., filter_json: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class DeletePointsResponse(_message.Message):
    __slots__ = ("deleted", "timings")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    timings: _types_pb2.Timings
    def __init__(self, deleted: _Optional[int] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class GetPointsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_vectors")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    with_vectors: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., with_vectors: bool = ...) -> None: ...

class GetPointsResponse(_message.Message):
    __slots__ = ("points", "timings")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[StoredPoint]
    timings: _types_pb2.Timings
    def __init__(self, points: _Optional[_Iterable[_Union[StoredPoint, _Mapping]]] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class StoredPoint(_message.Message):
    __slots__ = ("id", "found", "vector", "metadata_json", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    found: bool
    vector: bytes
    metadata_json: str
    version: int
    def __init__(self, id: _Optional[str] = ..., found: bool = ..., vector: _Optional[bytes] = ..., metadata_json: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class CountPointsRequest(_message.Message):
    __slots__ = ("collection", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., filter_json: _Optional[str] = ...) -> None: ...

class CountPointsResponse(_message.Message):
    __slots__ = ("count", "timings")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    count: int
    timings: _types_pb2.Timings
    def __init__(self, count: _Optional[int] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class ScanPointsRequest(_message.Message):
    __slots__ = ("collection", "limit", "after", "with_vectors", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    limit: int
    after: int
    with_vectors: bool
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[int] = ..., with_vectors: bool = ..., filter_json: _Optional[str] = ...) -> None: ...

class ScanPointsResponse(_message.Message):
    __slots__ = ("points", "next", "timings")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[StoredPoint]
    next: int
    timings: _types_pb2.Timings
    def __init__(self, points: _Optional[_Iterable[_Union[StoredPoint, _Mapping]]] = ..., next: _Optional[int] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "collection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: Alias
    def __init__(self, alias: _Optional[_Union[Alias, _Mapping]] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("timings",)
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    timings: _types_pb2.Timings
    def __init__(self, timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class RemoveAliasRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveAliasResponse(_message.Message):
    __slots__ = ("timings",)
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    timings: _types_pb2.Timings
    def __init__(self, timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAliasesResponse(_message.Message):
    __slots__ = ("aliases", "timings")
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    timings: _types_pb2.Timings
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...

class SnapshotCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class SnapshotCollectionResponse(_message.Message):
    __slots__ = ("file", "size", "count", "timings")
    FILE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    file: str
    size: int
    count: int
    timings: _types_pb2.Timings
    def __init__(self, file: _Optional[str] = ..., size: _Optional[int] = ..., count: _Optional[int] = ..., timings: _Optional[_Union[_types_pb2.Timings, _Mapping]] = ...) -> None: ...
