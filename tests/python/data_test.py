"""Data sets, samplers, and the loader."""
import pathlib
import re
import struct
import tempfile
import unittest
import zlib

import numpy as np

import fulcrum
from fulcrum import data


def rows(samples=96, classes=3, size=12):
    """Class k is a bright row 3k + 2 under noise."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 100, (samples, size, size, 1), np.uint8)
    labels = np.arange(samples) % classes
    for image, label in zip(images, labels):
        image[3 * label + 2] += 120
    return images, labels


def png(path, grey):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    lines = b"".join(b"\0" + bytes(line) for line in grey)
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


class Data(unittest.TestCase):
    def test_arrays_and_the_loader(self):
        images, labels = rows()
        dataset = data.from_arrays(images, labels)
        self.assertEqual((len(dataset), dataset.classes, dataset.image_shape), (96, 3, (12, 12, 1)))
        self.assertEqual(dataset.images.data_ptr(), images.ctypes.data)
        image, label = dataset[4]
        np.testing.assert_array_equal(image.numpy(), images[4])
        self.assertEqual(label, labels[4])
        loader = data.Loader(dataset, batch_size=40, shuffle=True, mean=[0.5], stddev=[0.25], workers=2, seed=1)
        self.assertEqual((len(loader), loader.size), (3, 96))
        epochs = [[batch.indices.tolist() for batch in loader] for _ in range(2)]
        self.assertEqual([len(b) for b in epochs[0]], [40, 40, 16])
        self.assertEqual(sorted(sum(epochs[0], [])), list(range(96)))
        self.assertEqual([b.indices.tolist() for b in loader.epoch(1)], epochs[1])
        self.assertNotEqual(epochs[0], epochs[1])
        for x, y in loader:
            self.assertEqual((x.dtype, y.dtype), ("f32", "i64"))
            break  # ends the threads
        batch = next(iter(loader.epoch(0)))
        chosen = batch.indices.numpy()
        np.testing.assert_allclose(batch.images.numpy(), (images[chosen] / 255 - 0.5) / 0.25, atol=1e-5)
        with self.assertRaisesRegex(fulcrum.Error, "no option 'bath_size'"):
            data.Loader(dataset, bath_size=3)
        with self.assertRaisesRegex(fulcrum.Error, r"\[loader\] shuffle"):
            data.Loader(dataset, shuffle="yes")
        signature = re.search(r"\*, (.*)\) -> None", data.Loader.__init__.__doc__)[1]
        written = eval("dict(" + re.sub(r"(\w+): [^=]*= ", r"\1=", signature) + ")")
        self.assertEqual((len(written), written["resized_crop_scale"], written["rand_augment_magnitude"]), (32, None, 9))
        same = next(iter(data.Loader(dataset, **written)))
        np.testing.assert_array_equal(same.images.numpy(), next(iter(data.Loader(dataset))).images.numpy())

    def test_arrays_that_are_no_images_are_refused(self):
        images, labels = rows(6)
        cases = [((images.astype(np.float32), labels), r"expected images u8 \[N, H, W, C\], got float32 \[6, 12, 12, 1\]"),
                 ((images[..., 0], labels), r"got uint8 \[6, 12, 12\]; images\[..., None\]"), (([1, 2], labels), "got list"),
                 ((images.transpose(0, 3, 1, 2), labels), r"\[6, 1, 12, 12\], which look like \[N, C, H, W\]"),
                 ((images, labels.astype(np.float64)), r"integers \[N\] as labels, got float64 \[6\]"),
                 ((images, ["a"] * 6), r"got <U1"), ((images, labels[:, None]), r"\[6, 1\]"),
                 ((images, labels[:3]), "each of 6 images, got 3"), ((images, []), "a label for each of 6 images, got none")]
        for arrays, words in cases:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                data.from_arrays(*arrays)
        for same in (labels.tolist(), tuple(labels), labels.astype(np.uint8), fulcrum.tensor(labels)):
            self.assertEqual(data.from_arrays(images, same).labels, tuple(labels))
        self.assertEqual(len(data.from_arrays(fulcrum.tensor(images), labels)), 6)

    def test_labels_are_set_as_a_whole(self):
        dataset = data.from_arrays(*rows(6))
        with self.assertRaises(TypeError):
            dataset.labels[0] = 2
        for new in ([2, 1, 0, 2, 1, 0], np.array([2, 1, 0, 2, 1, 0])):
            dataset.labels = new
            self.assertEqual((dataset.labels, dataset.clean_labels, dataset.groups), (tuple(new), (0, 1, 2, 0, 1, 2), tuple(new)))

    def test_masks_and_classes_of_ones_own_are_refused(self):
        dataset = data.from_arrays(*rows(6))
        for mask in (np.array(dataset.labels) == 1, [True, False] * 3):
            with self.assertRaisesRegex(fulcrum.Error, r"\[loader\] indices: .*numpy.flatnonzero"):
                data.Loader(dataset, indices=mask)
        self.assertEqual(data.Loader(dataset, indices=np.flatnonzero(np.array(dataset.labels) == 1)).order(0), [1, 4])
        with self.assertRaisesRegex(fulcrum.Error, "Mine: .*from_arrays"):
            class Mine(data.Dataset):
                pass

        class Named(data.InMemoryDataset):
            name = "rows"

        self.assertEqual(len(data.Loader(Named(fulcrum.tensor(rows(6)[0]), [0] * 6))), 1)

    def test_the_loader_keeps_its_data(self):
        iterator = iter(data.Loader(data.from_arrays(*rows()), batch_size=96))
        self.assertEqual(len(next(iterator)), 96)
        self.assertRaises(StopIteration, next, iterator)
        self.assertRaises(StopIteration, next, iterator)

    def test_a_sampler_in_python(self):
        dataset = data.from_arrays(*rows())
        loader = data.Loader(dataset, batch_size=2, sampler=data.Sampler(3, lambda epoch: [epoch, 5, 6]), workers=2)
        self.assertEqual([b.indices.tolist() for b in loader.epoch(4)], [[4, 5], [6]])
        for draw, got in [(lambda epoch: None, "NoneType"), (lambda epoch: [0.5, 1, 2], "list with something else in it"),
                          (lambda epoch: iter([1, 2, 3]), "list_iterator"), (lambda epoch: fulcrum.ones([3]), "Tensor")]:
            with self.assertRaisesRegex(fulcrum.Error, rf"\[sampler\] draw: expected a list of integers for epoch 4, got .*{got}$"):
                data.Loader(dataset, sampler=data.Sampler(3, draw)).order(4)
        for numbers in (np.array([2, 1, 0]), fulcrum.tensor([2, 1, 0]), (2, 1, 0)):
            self.assertEqual(data.Sampler(3, lambda epoch: numbers).draw(0), [2, 1, 0])
        shuffled = data.shuffle_sampler([5, 6, 7, 8], seed=3)
        self.assertEqual(data.Loader(dataset, indices=[5, 6, 7, 8], shuffle=True, seed=3).order(2), shuffled.draw(2))
        self.assertEqual(data.sequential_sampler([3, 1]).draw(7), [3, 1])
        balanced = data.class_balanced_sampler(dataset.labels, [0, 1, 3, 6], seed=1, size=50)
        self.assertEqual(data.Loader(dataset, sampler=balanced).size, 50)

    def test_imbalance_and_noise(self):
        labels = [0] * 100 + [1] * 100
        subset = data.imbalanced_subset(labels, 2, ratio=0.1, seed=1)
        self.assertEqual(np.bincount(np.array(labels)[subset]).tolist(), [100, 10])
        noisy = data.add_label_noise(labels, data.symmetric_noise(2, 0.25), seed=1)
        self.assertEqual(sum(a != b for a, b in zip(labels, noisy)), 50)
        train, held_out = data.stratified_split(labels, 0.2)
        self.assertEqual((len(train), len(held_out)), (160, 40))

    def test_folders_lists_and_packs(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for label in ("a", "b"):
                (root / label).mkdir()
                for i in range(2):
                    png(root / label / f"{i}.png", np.full((4, 4), 50 * i + (label == "b"), np.uint8))
            dataset = data.image_folder(root, channels=1)
            self.assertEqual((dataset.class_names, dataset.labels), (["a", "b"], (0, 0, 1, 1)))
            self.assertEqual([image[0][0].item() for image, _ in dataset], [0, 50, 1, 51])
            (root / "list.txt").write_text("a/0.png 0\nb/1.png 1\n")
            listed = data.ImageDataset(data.list_image_list(root, root / "list.txt"), channels=1)
            self.assertEqual(listed.paths, ["a/0.png", "b/1.png"])
            data.save_pack(root / "all.pack", dataset)
            pack = data.PackDataset(root / "all.pack")
            self.assertEqual((len(pack), pack[3][0][0][0].item(), pack[3][1]), (4, 51, 1))
            with self.assertRaisesRegex(fulcrum.Error, "nowhere"):
                data.image_folder(root / "nowhere")


if __name__ == "__main__":
    unittest.main()
