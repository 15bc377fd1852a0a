// fulcrum lr-find
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/core/serialize.h>

#include "apps/commands.h"
#include "apps/exit_codes.h"
#include "apps/flag_checks.h"
#include "apps/json_text.h"
#include "apps/lr_find.h"
#include "apps/pretrained.h"
#include "apps/ranges.h"
#include "apps/report/charts.h"
#include "apps/report/page.h"
#include "apps/report/text.h"
#include "apps/result.h"
#include "apps/say.h"
#include "apps/settings_flags.h"
#include "apps/stop.h"

namespace fulcrum::apps {

namespace {

struct LrFindFlags {
  SettingsFlags settings;
  LrFindOptions test;
  std::string curve, html;
};

struct Suggestion {
  const char* name;
  const char* colour;
  const char* rule;
  std::optional<double> lr;
};

std::vector<Suggestion> suggestions_of(const LrCurve& curve, int64_t steps) {
  const LrCurve core = lr_core(curve, steps);
  return {{"valley", "var(--s2)", "the middle of the longest fall", lr_valley(core)},
          {"slide", "var(--s3)", "before the loss turns", lr_slide(core)},
          {"minimum", "var(--s4)", "a tenth of the learning rate with the least loss", lr_minimum(core)},
          {"steep", "var(--s5)", "where the loss falls fastest", lr_steep(core)}};
}

std::string csv_of(const LrCurve& curve) {
  std::string text = "step,lr,loss,smoothed\n";
  for (size_t i = 0; i < curve.lr.size(); i++)
    text += fmt::format("{},{:.8g},{:.8g},{:.8g}\n", i, curve.lr[i], curve.loss[i], curve.smoothed[i]);
  return text;
}

std::string page_of(const Config& config, const LrCurve& curve, const std::vector<Suggestion>& suggestions) {
  const auto points = [&](const std::vector<double>& losses) {
    std::vector<Point> all;
    for (size_t i = 0; i < curve.lr.size(); i++)
      all.push_back(
          {curve.lr[i], losses[i],
           fmt::format("step {}, lr {}: loss {}", i + 1, significant(curve.lr[i], 3), significant(losses[i]))});
    return all;
  };
  LineChart chart{.description = "Loss by learning rate", .x_name = "learning rate", .y_name = "loss"};
  chart.x = {.log = true, .snap = false};
  // Cut off a diverging end, which would flatten the rest.
  const auto [least, most] = std::ranges::minmax(curve.smoothed);
  const double top = std::min(most, std::max(curve.smoothed.front(), least) * 1.5);
  chart.y.most = top;
  chart.labels = false;
  chart.series = {{"batch", "var(--s8)", points(curve.loss), true}, {"smoothed", "var(--s1)", points(curve.smoothed)}};
  for (Series& s : chart.series) std::erase_if(s.points, [&](const Point& p) { return p.y > top; });
  std::vector<LegendEntry> legend = {{"each batch", "var(--s8)", "dashed"}, {"smoothed", "var(--s1)"}};
  Table rows{{"Rule", "Means", "Learning rate"}, {}, 2};
  for (const Suggestion& s : suggestions) {
    rows.rows.push_back({s.name, s.rule, s.lr ? significant(*s.lr, 3) : kUndefined});
    if (!s.lr) continue;
    const std::string title = fmt::format("{}: {}", s.name, significant(*s.lr, 3));
    chart.series.push_back({s.name, s.colour, {{*s.lr, least, title}, {*s.lr, top, title}}});
    legend.push_back({s.name, s.colour});
  }
  const std::string about = fmt::format("{}, {}, risk {}, {} of batch {}; {} steps{}.", config.model.name,
                                        config.data.name, config.risk.name, config.optim.name, config.train.batch_size,
                                        curve.lr.size(), curve.diverged ? ", until the loss diverged" : "");
  const std::string body =
      "<header>\n<p class=\"eyebrow\">Fulcrum · learning rate</p>\n<h1>Learning rate range test</h1>\n" +
      paragraph(about) + "</header>\n" +
      figures(
          {figure({"Loss by learning rate", line_chart(chart),
                   "The mean loss of each batch, and its smoothed average; the learning rate grows from step to step.",
                   legend})}) +
      section("Suggestions", "suggestions", table(rows));
  return page("Learning rate range test", body);
}

int lr_find(const LrFindFlags& flags) {
  if (!std::isfinite(flags.test.end / flags.test.start))
    usage("--end-lr: expected a finite multiple of --start-lr = ", flags.test.start, ", got ", flags.test.end);
  if (!(flags.test.start > 0 && flags.test.start < flags.test.end))
    usage("--start-lr: expected a number in (0, --end-lr = ", flags.test.end, "), got ", flags.test.start);
  const bool csv = flags.curve.ends_with(".csv");
  if (!flags.curve.empty() && !csv && !flags.curve.ends_with(".json"))
    usage("--curve: expected a file that ends with .csv or .json, got '", flags.curve, "'");
  const Config config = flags.settings.resolve();
  use_device(config.train);
  use_threads(config);
  install_stop_handlers();
  const ExperimentData data = load_data(config.data);
  const std::unique_ptr<Module> model = make_model(config, *data.train);
  if (!config.model.pretrained.empty())
    say("{}\n", load_pretrained(*model, config.model.pretrained, config.model.reset_head, data.train->class_names()));
  model->to(Device(config.train.device), activation_dtype(config));
  const LrCurve curve = lr_range_test(config, data, *model, flags.test);
  if (stop_signal != 0) return 128 + static_cast<int>(stop_signal);
  check(!curve.lr.empty(), "[lr-find] the loss of the first step, at learning rate ", flags.test.start,
        ", is not finite");

  const std::vector<Suggestion> suggestions = suggestions_of(curve, flags.test.steps);
  nlohmann::json result = {{"steps", curve.lr.size()}, {"diverged", curve.diverged}};
  for (const Suggestion& s : suggestions) {
    result[s.name] = s.lr ? nlohmann::json(*s.lr) : nlohmann::json();
    say("{:<8} {:>10}  {}\n", s.name, s.lr ? fmt::format("{:.3g}", *s.lr) : "none", s.rule);
  }
  if (!flags.html.empty()) write_file_atomically(flags.html, {page_of(config, curve, suggestions)});
  if (csv) {
    write_file_atomically(flags.curve, {csv_of(curve)});
  } else if (!flags.curve.empty()) {
    nlohmann::json all = result;
    all.update({{"lr", curve.lr}, {"loss", curve.loss}, {"smoothed", curve.smoothed}});
    const std::string text = json_text(all) + "\n";
    write_file_atomically(flags.curve, {text});
  }
  print_result(result);
  return kExitDone;
}

}  // namespace

void add_lr_find_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("lr-find", "Suggest a learning rate by a range test");
  sub->footer(
      "Example: fulcrum lr-find --recipe fashion-mnist-lt --html lr.html\n"
      "Take the suggestion 'valley' first; all rules and their sources: docs/recipes.md");
  auto flags = std::make_shared<LrFindFlags>();
  flags->settings.add_to(*sub);
  sub->add_option("--start-lr", flags->test.start, "learning rate of the first step")->capture_default_str();
  sub->add_option("--end-lr", flags->test.end, "learning rate of the last step")->capture_default_str();
  sub->add_option("--steps", flags->test.steps, "steps of the trial training")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_option("--curve", flags->curve, "write the curve to this file, .csv or .json");
  sub->add_option("--html", flags->html, "write a page with the curve to this file");
  sub->callback([flags, &command] { command = [flags] { return lr_find(*flags); }; });
}

}  // namespace fulcrum::apps
