// The sections on one run as a whole: header, results, course of training, settings.
#include <numeric>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "apps/report_page.h"
#include "apps/report_sections.h"
#include "apps/report_text.h"

namespace fulcrum::apps {

namespace {

std::string tile(const std::string& name, const std::string& value, const std::string& unit,
                 const std::string& more) {
  return fmt::format(
      "<div><dt>{}</dt><dd class=\"value\">{}<small>{}</small></dd><dd "
      "class=\"more\">{}</dd></div>\n",
      escape(name), escape(value), escape(unit), escape(more));
}

std::string fact(const std::string& name, const std::string& value) {
  return value.empty() ? ""
                       : "<div><dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd></div>\n";
}

int64_t training_samples(const RunData& run) {
  return run.data ? std::accumulate(run.data->train_counts.begin(), run.data->train_counts.end(),
                                    int64_t{0})
                  : 0;
}

// The epochs that are written down; a resumed run counts each once.
double training_seconds(const RunData& run) {
  const auto n = static_cast<double>(training_samples(run));
  double seconds = 0;
  for (const EpochRow& row : run.epochs) seconds += n / row.images_per_s;
  return n > 0 && !run.epochs.empty() ? seconds : kAbsent;
}

std::string worst_class_name(const RunData& run, const Evaluation& e) {
  for (size_t c = 0; c < e.per_class.size(); c++)
    if (std::abs(e.per_class[c] - e.worst_class) < 1e-9) return run.class_name(c);
  return {};
}

std::string data_text(const RunData& run) {
  const DataSettings& d = run.config.data;
  std::string text = run.data ? run.data->name : d.name;
  if (const int64_t n = training_samples(run))
    text += fmt::format(", {} training images", grouped(n));
  if (run.classes())
    text += fmt::format(", {} classes", grouped(static_cast<int64_t>(run.classes())));
  if (d.imb_type != "none")
    text += fmt::format("; {} imbalance, factor {}", d.imb_type, significant(d.imb_factor));
  if (d.noise_type != "none")
    text += fmt::format("; {} label noise, {} %", d.noise_type, percent(d.noise_rate, 0));
  return text;
}

std::string tiles(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  if (!last) return {};
  const Evaluation& test = *last->test;
  const std::string when = fmt::format("after epoch {}", last->epoch + 1);
  std::string out = tile("Test top-1", percent(test.top1), " %", when);
  out += tile("Balanced accuracy", percent(test.balanced), " %", "mean of the classes' recalls");
  if (!std::isnan(test.worst_class))
    out += tile("Worst class", percent(test.worst_class), " %", worst_class_name(run, test));
  if (run.best) {
    const bool on_val = run.best->selected_on == "val";
    out += tile(on_val ? "Best top-1, held-out part" : "Best test top-1",
                percent(run.best->metrics.top1), " %",
                fmt::format("epoch {}, chosen on {}", run.best->epoch + 1,
                            on_val ? "the held-out part" : "the test set: optimistic"));
  }
  if (const double seconds = training_seconds(run); std::isfinite(seconds))
    out += tile("Training time", duration(seconds), "", "without evaluation");
  return "<dl class=\"tiles\">\n" + out + "</dl>\n";
}

std::string optimizer_text(const Config& c) {
  const bool adam = c.optim.name.starts_with("adam");
  return fmt::format("{}, lr {}, {}weight decay {}, {} schedule", c.optim.name,
                     significant(c.optim.lr),
                     adam ? "" : fmt::format("momentum {}, ", significant(c.optim.momentum)),
                     significant(c.optim.weight_decay), c.schedule.kind);
}

std::string results_row_name(const Metric& m, const RunData& run, const Evaluation& e) {
  const std::string name = m.name;
  if (m.value == &Evaluation::worst_class) {
    const std::string worst = worst_class_name(run, e);
    return worst.empty() ? name : name + ": " + worst;
  }
  if (m.value == &Evaluation::many) return "Many-shot classes (> 100 images)";
  if (m.value == &Evaluation::medium) return "Medium-shot classes (20–100)";
  if (m.value == &Evaluation::few) return "Few-shot classes (< 20)";
  if (m.value == &Evaluation::ece) return "Expected calibration error";
  if (m.value == &Evaluation::loss) return "Loss (plain cross entropy)";
  return name;
}

Figure losses_figure(const RunData& run) {
  const auto train = [](const EpochRow& r) { return r.train_loss; };
  const auto objective = [](const EpochRow& r) { return r.objective; };
  LineChart chart{.description = "Loss by epoch", .x_name = "epoch", .y_name = "loss"};
  chart.series = {epoch_series(run, "train", "var(--s8)", false, train, true),
                  epoch_series(run, "test", "var(--s1)", false, test_value(&Evaluation::loss)),
                  epoch_series(run, "weighted", "var(--s2)", false, objective)};
  chart.series.push_back(epoch_series(run, "val", "var(--s4)", false, [](const EpochRow& r) {
    return r.val ? r.val->loss : kAbsent;
  }));
  chart.series.push_back(epoch_series(
      run, "risk", "var(--s5)", false, [](const EpochRow& r) { return r.kl_objective; }, true));
  Range all;
  for (const Series& s : chart.series)
    for (const Point& p : s.points) all.add(p.y);
  chart.y.log = all.low > 0 && all.high > 30 * all.low;
  std::string caption =
      "Cross entropy, the mean over the samples; weighted: Σ p·l, what a step minimises";
  if (!chart.series.back().points.empty())
    caption += "; risk: λ log mean exp(l/λ), what ABSGD minimises in the end";
  return {"Loss", line_chart(chart), caption + "."};
}

}  // namespace

EpochValue test_value(double Evaluation::*metric) {
  return [metric](const EpochRow& row) { return row.test ? (*row.test).*metric : kAbsent; };
}

std::vector<Point> epoch_points(const RunData& run, const std::string& name, bool share,
                                const EpochValue& value) {
  std::vector<Point> points;
  for (const EpochRow& row : run.epochs) {
    const double v = value(row);
    if (std::isnan(v)) continue;
    points.push_back({static_cast<double>(row.epoch + 1), share ? 100 * v : v,
                      fmt::format("{}, epoch {}: {}", name, row.epoch + 1,
                                  share ? percent(v) + " %" : significant(v))});
  }
  return points;
}

Series epoch_series(const RunData& run, const std::string& name, const std::string& colour,
                    bool share, const EpochValue& value, bool dashed) {
  Series s{name, colour, epoch_points(run, name, share, value), dashed};
  if (!s.points.empty())
    s.name += " " + (share ? decimal(s.points.back().y, 1) : significant(s.points.back().y, 3));
  return s;
}

std::string epochs_text(const RunData& run) {
  const int64_t all = run.config.train.epochs;
  return run.finished() ? fmt::format("{} {}", all, all == 1 ? "epoch" : "epochs")
                        : fmt::format("{} of {} epochs", run.done(), all);
}

std::string risk_text(const RiskSettings& risk) {
  if (risk.name == "mean") return "plain mean";
  if (risk.name != "kl") return risk.name;
  std::string text =
      fmt::format("ABSGD, λ = {}, γ = {}", significant(risk.lambda), significant(risk.gamma));
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
    if (const auto* string = node.as_string())
      text << string->get();
    else
      text << node;
    settings.push_back({key.name, text.str(), key.help});
  }
  return settings;
}

