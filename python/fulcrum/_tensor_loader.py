"""Batches of rows of tensors, for data that are no images; fulcrum.data exports them."""

from . import _core


class TensorBatch:
    """The rows of a batch; unpacks to them: `for x, y in loader`."""

    def __init__(self, tensors, indices):
        self.tensors = tensors  # a tuple: [B, ...] of each of the loader's tensors
        self.indices = indices  # i64 [B], the rows' numbers, for opt.weigh(losses, indices=batch.indices)

    def __iter__(self):
        return iter(self.tensors)

    def __len__(self):
        return len(self.indices)


class TensorLoader:
    """Batches of the rows of tensors or arrays with as many rows each: tabular data, targets that are numbers, soft labels.

        loader = data.TensorLoader(x, y, batch_size=64, shuffle=True, seed=1)
        for x, y in loader: ...                    # an epoch; the next `for` is the next one

    As in Loader, a batch is a pure function of the options, the epoch and its number, and the same seed gives the same order.
    indices: the rows to visit, by default all; sampler: instead of indices, shuffle and seed. Arrays are copied; batches are on
    the device of their tensors, without a gradient.
    """

    def __init__(self, *tensors, batch_size=128, indices=None, shuffle=False, drop_last=False, seed=0, sampler=None):
        from . import tensor

        self.tensors = tuple(t.detach() if isinstance(t, _core.Tensor) else tensor(t) for t in tensors)
        shapes = [t.shape for t in self.tensors]
        if not shapes or any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
            raise _core.Error(f"[loader] expected tensors with the same number of rows, got {shapes or 'none'}")
        if not hasattr(batch_size, "__index__") or batch_size < 1:
            raise _core.Error(f"[loader] batch_size: expected an integer of at least 1, got {batch_size!r}")
        self._rows = shapes[0][0]
        if sampler is not None and (indices is not None or shuffle):
            raise _core.Error("[loader] expected either a sampler or indices and shuffle, got both")
        if sampler is None:
            rows = _row_numbers(indices, self._rows)
            sampler = _core.shuffle_sampler(rows, seed) if shuffle else _core.sequential_sampler(rows)
        self._sampler, self._batch_size, self._next_epoch = sampler, int(batch_size), 0
        self._batches = (sampler.size + (0 if drop_last else batch_size - 1)) // batch_size
        if self._batches == 0:
            raise _core.Error(f"[loader] expected samples for at least one batch of {batch_size}, got {sampler.size}")

    def __len__(self):
        """Batches per epoch."""
        return self._batches

    @property
    def size(self):
        """Samples per epoch."""
        return min(self._sampler.size, self._batches * self._batch_size)

    def order(self, epoch):
        """Row numbers of an epoch, in order."""
        rows = self._sampler.draw(epoch)
        if len(rows) != self._sampler.size:
            raise _core.Error(f"[loader] sampler: expected {self._sampler.size} rows, got {len(rows)}")
        if not (0 <= min(rows) and max(rows) < self._rows):
            raise _core.Error(f"[loader] sampler: expected rows in [0, {self._rows}), got {min(rows)} to {max(rows)}")
        return rows[:self.size]

    def epoch(self, epoch, first_batch=0):
        """Iterates once over the batches of an epoch, from first_batch on."""
        if first_batch < 0:
            raise _core.Error(f"[loader] first_batch: expected at least 0, got {first_batch}")
        return self._of_epoch(epoch, first_batch)

    def _of_epoch(self, epoch, first_batch):
        import numpy as np

        rows = np.array(self.order(epoch), np.int64)
        for begin in range(first_batch * self._batch_size, self.size, self._batch_size):
            indices = _core.from_dlpack(rows[begin:begin + self._batch_size].copy())
            yield TensorBatch(tuple(_core.index_select(t, 0, indices.to(t.device)) for t in self.tensors), indices)

    def __iter__(self):
        """Iterates over the next epoch: 0 the first time, then 1, 2, ..."""
        self._next_epoch += 1
        return self.epoch(self._next_epoch - 1)


def _row_numbers(indices, rows):
    if indices is None:
        return list(range(rows))
    import numpy as np

    numbers = np.asarray(indices, None if len(indices) else np.int64)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise _core.Error(f"[loader] indices: expected row numbers, got {numbers.dtype} {list(numbers.shape)}; numpy.flatnonzero(mask)")
    if numbers.size and not (0 <= numbers.min() and numbers.max() < rows):
        raise _core.Error(f"[loader] indices: expected rows in [0, {rows}), got {numbers.min()} to {numbers.max()}")
    return numbers.tolist()
