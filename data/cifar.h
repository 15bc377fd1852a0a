// load_cifar10, load_cifar100: CIFAR-10 and CIFAR-100 in the binary version of www.cs.toronto.edu/~kriz/cifar.html.
//
//   InMemoryDataset train = load_cifar10("cifar-10-batches-bin", /*train=*/true);
//   InMemoryDataset test = load_cifar100("cifar-100-binary", /*train=*/false);   // fine labels
//
// A record is the label (CIFAR-10) or the coarse and the fine label (CIFAR-100), one byte each, followed by
// 3072 bytes of pixels: a red, a green and a blue plane of 32×32, which are converted to NHWC. A file
// may have any number of records. Class names are read from batches.meta.txt or fine_label_names.txt
// if the file exists.
#pragma once

#include <filesystem>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

/// Reads data_batch_1.bin to data_batch_5.bin, or test_batch.bin, in `dir` or dir/cifar-10-batches-bin.
/// Images are u8 [N, 32, 32, 3]. Throws Error with the file, the record and what was expected.
InMemoryDataset load_cifar10(const std::filesystem::path& dir, bool train);
/// Reads train.bin or test.bin, in `dir` or dir/cifar-100-binary, with the fine labels.
InMemoryDataset load_cifar100(const std::filesystem::path& dir, bool train);

/// The superclass, 0 to 19, of each of CIFAR-100's classes.
const std::vector<int64_t>& cifar100_superclasses();

/// The statistics with which published CIFAR-10 recipes (LDAM-DRW, ABSGD and most others) normalise. The means are
/// the training set's. The standard deviations are means of per-image deviations; over all pixels they would be
/// 0.247, 0.243, 0.262. LDAM-DRW uses the same numbers for CIFAR-100.
ChannelStatistics cifar10_statistics();
/// The statistics of CIFAR-100's training images.
ChannelStatistics cifar100_statistics();

}  // namespace fulcrum