std::string run_header(const RunData& run) {
  const Config& c = run.config;
  std::string out = "<header>\n<p class=\"eyebrow\">Fulcrum · training report</p>\n<h1>" +
                    escape(run.name) + "</h1>\n";
  out += "<p class=\"lead\">" +
         escape(fmt::format("{} on {}; {}; {}, seed {}.", c.model.name,
                            run.data ? run.data->name : c.data.name, risk_text(c.risk),
                            epochs_text(run), c.train.seed)) +
         "</p>\n";
  out += tiles(run);
  out += "<dl class=\"facts\">\n" + fact("Data", data_text(run)) + fact("Model", c.model.name) +
         fact("Loss", c.loss.name + (c.loss.class_weights == "none"
                                         ? ""
                                         : ", class weights " + c.loss.class_weights)) +
         fact("Risk", risk_text(c.risk)) + fact("Optimiser", optimizer_text(c)) +
         fact("Training", fmt::format("{}, batches of {}, seed {}", epochs_text(run),
                                      c.train.batch_size, c.train.seed));
  if (!run.epochs.empty() && std::isfinite(run.epochs.back().images_per_s))
    out += fact("Speed", fmt::format("{} images/s in the last epoch",
                                     grouped(std::llround(run.epochs.back().images_per_s))));
  out += fact("Directory", run.directory.string()) + "</dl>\n";
  if (!run.finished())
    out += note(fmt::format("The run is not finished: {} of {} epochs are written down.",
                            run.done(), c.train.epochs));
  if (run.torn)
    out += note(
        "The last line of metrics.jsonl is incomplete (the run was killed while it wrote) and left "
        "out.");
  return out + "</header>\n";
}

