// load_idx_images, load_fashion_mnist, …: the IDX format of MNIST and its successors, gzipped or plain.
//
//   InMemoryDataset train = load_fashion_mnist(kFashionMnistDir, /*train=*/true);
//   Tensor images = load_idx_images("train-images-idx3-ubyte.gz");          // u8 [N, H, W, 1]
//   std::vector<int64_t> labels = load_idx_labels("train-labels-idx1-ubyte.gz");
//
// Layout, big-endian (yann.lecun.com/exdb/mnist): magic 0x00000803, N, H, W, then N·H·W bytes;
// magic 0x00000801, N, then N bytes. Anything else throws Error with the file, the byte and what was
// expected there.
#pragma once

#include <filesystem>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

/// Where Debian's package dataset-fashion-mnist installs its files.
inline constexpr const char* kFashionMnistDir = "/usr/share/datasets/fashion-mnist";

/// u8 [N, H, W, 1].
Tensor load_idx_images(const std::filesystem::path& path);
std::vector<int64_t> load_idx_labels(const std::filesystem::path& path);

/// Reads {train,t10k}-{images-idx3,labels-idx1}-ubyte, with or without .gz, in `dir` or in
/// dir/FashionMNIST/raw (torchvision's layout). Throws Error if a file is missing; the error says where it looked and
/// how to get the files.
InMemoryDataset load_fashion_mnist(const std::filesystem::path& dir, bool train);
/// Reads the files of the same names of MNIST, in `dir` or dir/MNIST/raw.
InMemoryDataset load_mnist(const std::filesystem::path& dir, bool train);

/// The statistics of Fashion-MNIST's training images.
ChannelStatistics fashion_mnist_statistics();
/// The statistics of MNIST's training images.
ChannelStatistics mnist_statistics();

}  // namespace fulcrum
