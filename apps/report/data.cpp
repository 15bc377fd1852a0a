#include "apps/report/data.h"

#include <algorithm>

#include <fulcrum/core/serialize.h>

#include "apps/histogram.h"
#include "apps/json_text.h"
#include "apps/metrics.h"
#include "apps/report/json.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

nlohmann::json parse_json(const std::string& text, const std::string& where) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    fail(where, ": not JSON: ", e.what());
  }
}

// An empty optional if the file is missing.
std::optional<nlohmann::json> read_json(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  return parse_json(read_text_file(path), "[report] " + path.string());
}

Config read_config(const fs::path& path) {
  check(fs::is_regular_file(path), "[report] expected a run directory with config.toml, got no ", path.string());
  Config config;
  try {
    load_toml(config, read_text_file(path), path.string());
  } catch (const UsageError& e) {
    fail("[report] ", e.what());
  }
  return config;
}

EpochMetrics read_evaluation(const JsonObject& json) {
  EpochMetrics e;
  for (const Metric& m : kMetrics) e.*m.value = m.is_share ? json.share(m.key) : json.number(m.key);
  e.per_class = json.shares("per_class");
  return e;
}

std::vector<int64_t> histogram(const JsonObject& json, const char* key, const LogBins& bins) {
  std::vector<int64_t> counts = json.integers(key);
  check(counts.empty() || counts.size() == bins.count(), json.where(), ": expected ", bins.count(), " numbers in '",
        key, "', got ", counts.size());
  return counts;
}

EpochRow read_row(const JsonObject& json) {
  EpochRow row;
  row.epoch = json.integer("epoch");
  row.lr = json.number("lr");
  row.images = json.number("images");
  row.images_per_s = json.number("images_per_s");
  if (const auto train = json.child("train")) {
    row.train_loss = train->number("loss");
    row.train_top1 = train->share("top1");
    row.objective = train->number("objective");
  }
  row.weight_sum = json.number("weight_sum");
  row.effective_fraction = json.share("effective_fraction");
  row.inv_lambda = json.number("inv_lambda");
  row.log_u = json.number("log_u");
  row.kl_objective = json.number("kl_objective");
  row.class_weight_share = json.shares("class_weight_share");
  row.weight_histogram = histogram(json, "weight_histogram", kWeightBins);
  row.loss_histogram = histogram(json, "loss_histogram", kLossBins);
  if (const auto wrong = json.child("wrong_labels")) {
    row.wrong_auroc = wrong->share("auroc");
    row.wrong_precision = wrong->share("precision");
    row.wrong_recall = wrong->share("recall");
    row.wrong_auroc_by_loss = wrong->share("auroc_by_loss");
  }
  if (const auto test = json.child("test")) row.test = read_evaluation(*test);
  if (const auto val = json.child("val")) row.val = read_evaluation(*val);
  if (const auto splits = json.child("splits"))
    for (const std::string& name : splits->keys())
      if (const auto split = splits->child(name)) row.splits.emplace_back(name, read_evaluation(*split));
  return row;
}

void check_classes(const std::vector<double>& values, size_t& classes, const std::string& where, const char* key) {
  if (values.empty()) return;
  if (classes == 0) classes = values.size();
  check(values.size() == classes, where, ": expected ", classes, " classes in '", key, "', got ", values.size());
}

// A last line without an end is left out: a run was killed while it wrote.
void read_metrics(const fs::path& path, RunData& run) {
  check(fs::is_regular_file(path), "[report] expected a run directory with metrics.jsonl, got no ", path.string());
  const std::string text = read_text_file(path);
  size_t classes = run.data ? run.data->classes.size() : 0;
  for (size_t begin = 0, line = 1; begin < text.size(); line++) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string row_text = text.substr(begin, end - begin);
    begin = end + 1;
    if (end == text.size() && !nlohmann::json::accept(row_text)) {
      run.torn = true;
      return;
    }
    const std::string where = concat_text("[report] ", path.string(), " line ", line);
    const nlohmann::json json = parse_json(row_text, where);
    EpochRow row = read_row(JsonObject(json, where));
    check(run.epochs.empty() || row.epoch > run.epochs.back().epoch, where, ": expected an epoch after ",
          run.epochs.empty() ? 0 : run.epochs.back().epoch, ", got ", row.epoch);
    check_classes(row.class_weight_share, classes, where, "class_weight_share");
    if (row.test) check_classes(row.test->per_class, classes, where, "per_class");
    if (row.val) check_classes(row.val->per_class, classes, where, "per_class");
    for (const auto& [name, split] : row.splits) check_classes(split.per_class, classes, where, "per_class");
    run.epochs.push_back(std::move(row));
  }
}

