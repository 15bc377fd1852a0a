"""Data sets, their formats, imbalance, noise, and the loader.

    train = data.load_fashion_mnist(train=True)
    subset = data.imbalanced_subset(train.labels, train.classes, ratio=0.01, seed=1)
    mean, stddev = data.channel_statistics(train, subset)
    loader = data.Loader(train, batch_size=128, indices=subset, shuffle=True, pad=2, flip=True, mean=mean, stddev=stddev)
    for x, y in loader: ...                        # an epoch; the next `for` is the next one
"""

from ._core import (
    Batch, BatchIterator, Dataset, ImageDataset, ImageListing, InMemoryDataset, Loader, PackDataset, Sampler,
    add_label_noise, asymmetric_cifar10_noise, channel_statistics, cifar100_superclasses, class_balanced_sampler,
    imbalanced_subset, list_clothing1m, list_image_folder, list_image_folders, list_image_list, list_image_lists,
    list_tiny_imagenet, list_wilds, load_cifar10, load_cifar100, load_fashion_mnist, load_mnist, save_pack,
    sequential_sampler, shuffle_sampler, stratified_split, superclass_noise, symmetric_noise)
from ._tensor_loader import TensorBatch, TensorLoader

__all__ = [
    "Batch", "BatchIterator", "Dataset", "ImageDataset", "ImageListing", "InMemoryDataset", "Loader", "PackDataset",
    "Sampler", "TensorBatch", "TensorLoader", "add_label_noise", "asymmetric_cifar10_noise", "channel_statistics",
    "cifar100_superclasses", "class_balanced_sampler", "from_arrays", "image_folder", "imbalanced_subset", "list_clothing1m",
    "list_image_folder", "list_image_folders", "list_image_list", "list_image_lists", "list_tiny_imagenet", "list_wilds",
    "load_cifar10", "load_cifar100", "load_fashion_mnist", "load_mnist", "save_pack", "sequential_sampler", "shuffle_sampler",
    "stratified_split", "superclass_noise", "symmetric_noise"]


def image_folder(dir, image_size=0, **options):
    """An ImageDataset of a folder with a folder for each class; options are ImageDataset's."""
    return ImageDataset(list_image_folder(dir), image_size=image_size, **options)


def from_arrays(images, labels, class_names=()):
    """A data set that shares the memory of an array u8 [N, H, W, C], with an integer label for each image."""
    import numpy as np

    from . import Error, Tensor, from_dlpack

    dtype, shape = getattr(images, "dtype", type(images).__name__), tuple(getattr(images, "shape", ()))
    if str(dtype) not in ("u8", "uint8", "torch.uint8") or len(shape) != 4:
        hint = "; images[..., None] adds the channel" if len(shape) == 3 else ""
        raise Error(f"[data] expected images u8 [N, H, W, C], got {dtype} {list(shape)}{hint}")
    if shape[3] > 4 and shape[1] <= 4:
        raise Error(f"[data] expected images [N, H, W, C], got {list(shape)}, which look like [N, C, H, W]: "
                    "numpy.ascontiguousarray(images.transpose(0, 2, 3, 1)); data.InMemoryDataset does not ask")
    numbers = np.asarray(labels)
    if numbers.size == 0:
        raise Error(f"[data] expected a label for each of {shape[0]} images, got none")
    if numbers.dtype.kind not in "biu" or numbers.ndim != 1:
        raise Error(f"[data] expected integers [N] as labels, got {numbers.dtype} {list(numbers.shape)}")
    if len(numbers) != shape[0]:
        raise Error(f"[data] expected a label for each of {shape[0]} images, got {len(numbers)}")
    tensor = images if isinstance(images, Tensor) else from_dlpack(images)
    return InMemoryDataset(tensor, numbers.tolist(), list(class_names))


def _refuse_subclass(cls, **options):
    from . import Error

    if Dataset in cls.__bases__:
        raise Error(f"[data] {cls.__name__}: the loader's threads read images without Python, so that no class in Python can "
                    "be a Dataset. Take from_arrays(images, labels), or ImageDataset for files (list_image_list reads any list)")


Dataset.__init_subclass__ = classmethod(_refuse_subclass)  # type: ignore[assignment]
