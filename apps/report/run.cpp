// The sections on one run as a whole: header, results, settings.
#include <numeric>
#include <sstream>

#include <fmt/format.h>

#include "apps/json_text.h"
#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"
#include "apps/toml.h"

namespace fulcrum::apps {

namespace {

std::string tile(const std::string& name, const std::string& value, const std::string& unit, const std::string& more) {
  return fmt::format(
      "<div><dt>{}</dt><dd class=\"value\">{}<small>{}</small></dd><dd "
      "class=\"more\">{}</dd></div>\n",
      escape(name), escape(value), escape(unit), escape(more));
}

std::string fact(const std::string& name, const std::string& value) {
  return value.empty() ? "" : "<div><dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd></div>\n";
}

int64_t training_samples(const RunData& run) {
  return run.data ? std::accumulate(run.data->train_counts.begin(), run.data->train_counts.end(), int64_t{0}) : 0;
}

// The training time of the recorded epochs; an epoch that was resumed counts once.
double training_seconds(const RunData& run) {
  const auto n = static_cast<double>(training_samples(run));
  double seconds = 0, timed = 0;
  for (const EpochRow& row : run.epochs)
    if (std::isfinite(row.images_per_s))
      seconds += (std::isfinite(row.images) ? row.images : n) / row.images_per_s, timed++;
  return n > 0 && timed > 0 ? seconds * static_cast<double>(run.epochs.size()) / timed : kAbsent;
}

std::string worst_class_name(const RunData& run, const EpochMetrics& e) {
  for (size_t c = 0; c < e.per_class.size(); c++)
    if (std::abs(e.per_class[c] - e.worst_class) < 1e-9) return run.class_name(c);
  return {};
}

std::string data_text(const RunData& run) {
  const DataSettings& d = run.config.data;
  std::string text = run.data ? run.data->name : d.name;
  if (const int64_t n = training_samples(run)) text += fmt::format(", {} training images", grouped(n));
  if (run.classes()) text += fmt::format(", {} classes", grouped(static_cast<int64_t>(run.classes())));
  if (d.imb_type != "none") text += fmt::format("; {} imbalance, factor {}", d.imb_type, significant(d.imb_factor));
  if (d.noise_type != "none")
    text += fmt::format("; {} label noise{}", d.noise_type,
                        d.noise_type == "matrix" ? "" : fmt::format(", {} %", percent(d.noise_rate, 0)));
  return text;
}

std::string tiles(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  if (!last) return {};
  const EpochMetrics& test = *last->test;
  const std::string when = fmt::format("after epoch {}", last->epoch + 1);
  std::string out = tile("Test top-1", percent(test.top1), " %", when);
  out += tile("Balanced accuracy", percent(test.balanced), " %", "mean of the classes' recalls");
  if (!std::isnan(test.worst_class))
    out += tile("Worst class", percent(test.worst_class), " %", worst_class_name(run, test));
  if (run.best) {
    const bool on_val = run.best->selected_on == "val";
    const std::string& metric = run.config.train.eval_metric;
    const char* best = metric == "top1" ? "Best" : "At the best epoch:";
    out +=
        tile(fmt::format("{} {}", best, on_val ? "top-1, held-out part" : "test top-1"),
             percent(run.best->metrics.top1), " %",
             fmt::format("epoch {}, chosen {}on {}", run.best->epoch + 1, metric == "top1" ? "" : "by " + metric + " ",
                         on_val ? "the held-out part" : "the test set: optimistic"));
  }
  if (const double seconds = training_seconds(run); std::isfinite(seconds))
    out += tile("Training time", duration(seconds), "", "without evaluation");
  return "<dl class=\"tiles\">\n" + out + "</dl>\n";
}

std::string optimizer_text(const Config& c) {
  const bool adam = c.optim.name.starts_with("adam");
  const bool is_constant = c.schedule.kind == "multistep" && c.schedule.milestones.empty();
  return fmt::format("{}, lr {}, {}weight decay {}, {} schedule", c.optim.name, significant(c.optim.lr),
                     adam ? "" : fmt::format("momentum {}, ", significant(c.optim.momentum)),
                     significant(c.optim.weight_decay), is_constant ? "constant" : c.schedule.kind);
}

std::string results_row_name(const Metric& m) {
  if (m.value == &EpochMetrics::many) return "Many-shot classes (> 100 images)";
  if (m.value == &EpochMetrics::medium) return "Medium-shot classes (20–100)";
  if (m.value == &EpochMetrics::few) return "Few-shot classes (< 20)";
  if (m.value == &EpochMetrics::ece) return "Expected calibration error";
  if (m.value == &EpochMetrics::loss) return "Loss (plain cross entropy)";
  return m.name;
}

}  // namespace

std::string epochs_text(const RunData& run) {
  const int64_t all = run.config.train.epochs;
  if (run.ended && run.done() < all) return fmt::format("{} of {} epochs, stopped early", run.done(), all);
  return run.finished() ? fmt::format("{} {}", all, all == 1 ? "epoch" : "epochs")
                        : fmt::format("{} of {} epochs", run.done(), all);
}

std::string risk_text(const RiskSettings& risk) {
  if (risk.name == "mean") return "plain mean";
  if (risk.name != "kl") return risk.name;
  std::string text = fmt::format("ABSGD, λ = {}, γ = {}", significant(risk.lambda), significant(risk.gamma));
  if (risk.from_epoch > 0) text += fmt::format(", from epoch {} on", risk.from_epoch + 1);
  return text;
}

std::vector<Setting> settings_of(const Config& config) {
  const toml::table table = toml::parse(to_toml(config));
  Config copy = config;
  std::vector<Setting> settings;
  for (const Key& key : keys_of(copy)) {
    const toml::node_view node = table.at_path(key.name);
    std::ostringstream text;
    if (const auto* string = node.as_string()) text << string->get();
    else if (const auto* number = node.as_floating_point())
      text << fmt::format("{}", number->get());  // the shortest exact form
    else text << node;
    settings.push_back({key.name, text.str(), key.help});
  }
  return settings;
}

std::string run_header(const RunData& run) {
  const Config& c = run.config;
  std::string out = "<header>\n<p class=\"eyebrow\">Fulcrum · training report</p>\n<h1>" + escape(run.name) + "</h1>\n";
  out += "<p class=\"lead\">" +
         escape(fmt::format("{} on {}; {}; {}, seed {}.", c.model.name, run.data ? run.data->name : c.data.name,
                            risk_text(c.risk), epochs_text(run), c.train.seed)) +
         "</p>\n";
  out += tiles(run);
  out +=
      "<dl class=\"facts\">\n" + fact("Data", data_text(run)) + fact("Model", c.model.name) +
      fact("Loss", (c.loss.name == "ce" ? "cross entropy" : c.loss.name) +
                       (c.loss.class_weights == "none" ? "" : ", class weights " + c.loss.class_weights)) +
      fact("Risk", risk_text(c.risk)) + fact("Optimiser", optimizer_text(c)) +
      fact("Training", fmt::format("{}, batches of {}, seed {}", epochs_text(run), c.train.batch_size, c.train.seed));
  if (!run.epochs.empty() && std::isfinite(run.epochs.back().images_per_s))
    out += fact("Speed",
                fmt::format("{} images/s in the last epoch", grouped(std::llround(run.epochs.back().images_per_s))));
  out += fact("Directory", run.directory.string()) + "</dl>\n";
  if (!run.finished())
    out += note(fmt::format("The run is not finished: {} of {} epochs are recorded.", run.done(), c.train.epochs));
  if (run.torn)
    out += note("The last line of metrics.jsonl is incomplete (the run was killed while it wrote) and is left out.");
  return out + "</header>\n";
}

std::string results_section(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  if (!last) return section("Results", "results", note("No epoch has been evaluated yet."));
  Table t{.head = {"Test set, after epoch " + std::to_string(last->epoch + 1), "final"}, .rows = {}};
  const bool best_on_test = run.best && run.best->selected_on == "test";
  if (last->val) t.head.push_back("held-out part");
  for (const auto& [name, metrics] : last->splits) t.head.push_back(name);
  if (best_on_test) t.head.push_back(fmt::format("best, epoch {}", run.best->epoch + 1));
  // The epoch that the held-out part has chosen, on the test set.
  const auto chosen = std::ranges::find_if(
      run.epochs, [&](const EpochRow& e) { return run.best && !best_on_test && e.epoch == run.best->epoch && e.test; });
  if (chosen != run.epochs.end()) t.head.push_back(fmt::format("epoch {}, chosen", run.best->epoch + 1));
  for (const Metric& m : kMetrics) {
    const auto text = [&](const EpochMetrics& e) {
      const std::string name = m.value == &EpochMetrics::worst_class ? worst_class_name(run, e) : "";
      return (m.is_share ? percent(e.*m.value) : significant(e.*m.value)) +
             (name.empty() ? "" : " (" + clipped(name, 12) + ")");
    };
    if (std::isnan((*last->test).*m.value) || !says_something(m, run.classes())) continue;
    std::vector<std::string> row = {results_row_name(m), text(*last->test)};
    if (last->val) row.push_back(text(*last->val));
    for (const auto& [name, metrics] : last->splits) row.push_back(text(metrics));
    if (best_on_test) row.push_back(text(run.best->metrics));
    if (chosen != run.epochs.end()) row.push_back(text(*chosen->test));
    t.rows.push_back(std::move(row));
  }
  const std::string words =
      table(t) +
      note(std::string("Shares in percent. ") +
           (best_on_test ? "The best epoch was chosen on the test set itself, so it is optimistic: quote the final one."
                         : ""));
  return section("Results", "results", figures({"<div>" + words + "</div>\n", accuracy_figure(run)}));
}

std::string settings_section(const RunData& run) {
  const auto values = settings_of(run.config), defaults = settings_of(Config{});
  Table changed{.head = {"Setting", "value", "default", "meaning"}, .words = 4};
  for (size_t i = 0; i < values.size(); i++)
    if (values[i].value != defaults[i].value)
      changed.rows.push_back({values[i].key, values[i].value, defaults[i].value, values[i].help});
  std::string html = paragraph("Settings that differ from the defaults:") + table(changed);
  html += details("All settings (config.toml)", "<pre>" + escape(to_toml(run.config)) + "</pre>");
  if (run.environment.is_null())
    return section("Settings", "settings", html + note("There is no env.json: versions and machine are unknown."));
  Table environment{.head = {"Environment", "value"}, .words = 2};
  const nlohmann::json flat = run.environment.flatten();
  for (const auto& [key, value] : flat.items())
    environment.rows.push_back(
        {key.empty() ? key : key.substr(1), value.is_string() ? value.get<std::string>() : json_text(value)});
  return section("Settings", "settings", html + details("Environment (env.json)", table(environment)));
}

}  // namespace fulcrum::apps