std::optional<DatasetInfo> read_data(const fs::path& path) {
  const auto json = read_json(path);
  if (!json) return std::nullopt;
  const std::string where = "[report] " + path.string();
  const JsonObject object(*json, where);
  DatasetInfo data{object.text("name"), object.texts("classes"), object.integers("train_counts"),
                   object.integers("test_counts")};
  check(!data.classes.empty(), where, ": expected at least one class in 'classes'");
  for (const auto& [key, counts] :
       {std::pair("train_counts", &data.train_counts), std::pair("test_counts", &data.test_counts)})
    check(counts->empty() || counts->size() == data.classes.size(), where, ": expected ", data.classes.size(),
          " numbers in '", key, "', one a class, got ", counts->size());
  return data;
}

// The best epoch as in result.json if the run is finished. For other runs it follows the trainer's rule: the best by
// train.eval_metric, the first of equals.
std::optional<BestEpoch> find_best(const fs::path& path, RunData& run) {
  if (const auto json = read_json(path)) {
    const JsonObject result(*json, "[report] " + path.string());
    const auto best = result.child("best");
    const double epochs = number_in(*json, "epochs");
    run.ended = std::isnan(epochs) ? run.finished() : epochs == static_cast<double>(run.done());  // or a shorter run's
    if (best && run.ended) return BestEpoch{best->integer("epoch"), best->text("selected_on"), read_evaluation(*best)};
  }
  const Metric* metric = std::ranges::find(kMetrics, run.config.train.eval_metric, &Metric::key);
  check(metric != std::end(kMetrics), "[report] config.toml: expected a metric in train.eval_metric, got '",
        run.config.train.eval_metric, "'");
  std::optional<BestEpoch> best;
  for (const EpochRow& row : run.epochs) {
    const auto& chosen = row.val ? row.val : row.test;
    if (chosen && (!best || is_better(metric->key, (*chosen).*metric->value, best->metrics.*metric->value)))
      best = BestEpoch{row.epoch, row.val ? "val" : "test", *chosen};
  }
  return best;
}

std::string name_of_run(const fs::path& directory) {
  const fs::path path = fs::absolute(directory).lexically_normal();
  const fs::path run = path.has_filename() ? path : path.parent_path();
  const std::string name = run.filename().string();
  // A name such as "seed0", which --seeds and grids give, is not unique.
  return name.starts_with("seed") ? (run.parent_path().filename() / name).string() : name;
}

}  // namespace

size_t RunData::classes() const {
  if (data) return data->classes.size();
  for (const EpochRow& row : epochs) {
    if (row.test && !row.test->per_class.empty()) return row.test->per_class.size();
    if (!row.class_weight_share.empty()) return row.class_weight_share.size();
  }
  return 0;
}

std::string RunData::class_name(size_t c) const {
  return data && c < data->classes.size() ? data->classes[c] : std::to_string(c);
}

bool RunData::sizes_differ() const {
  if (!data || data->train_counts.empty()) return false;
  const auto [least, most] = std::ranges::minmax(data->train_counts);
  return static_cast<double>(most) > 1.5 * static_cast<double>(least);
}

int64_t RunData::class_size(size_t c) const {
  return data && c < data->train_counts.size() ? data->train_counts[c] : 0;
}

const EpochRow* RunData::last_evaluated() const {
  const auto it =
      std::find_if(epochs.rbegin(), epochs.rend(), [](const EpochRow& row) { return row.test.has_value(); });
  return it == epochs.rend() ? nullptr : &*it;
}

int64_t RunData::done() const { return epochs.empty() ? 0 : epochs.back().epoch + 1; }

RunData read_run(const fs::path& directory) {
  RunData run;
  run.directory = directory;
  run.name = name_of_run(directory);
  run.config = read_config(directory / "config.toml");
  run.data = read_data(directory / "data.json");
  read_metrics(directory / "metrics.jsonl", run);
  run.best = find_best(directory / "result.json", run);
  if (const fs::path file = directory / "predictions.safetensors"; fs::exists(file))
    run.predictions = read_predictions(file, run.classes());
  if (const fs::path file = directory / "samples.safetensors"; fs::exists(file))
    run.samples = read_samples(file, run.classes());
  if (const auto json = read_json(directory / "env.json")) run.environment = *json;
  return run;
}

}  // namespace fulcrum::apps
