"""How long batches take: a part that each one costs however small it is, and a part for every entry."""

FORGET = 0.9  # of what earlier batches say, at each new one
APART = 0.25  # of the mean size: sizes must differ by so much before a line is drawn through the times
STEEP = 8.0  # a slope below this part of the mean is taken for chance: timings of a busy machine scatter


class Pace:
    """Learns from the batches that ran, the last ones above all; 0 before the first."""

    def __init__(self) -> None:
        self._weight = self._size = self._time = self._size_size = self._size_time = 0.0

    def note(self, size: int, seconds: float) -> None:
        """A batch of so many entries took so long."""
        self._weight = FORGET * self._weight + 1
        self._size = FORGET * self._size + size
        self._time = FORGET * self._time + seconds
        self._size_size = FORGET * self._size_size + size * size
        self._size_time = FORGET * self._size_time + size * seconds

    @property
    def share(self) -> float:
        """Seconds of a batch for each of its entries."""
        return self._time / self._size if self._size else 0.0

    @property
    def more(self) -> float:
        """Seconds that one entry more adds to a batch."""
        share, spread = self.share, self._weight * self._size_size - self._size**2
        if spread <= (APART * self._size) ** 2:
            return share
        slope = (self._weight * self._size_time - self._size * self._time) / spread
        return min(max(slope, share / STEEP), share)
