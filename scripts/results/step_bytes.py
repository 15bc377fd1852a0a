#!/usr/bin/env python3
"""Bytes that a training step of ResNet-32 and ResNet-50 moves through a GPU's memory, and the least time that they take.

    scripts/results/step_bytes.py [--bytes 2] [--bandwidth 4.3]     bytes of an activation; TB/s

Computed from the shapes: each kernel of core/cuda reads and writes its tensors once for every pass that it makes, and
nothing stays in a cache. The last rows leave out passes that the engine makes and a step could do without, one kind
after the other. Left out everywhere, as small: ResNet-32's shortcuts and pooling, the linear layer, the loss, the batch
on its way from bytes, and the padding of the images' three channels, should cuDNN have no plan for them.
"""
import argparse
from collections import Counter, namedtuple

F32, I32 = 4, 4  # bytes

Conv = namedtuple("Conv", "x w y products images")  # elements; of images no gradient is wanted
Norm = namedtuple("Norm", "y residual inside")  # inside: between two convolutions of a block
Pool = namedtuple("Pool", "x y argmax")


class Network:
    """A ResNet's layers, in elements of a batch."""

    def __init__(self, name, batch):
        self.name, self.batch = name, batch
        self.convs, self.norms, self.pools, self.block_inputs = [], [], [], []
        self.parameters = 0

    def conv_norm(self, side, channels, out, kernel, stride=1, residual=False, inside=False):
        """A convolution padded by half its kernel, and its batch norm; the side of the result."""
        end = (side + 2 * (kernel // 2) - kernel) // stride + 1
        y, w = self.batch * out * end * end, out * channels * kernel * kernel
        self.convs.append(Conv(self.batch * channels * side * side, w, y, y * channels * kernel * kernel, channels == 3))
        self.norms.append(Norm(y, residual, inside))
        self.parameters += w + 2 * out
        return end

    def block(self, side, channels):
        self.block_inputs.append(self.batch * channels * side * side)

    def linear(self, channels, out):
        self.parameters += channels * out + out


def resnet32(batch):
    n = Network("ResNet-32", batch)
    side, channels = n.conv_norm(32, 3, 16, 3), 16
    for width in (16, 32, 64):
        for _ in range(5):
            n.block(side, channels)
            side = n.conv_norm(side, channels, width, 3, 2 if width > channels else 1, inside=True)
            n.conv_norm(side, width, width, 3, residual=True)
            channels = width
    n.linear(64, 10)
    return n


def resnet50(batch):
    n = Network("ResNet-50", batch)
    side, channels = n.conv_norm(224, 3, 64, 7, 2), 64
    n.pools.append(Pool(batch * 64 * side * side, batch * 64 * side * side // 4, True))
    side //= 2
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            stride = 2 if i == 0 and width > 64 else 1
            n.block(side, channels)
            n.conv_norm(side, channels, width, 1, inside=True)
            end = n.conv_norm(side, width, width, 3, stride, inside=True)
            n.conv_norm(end, width, 4 * width, 1, residual=True)
            if i == 0:
                n.conv_norm(side, channels, 4 * width, 1, stride)
            side, channels = end, 4 * width
    n.pools.append(Pool(batch * channels * side * side, batch * channels, False))
    n.linear(channels, 1000)
    return n


def gradient_passes(norm):
    """Of batch norm's gradient, which is two launches over its tensors (norm.cuh)."""
    if norm.residual:
        return 4 + 3  # dy, x, y, and the residual's gradient dz; dz, x, dx: dz has the ReLU's zeros, so y is not read again
    return 2 + 3  # dy, x, which also tells the ReLU's zeros; the same, and dx


def step_bytes(n, size):
    """Bytes of each kind of kernel, by its name."""
    moved = Counter()
    for c in n.convs:
        moved["convolution"] += size * (c.x + c.w + c.y)
        moved["convolution, gradient of the weight"] += size * (c.x + c.w + c.y)
        moved["convolution, gradient of the data"] += 0 if c.images else size * (c.x + c.w + c.y)
    for m in n.norms:
        # x for the sums; x (and the residual), y.
        moved["batch norm (+ residual) (+ ReLU)"] += size * m.y * (1 + 2 + m.residual)
        moved["batch norm (+ residual) (+ ReLU), gradient"] += size * m.y * gradient_passes(m)
    # That of the first block by a kernel; the others are results of a batch norm, which reads one more gradient.
    moved["sum of the gradients of a block's input"] = size * (3 * n.block_inputs[0] + sum(n.block_inputs[1:]))
    for p in n.pools:
        moved["pooling"] += 2 * size * (p.x + p.y) + (2 * I32 * p.y if p.argmax else 0)
    # Reads parameter, gradient and momentum, writes parameter, momentum and the bf16 twin. Before it: the gradient set to
    # zero, a weight's gradient in the activations' type added to it, and its square summed.
    twin = 2 if size == 2 else 0
    moved["update"] = n.parameters * (5 * F32 + twin)
    moved["gradients: set to zero, added up, checked"] = n.parameters * (F32 + (size + 2 * F32) + F32)
    return moved


def savings(n, size):
    """(what a step could do without, its bytes), each on top of those before."""
    adding = sum(m.y for m in n.norms if m.residual)
    return [
        # The ReLU's mask as a bit an element, written and read.
        ("without y in batch norm's gradient, where a residual was added", adding * (size - 2 / 8)),
        ("and with batch norm's sums in the convolution before it", size * sum(m.y for m in n.norms)),
        # Forward x is not read nor y written, as the next convolution normalises what it loads; backward that one's
        # gradient of the data makes the sums, for which dy is then not read.
        ("and with batch norm inside a block in the convolution behind it", size * 3 * sum(m.y for m in n.norms if m.inside)),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=2, choices=[2, 4], help="of an activation: bf16 or f32")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="TB/s of the GPU's memory")
    args = parser.parse_args()
    networks = [(resnet32(128), 3), (resnet50(256), 1)]

    def row(name, counts):
        cells = [f" {b / 1e9:.{digits}f} | {b / args.bandwidth / 1e9:.{max(digits, 2)}f} |" if b else " | |"
                 for b, (_, digits) in zip(counts, networks)]
        print(f"| {name} |{''.join(cells)}")

    for n, _ in networks:
        flops = sum(2 * c.products * (2 if c.images else 3) for c in n.convs)
        print(f"{n.name}: {n.parameters:,} parameters, {flops / 1e12:.2f} TFLOP in convolutions")
    print("| | " + " | ".join(f"{n.name}, batch {n.batch}, GB | ms at {args.bandwidth:g} TB/s" for n, _ in networks) + " |")
    print("|---|" + "---|" * (2 * len(networks)))
    moved = [step_bytes(n, args.bytes) for n, _ in networks]
    for kind, _ in moved[-1].most_common():
        row(kind, [m[kind] for m in moved])
    total = [sum(m.values()) for m in moved]
    row("all", total)
    for steps in zip(*(savings(n, args.bytes) for n, _ in networks)):
        total = [t - saved for t, (_, saved) in zip(total, steps)]
        row(steps[0][0], total)


if __name__ == "__main__":
    main()
