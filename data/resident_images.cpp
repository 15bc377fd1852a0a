#include <fulcrum/data/resident_images.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum {

namespace {

constexpr size_t kShareOfFree = 4;           // a quarter
constexpr size_t kChunk = size_t{32} << 20;  // bytes that read_all() reads at a time

Tensor read_all(const Dataset& dataset, const Shape& shape, Device device) {
  Tensor all = empty(shape, {DType::kU8, device});
  const int64_t n = shape[0], image = shape.numel() / n;
  const int64_t rows = std::clamp<int64_t>(static_cast<int64_t>(kChunk) / image, 1, n);
  for (int64_t begin = 0; begin < n; begin += rows) {
    const int64_t end = std::min(n, begin + rows);
    Tensor part = empty({end - begin, shape[1], shape[2], shape[3]}, {DType::kU8, {}});
    for (int64_t i = begin; i < end; i++) dataset.read(i, part.data<uint8_t>() + (i - begin) * image);
    all.slice(begin, end).copy_from(part);
  }
  return all;
}

// Images on a device, shared by the loaders of a data set as long as one of them lives.
struct Shared {
  std::weak_ptr<Storage> on_device;
  std::weak_ptr<Storage> source;  // storage of the data set's own images, if they are in memory
  Shape shape;
};

size_t bytes_on(Device device, const std::map<std::pair<const Dataset*, int>, Shared>& all) {
  size_t bytes = 0;
  for (const auto& [key, shared] : all)
    if (const auto storage = shared.on_device.lock(); storage && key.second == device.index) bytes += storage->bytes();
  return bytes;
}

}  // namespace

Tensor resident_images(const Dataset& dataset, Device device) {
  const Tensor images = dataset.images();
  if (device.is_cpu()) return images;
  if (!images && !dataset.decoded()) return {};
  static auto* all = new std::map<std::pair<const Dataset*, int>, Shared>;
  static auto* mutex = new std::mutex;
  const std::lock_guard lock(*mutex);
  const Shape& image = dataset.image_shape();
  const Shape shape{dataset.size(), image[0], image[1], image[2]};
  const std::shared_ptr<Storage> source = images ? images.storage() : nullptr;
  Shared& known = (*all)[{&dataset, device.index}];
  std::shared_ptr<Storage> storage = known.on_device.lock();
  if (storage && known.shape == shape && known.source.lock() == source)
    return Tensor(std::move(storage), 0, shape, DType::kU8);
  const size_t taken = bytes_on(device, *all), free = cuda::free_memory(device);
  if (taken + static_cast<size_t>(shape.numel()) > (free + taken) / kShareOfFree) return {};
  const Tensor resident = images ? images.to(device) : read_all(dataset, shape, device);
  known = {resident.storage(), source, shape};
  return resident;
}

}  // namespace fulcrum
