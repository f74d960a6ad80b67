"""Makes a vocabulary read texts as another does (its normaliser); pieces and their numbers stay.

usage: python recipes/mini/fold_case.py clip/mini/tokenizer.model recipes/mini/data/tokenizer.model
"""

import argparse
from pathlib import Path

from sentencepiece.sentencepiece_model_pb2 import ModelProto


def main() -> None:
    help_as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=help_as_written)
    parser.add_argument("vocabulary", type=Path, help="is changed")
    parser.add_argument("like", type=Path, help="the one whose normaliser it takes")
    arguments = parser.parse_args()
    vocabulary, like = (ModelProto.FromString(p.read_bytes()) for p in (arguments.vocabulary, arguments.like))
    before = vocabulary.normalizer_spec.name
    vocabulary.normalizer_spec.CopyFrom(like.normalizer_spec)
    arguments.vocabulary.write_bytes(vocabulary.SerializeToString())
    print(f"{arguments.vocabulary}: {before} is now {like.normalizer_spec.name}")


if __name__ == "__main__":
    main()
