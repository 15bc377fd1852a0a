// Reads the safetensors files of a run directory.
#include <charconv>
#include <unordered_map>

#include <fulcrum/core/serialize.h>

#include "apps/report/data.h"

namespace fulcrum::apps {

namespace {

// Reads the tensors of one file by name, and checks their type and length.
class Columns {
 public:
  explicit Columns(const std::filesystem::path& path)
      : where_("[report] " + path.string()), file_(load_tensors(path)) {}

  const std::string& where() const { return where_; }
  const std::map<std::string, std::string>& metadata() const { return file_.metadata; }
  bool has(const std::string& name) const { return file_.tensors.contains(name); }

  /// The tensor; its leading size must be `rows`, unless `rows` is 0.
  Tensor get(const std::string& name, DType dtype, int dims, size_t rows = 0) const {
    const auto it = file_.tensors.find(name);
    check(it != file_.tensors.end(), where_, ": expected a tensor '", name, "'");
    const Tensor& t = it->second;
    check(t.dtype() == dtype && t.dim() == dims, where_, ": expected '", name, "' as ", dtype, " with ", dims,
          dims == 1 ? " dimension" : " dimensions", ", got ", t.dtype(), " ", t.shape());
    check(rows == 0 || t.size(0) == static_cast<int64_t>(rows), where_, ": expected ", rows, " rows in '", name,
          "', got ", t.size(0));
    return t;
  }
  std::vector<int64_t> integers(const std::string& name, size_t rows = 0) const {
    const Tensor t = get(name, DType::kI64, 1, rows);
    return {t.data<int64_t>(), t.data<int64_t>() + t.numel()};
  }
  std::vector<double> floats(const std::string& name, size_t rows) const {
    return get(name, DType::kF32, 1, rows).to_vector();
  }
  /// Integers in [0, classes).
  std::vector<int64_t> labels(const std::string& name, size_t rows, size_t classes) const {
    std::vector<int64_t> values = integers(name, rows);
    for (size_t i = 0; i < values.size(); i++)
      check(values[i] >= 0 && (classes == 0 || values[i] < static_cast<int64_t>(classes)), where_,
            ": expected labels below ", classes, " in '", name, "', got ", values[i], " at ", i);
    return values;
  }

 private:
  std::string where_;
  TensorFile file_;
};

Thumbnails read_thumbnails(const Columns& file, const std::string& which,
                           const std::unordered_map<int64_t, int64_t>& position) {
  Thumbnails thumbnails;
  if (!file.has(which + ".index")) return thumbnails;
  const std::vector<int64_t> indices = file.integers(which + ".index");
  for (const int64_t index : indices) {
    const auto it = position.find(index);
    check(it != position.end(), file.where(), ": '", which, ".index' has ", index, ", which is not in 'index'");
    thumbnails.sample.push_back(it->second);
  }
  thumbnails.images = file.get(which + ".images", DType::kU8, 4, indices.size());
  const int64_t channels = thumbnails.images.size(3);
  check(channels == 1 || channels == 3, file.where(), ": expected 1 or 3 channels in '", which, ".images', got ",
        thumbnails.images.shape());
  return thumbnails;
}

}  // namespace

int64_t Samples::wrong_labels() const {
  int64_t wrong = 0;
  for (size_t i = 0; i < label.size(); i++) wrong += label[i] != clean_label[i];
  return wrong;
}

Predictions read_predictions(const std::filesystem::path& path, size_t classes) {
  const Columns file(path);
  Predictions p;
  p.label = file.labels("label", 0, classes);
  p.prediction = file.labels("prediction", p.label.size(), classes);
  p.confidence = file.floats("confidence", p.label.size());
  if (const auto it = file.metadata().find("epoch"); it != file.metadata().end()) {
    const std::string& text = it->second;
    int64_t epoch = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
    check(error == std::errc() && end == text.data() + text.size(), file.where(),
          ": expected an integer in metadata 'epoch', got '", text, "'");
    p.epoch = epoch;
  }
  return p;
}

Samples read_samples(const std::filesystem::path& path, size_t classes) {
  const Columns file(path);
  Samples s;
  s.index = file.integers("index");
  const size_t n = s.index.size();
  s.label = file.labels("label", n, classes);
  s.clean_label = file.labels("clean_label", n, classes);
  s.mean_weight = file.floats("mean_weight", n);
  s.weight = file.floats("weight", n);
  s.loss = file.floats("loss", n);
  std::unordered_map<int64_t, int64_t> position;
  for (size_t i = 0; i < n; i++) position[s.index[i]] = static_cast<int64_t>(i);
  s.largest = read_thumbnails(file, "largest", position);
  s.smallest = read_thumbnails(file, "smallest", position);
  return s;
}

}  // namespace fulcrum::apps
