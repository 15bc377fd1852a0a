#!/usr/bin/env python3
"""Trains ResNet-8 with ABSGD on a long tail, saves it and loads it again.

    python3 examples/python/train_resnet8.py [--data DIR] [--epochs 5] [--ratio 0.1] [--lambda 5]

--data: a folder of Fashion-MNIST (Debian: /usr/share/datasets/fashion-mnist); without one, generated images of four
classes. Prints the mean loss of every epoch and the balanced accuracy; 1 if the loss did not fall.
"""
import argparse
import pathlib
import tempfile

import numpy as np

import fulcrum
import fulcrum.functional as F
from fulcrum import data


def bright_rows(samples, seed, size=16):
    """Class k of four is a bright row 3k + 3 under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 4
    images = rng.integers(0, 128, (samples, size, size, 1), np.uint8)
    images[np.arange(samples), 3 * labels + 3] += 100
    return data.from_arrays(images, labels)


def balanced_accuracy(model, loader, classes):
    """The mean of every class's recall."""
    right, all = np.zeros(classes), np.zeros(classes)
    model.eval()
    with fulcrum.no_grad():
        for x, y in loader:
            labels = y.numpy()
            np.add.at(all, labels, 1)
            np.add.at(right, labels, F.argmax(model(x)).numpy() == labels)
    model.train()
    return (right / all).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--ratio", type=float, default=0.1, help="smallest class over the largest")
    parser.add_argument("--lambda", dest="lambda_", type=float, default=5.0)
    options = parser.parse_args()

    if options.data:
        train, test = (data.load_fashion_mnist(options.data, train=t) for t in (True, False))
    else:
        train, test = bright_rows(800, seed=1), bright_rows(200, seed=2)
    subset = data.imbalanced_subset(train.labels, train.classes, ratio=options.ratio, seed=1)
    mean, stddev = data.channel_statistics(train, subset)
    loader = data.Loader(train, batch_size=64, indices=subset, shuffle=True, drop_last=True, mean=mean, stddev=stddev)
    test_loader = data.Loader(test, batch_size=200, mean=mean, stddev=stddev)

    model = fulcrum.make_model("resnet8", classes=train.classes, channels=1).to("cpu")
    opt = fulcrum.ABSGD(model.parameters(), lr=0.1, lambda_=options.lambda_)
    history = []
    for epoch in range(options.epochs):
        total = 0.0
        for x, y in loader:
            losses = F.cross_entropy(model(x), y)  # one per sample
            opt.zero_grad()
            opt.weigh(losses).backward()
            opt.step()
            total += F.mean(losses).item()
        history.append(total / len(loader))
        print(f"epoch {epoch + 1}  loss {history[-1]:.3f}")
    accuracy = balanced_accuracy(model, test_loader, train.classes)
    print(f"balanced accuracy {100 * accuracy:.1f} %")

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.safetensors")
        fulcrum.save_file(model.state_dict(), path, {"model": "resnet8"})
        again = fulcrum.make_model("resnet8", classes=train.classes, channels=1)
        again.load_state_dict(fulcrum.load_file(path))
        assert balanced_accuracy(again.to("cpu"), test_loader, train.classes) == accuracy
    return int(history[-1] >= history[0])


if __name__ == "__main__":
    raise SystemExit(main())
