"""Building a FAISS index: the sample it is trained on, its training, its rows.

Legend: T rows of the training sample, B rows of a block, D width, L lists of an IVF index.

The same rows give the same IVF index: the sample and the first centroids come from one seed. HNSW links
depend on the order in which threads get their turn, as they do in FAISS.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faiss_index import FaissIndex, empty, faiss, innermost, with_gpu

Steps = Callable[[str, int, int], None]  # what is done, how much of it, of how much; may raise to stop
SEED = 20_250
POINTS_PER_LIST = 64  # FAISS warns below 39 and uses at most 256
CODE_POINTS = 32_768  # for product quantisers (256 centroids each) and rotations
SAMPLE_BYTES = 512 * 2**20
MIN_POINTS_PER_LIST = 39
ITERATIONS = 10  # of k-means; FAISS's own default
ROTATION_ITERATIONS = 12  # of OPQ; FAISS's default of 50 takes minutes and gains little


def sample_rows(factory: str, dim: int, rows: int) -> NDArray[np.int64]:
    """The ascending positions of the rows to train on; empty where the factory needs no training."""
    index = empty(factory, dim)
    if index.is_trained:
        return np.empty(0, np.int64)
    inner = innermost(index)
    points = max(CODE_POINTS, POINTS_PER_LIST * getattr(inner, "nlist", 0))
    points = min(rows, points, max(CODE_POINTS, SAMPLE_BYTES // (4 * dim)))
    chosen = np.random.default_rng(SEED).choice(rows, points, replace=False, shuffle=False)
    return np.sort(chosen).astype(np.int64)


def fewest_rows(factory: str, dim: int) -> int:
    """The fewest rows from which such an index can be trained."""
    index = empty(factory, dim)
    inner = innermost(index)
    codes = int(inner.pq.ksub) if hasattr(inner, "pq") else 1
    return 1 if index.is_trained else MIN_POINTS_PER_LIST * max(codes, getattr(inner, "nlist", 1))


def build(
    factory: str,
    dim: int,
    rows: int,
    sample_TD: NDArray[np.float32],
    blocks: Iterable[NDArray[np.float32]],
    progress: Steps,
) -> FaissIndex:
    """The index of the rows of all blocks, in their order."""
    index = _trained(factory, dim, sample_TD, progress)
    _add(index, rows, blocks, progress)
    return with_gpu(index)


def trained(factory: str, dim: int, sample_TD: NDArray[np.float32], progress: Steps) -> FaissIndex:
    """An index without rows, which `filled` fills."""
    return FaissIndex(_trained(factory, dim, sample_TD, progress))


def filled(
    empty: FaissIndex, rows: int, blocks: Iterable[NDArray[np.float32]], progress: Steps
) -> FaissIndex:
    """The trained index with the rows of all blocks, in their order; nobody searches it yet."""
    _add(empty, rows, blocks, progress)
    return empty


def _trained(factory: str, dim: int, sample_TD: NDArray[np.float32], progress: Steps) -> Any:
    index = empty(factory, dim)
    if not index.is_trained:
        _train(index, sample_TD, progress)
    return index


def _add(index: Any, rows: int, blocks: Iterable[NDArray[np.float32]], progress: Steps) -> None:
    done = 0
    for block_BD in blocks:
        index.add(block_BD)
        done += len(block_BD)
        progress("adding", done, rows)


def _train(index: Any, sample_TD: NDArray[np.float32], progress: Steps) -> None:
    inner = innermost(index)
    if inner is not index:
        for n in range(index.chain.size()):
            progress("rotating", n, index.chain.size())
            transform = faiss.downcast_VectorTransform(index.chain.at(n))
            if isinstance(transform, faiss.OPQMatrix):
                transform.niter = ROTATION_ITERATIONS
            if not transform.is_trained:
                transform.train(sample_TD)
            sample_TD = transform.apply(sample_TD)
    if isinstance(inner, faiss.IndexIVF) and inner.quantizer_trains_alone != 1:
        _train_lists(inner, sample_TD, progress)
    inner.train(sample_TD)  # of IVF with its centroids in place: only the codes
    index.is_trained = True


def _train_lists(ivf: Any, sample_TD: NDArray[np.float32], progress: Steps) -> None:
    """k-means, one iteration at a time, so that it can be stopped."""
    parameters = faiss.ClusteringParameters()
    parameters.niter, parameters.seed, parameters.spherical = 1, SEED, ivf.cp.spherical
    parameters.min_points_per_centroid = 1
    parameters.max_points_per_centroid = 256
    centroids_LD: NDArray[np.float32] | None = None
    for n in range(ITERATIONS):
        progress("clustering", n, ITERATIONS)
        clustering = faiss.Clustering(ivf.d, ivf.nlist, parameters)
        if centroids_LD is not None:
            faiss.copy_array_to_vector(centroids_LD.ravel(), clustering.centroids)
        clustering.train(sample_TD, faiss.IndexFlat(ivf.d, ivf.metric_type))
        centroids_LD = faiss.vector_to_array(clustering.centroids).reshape(ivf.nlist, ivf.d)
    quantizer = faiss.downcast_index(ivf.quantizer)
    quantizer.train(centroids_LD)
    quantizer.add(centroids_LD)
