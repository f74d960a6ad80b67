"""Pure conversions between messages and records of segmentations; see converters.py."""

from collections.abc import Iterable

from ..proto.polylens.v1 import segment_pb2
from .records import ClassShare, Segmentation


def segmentations_to_proto(records: Iterable[Segmentation | None]) -> list[segment_pb2.Segmentation]:
    return [segment_pb2.Segmentation() if one is None else _to_proto(one) for one in records]


def segmentations_from_proto(messages: Iterable[segment_pb2.Segmentation]) -> list[Segmentation | None]:
    return [_from_proto(one) if one.class_map else None for one in messages]


def _to_proto(record: Segmentation) -> segment_pb2.Segmentation:
    return segment_pb2.Segmentation(
        class_map=record.class_map,
        width=record.width,
        height=record.height,
        shares=[
            segment_pb2.ClassShare(index=one.index, name=one.name, share=one.share, colour=one.colour)
            for one in record.shares
        ],
    )


def _from_proto(message: segment_pb2.Segmentation) -> Segmentation:
    shares = [ClassShare(one.index, one.name, one.share, one.colour) for one in message.shares]
    return Segmentation(message.class_map, message.width, message.height, shares)
