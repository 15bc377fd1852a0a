// The loader as a Python iterable.
#include "bindings.h"

#include <fulcrum/data/loader.h>

namespace fulcrum::python {

namespace {

// One epoch; makes the first batch only when it is asked for.
class Batches {
 public:
  explicit Batches(BatchRange range) : range_(std::move(range)) {}

  std::optional<Batch> next() {
    if (!begun_) at_ = range_.begin();
    else if (!(at_ == range_.end())) ++at_;
    begun_ = true;
    if (at_ == range_.end()) return {};
    return *at_;
  }

 private:
  BatchRange range_;
  BatchRange::Iterator at_;
  bool begun_ = false;
};

// iter(loader) is epoch 0 the first time, then 1, 2, …
struct PythonLoader {
  Loader loader;
  int64_t next_epoch = 0;

  std::unique_ptr<Batches> epoch(int64_t number, int64_t first_batch) const {
    return std::make_unique<Batches>(loader.epoch(number, first_batch));
  }
};

// The options are taken from a dictionary, for errors that name them.
constexpr const char* kLoaderSignature =
    "def __init__(self, dataset: Dataset, *, batch_size: int = 128, indices: collections.abc.Sequence[int] | "
    "numpy.typing.NDArray | None = None, shuffle: bool = False, drop_last: bool = False, mean: "
    "collections.abc.Sequence[float] = (), stddev: collections.abc.Sequence[float] = (), seed: int = 0, dtype: str = "
    "'f32', device: str = 'cpu', workers: int = 1, prefetch: int = 2, sampler: Sampler | None = None, pad: int = 0, "
    "flip: bool = False, rotation: float = 0, erase: float = 0, erase_scale: tuple[float, float] = (0.02, 0.33), "
    "erase_ratio: tuple[float, float] = (0.3, 3.3), augment_seed: int = 0, random_crop_size: int = 0, resized_crop: bool "
    "= False, resized_crop_scale: tuple[float, float] | None = None, brightness: float = 0, contrast: float = 0, "
    "saturation: float = 0, hue: float = 0, rand_augment_ops: int = 0, rand_augment_magnitude: int = 9, mixup_alpha: "
    "float = 0, cutmix_alpha: float = 0, mix_probability: float = 1, mix_switch_probability: float = 0.5) -> None";

void bind_batch(nb::module_& m) {
  nb::class_<Batch>(m, "Batch", "A batch of samples; unpacks to images, labels.")
      .def_ro("images", &Batch::images, "[B, H, W, C] in the loader's dtype: (pixel/255 − mean) / stddev.")
      .def_ro("labels", &Batch::labels, "i64 [B]; noisy if the data set's labels are.")
      .def_ro("indices", &Batch::indices, "i64 [B], the samples' indices in the data set.")
      .def_ro("groups", &Batch::groups, "i64 [B]; the labels if the data set has no groups.")
      .def_prop_ro(
          "other_labels", [](const Batch& b) { return or_none(b.other_labels); },
          "i64 [B], the label of the image that each image was mixed with (Mixup, CutMix), or None.")
      .def_prop_ro(
          "share", [](const Batch& b) { return or_none(b.share); },
          "f32 [B], the share of each mixed image's own label, or None.")
      .def("__len__", [](const Batch& b) { return b.size; })
      .def(
          "__iter__", [](const Batch& b) { return nb::make_tuple(b.images, b.labels).attr("__iter__")(); },
          nb::sig("def __iter__(self) -> collections.abc.Iterator[Tensor]"));
  nb::class_<Batches>(m, "BatchIterator")
      .def("__iter__", [](nb::handle self) { return self; })
      .def("__next__", [](Batches& batches) {
        std::optional<Batch> batch;
        {
          const nb::gil_scoped_release release;
          batch = batches.next();
        }
        if (!batch) throw nb::stop_iteration();
        return *batch;
      });
}

// Options in a Python dictionary. Each is removed when it is read, so that what remains at the end is a mistake.
class Keywords {
 public:
  Keywords(const nb::kwargs& given, std::string op)
      : rest_(nb::steal<nb::dict>(PyDict_Copy(given.ptr()))), op_(std::move(op)) {}

