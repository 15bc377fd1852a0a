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
    stratified_split, superclass_noise, symmetric_noise)

__all__ = [
    "Batch", "BatchIterator", "Dataset", "ImageDataset", "ImageListing", "InMemoryDataset", "Loader", "PackDataset",
    "Sampler", "add_label_noise", "asymmetric_cifar10_noise", "channel_statistics", "cifar100_superclasses",
    "class_balanced_sampler", "from_arrays", "image_folder", "imbalanced_subset", "list_clothing1m", "list_image_folder",
    "list_image_folders", "list_image_list", "list_image_lists", "list_tiny_imagenet", "list_wilds", "load_cifar10",
    "load_cifar100", "load_fashion_mnist", "load_mnist", "save_pack", "stratified_split", "superclass_noise",
    "symmetric_noise"]


def image_folder(dir, image_size=0, **options):
    """An ImageDataset of a folder with a folder for each class; options are ImageDataset's."""
    return ImageDataset(list_image_folder(dir), image_size=image_size, **options)


def from_arrays(images, labels, class_names=()):
    """A data set on the memory of an array u8 [N, H, W, C], with a label for each image."""
    from . import from_dlpack
    from ._core import Tensor

    tensor = images if isinstance(images, Tensor) else from_dlpack(images)
    return InMemoryDataset(tensor, [int(label) for label in labels], list(class_names))