std::string results_section(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  if (!last) return section("Results", "results", note("No epoch has been evaluated yet."));
  Table t{.head = {"Test set, after epoch " + std::to_string(last->epoch + 1), "final"},
          .rows = {}};
  const bool best_on_test = run.best && run.best->selected_on == "test";
  if (last->val) t.head.push_back("held-out part");
  if (best_on_test) t.head.push_back(fmt::format("best, epoch {}", run.best->epoch + 1));
  for (const Metric& m : kMetrics) {
    const auto text = [&](const Evaluation& e) {
      return m.is_share ? percent(e.*m.value) : significant(e.*m.value);
    };
    if (std::isnan((*last->test).*m.value)) continue;
    std::vector<std::string> row = {results_row_name(m, run, *last->test), text(*last->test)};
    if (last->val) row.push_back(text(*last->val));
    if (best_on_test) row.push_back(text(run.best->metrics));
    t.rows.push_back(std::move(row));
  }
  std::string html = table(t);
  html += note(std::string("Shares in percent. ") +
               (best_on_test ? "The best epoch was chosen on the test set itself and flatters the "
                               "run: quote the final one."
                             : ""));
  return section("Results", "results", html);
}

std::string course_section(const RunData& run) {
  if (run.epochs.empty())
    return section("Course of training", "course",
                   note("metrics.jsonl has no epoch yet, so there are no curves."));
  LineChart accuracy{
      .description = "Accuracy by epoch", .x_name = "epoch", .y_name = "accuracy, %"};
  accuracy.y = {.least = 0, .most = 100};
  accuracy.series = {
      epoch_series(
          run, "train", "var(--s8)", true, [](const EpochRow& r) { return r.train_top1; }, true),
      epoch_series(run, "test", "var(--s1)", true, test_value(&Evaluation::top1)),
      epoch_series(run, "balanced", "var(--s3)", true, test_value(&Evaluation::balanced)),
      epoch_series(run, "val", "var(--s4)", true,
                   [](const EpochRow& r) { return r.val ? r.val->top1 : kAbsent; })};
  LineChart lr{
      .description = "Learning rate by epoch", .x_name = "epoch", .y_name = "learning rate"};
  lr.series = {epoch_series(run, "lr", "var(--s1)", false, [](const EpochRow& r) { return r.lr; })};
  LineChart groups{.description = "Accuracy of many-, medium- and few-shot classes by epoch",
                   .x_name = "epoch",
                   .y_name = "mean recall, %"};
  groups.y = {.least = 0, .most = 100};
  groups.series = {
      epoch_series(run, "many", "var(--s1)", true, test_value(&Evaluation::many)),
      epoch_series(run, "medium", "var(--s5)", true, test_value(&Evaluation::medium)),
      epoch_series(run, "few", "var(--s2)", true, test_value(&Evaluation::few)),
      epoch_series(run, "worst", "var(--s8)", true, test_value(&Evaluation::worst_class), true)};
  std::string html =
      figures({figure({"Accuracy", line_chart(accuracy),
                       "Top-1 on the training batches as they passed, and on the test set; "
                       "balanced: the mean of the classes' recalls."}),
               figure(losses_figure(run)),
               figure({"Classes by size", line_chart(groups),
                       "Test recall of the classes with more than 100, 20 to 100 and fewer than 20 "
                       "training images, and of the worst class."}),
               figure({"Learning rate", line_chart(lr), ""})});
  return section("Course of training", "course", html);
}

std::string settings_section(const RunData& run) {
  const auto values = settings_of(run.config), defaults = settings_of(Config{});
  Table changed{.head = {"Setting", "value", "default", "meaning"}, .words = 4};
  for (size_t i = 0; i < values.size(); i++)
    if (values[i].value != defaults[i].value)
      changed.rows.push_back({values[i].key, values[i].value, defaults[i].value, values[i].help});
  std::string html = paragraph("What differs from the defaults:") + table(changed);
  html += details("All settings (config.toml)", "<pre>" + escape(to_toml(run.config)) + "</pre>");
  if (run.environment.is_null())
    return section("Settings", "settings",
                   html + note("There is no env.json: versions and machine are unknown."));
  Table environment{.head = {"Environment", "value"}, .words = 2};
  const nlohmann::json flat = run.environment.flatten();
  for (const auto& [key, value] : flat.items())
    environment.rows.push_back({key.empty() ? key : key.substr(1),
                                value.is_string() ? value.get<std::string>() : value.dump()});
  return section("Settings", "settings",
                 html + details("Environment (env.json)", table(environment)));
}

}  // namespace fulcrum::apps
