"""The methods of polylens.v1, from their descriptors, for servers and clients alike."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from ..proto.polylens.v1 import (
    classify_pb2,
    collection_pb2,
    describe_pb2,
    embed_pb2,
    info_pb2,
    search_pb2,
    segment_pb2,
)

SERVICES: list[ServiceDescriptor] = [
    service
    for module in (search_pb2, embed_pb2, classify_pb2, describe_pb2, segment_pb2, collection_pb2, info_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS: dict[str, MethodDescriptor] = {
    method.name: method for service in SERVICES for method in service.methods
}
# What a call may take at most, of a stream each chunk; the client's default deadline and the server's cap.
SECONDS = {
    "SearchService": 10.0,
    "EmbedService": 30.0,
    "ClassifyService": 30.0,
    "DescribeService": 120.0,
    "SegmentService": 120.0,
    "CollectionService": 60.0,
    "InfoService": 10.0,
}
# What the token of a caller must allow. A method that is missing here would need "admin"; a test sees to it
# that none is.
SCOPE = {
    "Search": "read",
    "BatchSearch": "read",
    "EmbedTexts": "read",
    "EmbedImages": "read",
    "Classify": "read",
    "Caption": "read",
    "Match": "read",
    "Rerank": "read",
    "Segment": "read",
    "GetInfo": "read",
    "GetCollection": "read",
    "ListCollections": "read",
    "GetPoints": "read",
    "CountPoints": "read",
    "ScanPoints": "read",
    "ListAliases": "read",
    "UpsertPoints": "write",
    "UpsertPointsStream": "write",
    "DeletePoints": "write",
    "CreateCollection": "admin",
    "DropCollection": "admin",
    "SetAlias": "admin",
    "RemoveAlias": "admin",
    "SnapshotCollection": "admin",
    "ServerReflection": "read",  # gRPC's own
}
# How much of a server the calls of each service may fill: searches find room whatever others do.
SHARE = {
    "SearchService": 1.0,
    "EmbedService": 0.75,
    "ClassifyService": 0.5,
    "DescribeService": 0.25,
    "SegmentService": 0.25,
    "CollectionService": 0.5,
    "InfoService": 0.25,
}


def path(method: MethodDescriptor) -> str:
    """The name a call travels under."""
    return f"/{method.containing_service.full_name}/{method.name}"


def only_reads(method: MethodDescriptor) -> bool:
    """Whether a call may be repeated without harm."""
    level: int = method.GetOptions().idempotency_level
    return level == MethodOptions.NO_SIDE_EFFECTS