  template <class T>
  void take(const char* name, T& value) {
    if (!rest_.contains(name)) return;
    const nb::object given = rest_[name];
    check(nb::try_cast(given, value), "[", op_, "] ", name, ": unexpected ", nb::repr(given).c_str());
    PyDict_DelItemString(rest_.ptr(), name);
  }
  nb::object take(const char* name) {
    nb::object given = nb::none();
    take(name, given);
    return given;
  }
  void finish() const {
    for (const auto& [name, value] : rest_) fail("[", op_, "] there is no option '", nb::str(name).c_str(), "'");
  }

 private:
  nb::dict rest_;
  std::string op_;
};

void take_augmentation(Keywords& options, LoaderOptions& o) {
  options.take("pad", o.augment.pad);
  options.take("flip", o.augment.flip);
  options.take("rotation", o.augment.rotation);
  EraseOptions& erase = o.augment.erase;
  options.take("erase", erase.probability);
  std::pair scale_of_erased(erase.area_min, erase.area_max), ratio_of_erased(erase.ratio_min, erase.ratio_max);
  options.take("erase_scale", scale_of_erased);
  options.take("erase_ratio", ratio_of_erased);
  std::tie(erase.area_min, erase.area_max) = scale_of_erased;
  std::tie(erase.ratio_min, erase.ratio_max) = ratio_of_erased;
  options.take("augment_seed", o.augment.seed);
  options.take("random_crop_size", o.random_crop_size);
  bool resized_crop = false;
  options.take("resized_crop", resized_crop);
  if (resized_crop) o.resized_crop = ResizedCropOptions{};
  std::optional<std::pair<double, double>> scale;
  options.take("resized_crop_scale", scale);
  if (scale) o.resized_crop = ResizedCropOptions{.min_scale = scale->first, .max_scale = scale->second};
  options.take("brightness", o.color_jitter.brightness);
  options.take("contrast", o.color_jitter.contrast);
  options.take("saturation", o.color_jitter.saturation);
  options.take("hue", o.color_jitter.hue);
  options.take("rand_augment_ops", o.rand_augment.ops);
  options.take("rand_augment_magnitude", o.rand_augment.magnitude);
  options.take("mixup_alpha", o.mix.mixup_alpha);
  options.take("cutmix_alpha", o.mix.cutmix_alpha);
  options.take("mix_probability", o.mix.probability);
  options.take("mix_switch_probability", o.mix.switch_probability);
}

// A mask would be read as the samples 0 and 1, many times over.
void refuse_mask(const nb::handle& indices) {
  const nb::object dtype = nb::getattr(indices, "dtype", nb::none());
  const bool array = !dtype.is_none() && std::string_view(nb::str(dtype).c_str()) == "bool";
  const bool list = nb::isinstance<nb::list>(indices) && nb::len(indices) > 0 && nb::isinstance<nb::bool_>(indices[0]);
  check(!array && !list, "[loader] indices: expected positions in the data set, got a mask; numpy.flatnonzero(mask)");
}

LoaderOptions loader_options(const nb::kwargs& given) {
  if (given.contains("indices")) refuse_mask(given["indices"]);
  Keywords options(given, "loader");
  LoaderOptions o;
  std::string dtype = "f32", device = "cpu";
  options.take("batch_size", o.batch_size);
  options.take("indices", o.indices);
  options.take("shuffle", o.shuffle);
  options.take("drop_last", o.drop_last);
  options.take("mean", o.mean);
  options.take("stddev", o.stddev);
  options.take("seed", o.seed);
  options.take("dtype", dtype);
  options.take("device", device);
  options.take("workers", o.workers);
  options.take("prefetch", o.prefetch);
  std::optional<Sampler> sampler;
  options.take("sampler", sampler);
  o.sampler = std::move(sampler);
  take_augmentation(options, o);
  options.finish();
  o.dtype = parse_dtype(dtype);
  o.device = Device(device);
  return o;
}

// What a sampler in Python draws: a list, an array or a tensor of integers.
std::vector<int64_t> drawn(const std::function<nb::object(int64_t)>& draw, int64_t epoch) {
  const nb::gil_scoped_acquire acquire;
  const nb::object given = draw(epoch);
  std::vector<int64_t> indices;
  check(nb::try_cast(nb::hasattr(given, "tolist") ? given.attr("tolist")() : given, indices),
        "[sampler] draw: expected a list of integers for epoch ", epoch, ", got ", nb::inst_name(given).c_str(),
        nb::isinstance<nb::list>(given) ? " with something else in it" : "");
  return indices;
}

void bind_samplers(nb::module_& m) {
  nb::class_<Sampler>(m, "Sampler", "Which samples an epoch visits: draw(epoch) gives `size` indices.")
      .def(
          "__init__",
          [](Sampler* self, int64_t size, std::function<nb::object(int64_t)> draw) {
            new (self) Sampler{size, [draw = std::move(draw)](int64_t epoch) { return drawn(draw, epoch); }};
          },
          "size"_a, "draw"_a,
          nb::sig(
              "def __init__(self, size: int, draw: collections.abc.Callable[[int], collections.abc.Sequence[int]]) -> None"))
      .def(
          "draw", [](const Sampler& sampler, int64_t epoch) { return sampler.draw(epoch); }, "epoch"_a,
          "The indices of an epoch, in order.")
      .def_ro("size", &Sampler::size);
  m.def("shuffle_sampler", &shuffle_sampler, "indices"_a, "seed"_a = 0,
        "A new permutation of the indices in each epoch: what Loader(shuffle=True, seed=seed) draws.");
  m.def("sequential_sampler", &sequential_sampler, "indices"_a, "The indices in the given order, in every epoch.");
  m.def(
      "class_balanced_sampler",
      [](const std::vector<int64_t>& labels, const std::vector<int64_t>& indices, uint64_t seed, int64_t size) {
        return class_balanced_sampler(labels, indices, seed, size);
      },
      "labels"_a, "indices"_a, "seed"_a = 0, "size"_a = 0,
      "Draws `size` samples with replacement (0: as many as there are indices): first a class, all equally likely, "
      "then one of its samples.");
}

}  // namespace

void bind_loader(nb::module_& m) {
  bind_batch(m);
  bind_samplers(m);
  nb::class_<PythonLoader>(
      m, "Loader",
      "Batches of a data set, augmented and normalised, made ahead of time on worker threads. Every "
      "batch is a pure function of the options, the epoch and its number.")
      .def(
          "__init__",
          [](PythonLoader* self, const Dataset& dataset, const nb::kwargs& options) {
            new (self) PythonLoader{Loader(dataset, loader_options(options))};
          },
          "dataset"_a, "options"_a, nb::keep_alive<1, 2>(), nb::sig(kLoaderSignature),
          "batch_size: samples; indices: those to visit, by default all; mean, stddev: of each channel, in units of pixel / 255; "
          "seed: of the shuffle; workers: threads (0: the calling one); prefetch: batches that each worker may be ahead; "
          "sampler: instead of indices, shuffle and seed; pad: pixels; rotation: degrees; erase: probability of random erasing; augment_seed: of crops, flips and the "
          "like; resized_crop_scale: (least, largest) share of the area. docs/formats.md says what each does.")
      .def(
          "__len__", [](const PythonLoader& l) { return l.loader.batches(); }, "Batches per epoch.")
      .def_prop_ro(
          "size", [](const PythonLoader& l) { return l.loader.size(); }, "Samples per epoch.")
      .def(
          "order", [](const PythonLoader& l, int64_t epoch) { return l.loader.order(epoch); }, "epoch"_a,
          "Indices of an epoch's samples, in order.")
      .def("epoch", &PythonLoader::epoch, "epoch"_a, "first_batch"_a = 0, nb::keep_alive<0, 1>(),
           "Iterates once over the batches of an epoch, from first_batch on.")
      .def(
          "__iter__", [](PythonLoader& l) { return l.epoch(l.next_epoch++, 0); }, nb::keep_alive<0, 1>(),
          "Iterates over the next epoch: 0 the first time, then 1, 2, …");
}

}  // namespace fulcrum::python
