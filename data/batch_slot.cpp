#include <fulcrum/data/batch_slot.h>

#include <utility>

#include <fulcrum/data/batch_source.h>

namespace fulcrum {

namespace {

// Makes the loader's device current: events belong to the device that is current when they are created.
std::shared_ptr<const BatchSource> on_its_device(std::shared_ptr<const BatchSource> source) {
  const Device device = source->options().device;
  check(!device.is_cpu(), "[batch_slot] expected a loader for a GPU, got ", device);
  cuda::use_device(device.index);
  return source;
}

}  // namespace

BatchSlot::BatchSlot(const Loader& loader) : source_(on_its_device(loader.source_)) {
  const LoaderOptions& o = source_->options();
  const int64_t n = o.batch_size / o.parts + source_->neighbours();
  const Shape& image = source_->dataset().image_shape();
  const Shape shape{n, image[0], image[1], image[2]};
  const bool resident = source_->resident();
  const auto columns = [&] { return empty({source_->column_rows(), n}, {DType::kI64, o.device}); };
  const auto pixels = [&] { return resident ? Tensor() : empty(shape, {DType::kU8, o.device}); };
  columns_ = columns();
  pixels_ = pixels();
  for (Transfer& t : transfers_) t.columns = columns(), t.pixels = pixels();
  batch_ = source_->batch_of(columns_);
  batch_.total = o.batch_size;
  // The pool may have returned memory that kernels in the compute stream still use.
  for (Transfer& t : transfers_) t.taken.record(cuda::compute_stream());
}

BatchSlot::~BatchSlot() {
  try {
    for (const Transfer& t : transfers_)
      if (t.host.columns) t.arrived.synchronize();  // the copy must not read memory that has returned to the pool
  } catch (const Error&) {
    // The device has failed; the error that ends the run is already on its way.
  }
}

void BatchSlot::load(StagedBatch staged) {
  check(staged.size == batch_.size, "[batch_slot] expected ", batch_.size, " samples, got ", staged.size);
  cuda::use_device(source_->options().device.index);
  Transfer& t = transfers_[std::exchange(next_, 1 - next_)];
  const cuda::Stream copies = cuda::copy_stream(), compute = cuda::compute_stream();
  if (t.host.columns) t.arrived.synchronize();  // the copy of two batches ago, before t.host is overwritten
  t.taken.hold(copies);
  t.host = std::move(staged);
  const auto move = [&](Tensor& to, const Tensor& from, cuda::Stream stream) {
    cuda::copy_async(to.raw(), to.device(), from.raw(), from.device(), to.bytes(), stream);
  };
  move(t.columns, t.host.columns, copies);
  if (t.pixels) move(t.pixels, t.host.pixels, copies);
  t.arrived.record(copies);
  t.arrived.hold(compute);
  move(columns_, t.columns, compute);
  if (t.pixels) move(pixels_, t.pixels, compute);
  t.taken.record(compute);
}

void BatchSlot::make_images() { source_->make_images(batch_, columns_, pixels_); }

}  // namespace fulcrum
