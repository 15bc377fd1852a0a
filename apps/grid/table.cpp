#include "apps/grid/table.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fulcrum/core/serialize.h>

#include "apps/json_text.h"
#include "apps/make_directory.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

// The accuracy on the test set after the best epoch, chosen on the test set or on the held-out part.
double best_top1(const nlohmann::json& result) {
  const auto& best = result.at("best");
  return best.at(best.at("selected_on") == "test" ? "top1" : "test_top1").get<double>();
}

Comparison compare(const PublishedFigure& figure, const GridRow& row, bool as_published) {
  const Spread& ours = figure.epoch == "best" ? row.best : row.last.at("top1");
  Comparison c{figure, ours.mean - figure.top1, false};
  c.beyond_two_sd = as_published && ours.count > 1 && std::abs(c.difference) > 2 * ours.sd;
  return c;
}

GridRow row_of(const Grid& grid, const GridVariant& variant, const GridMethod& method,
               const std::vector<const Cell*>& done, bool as_published) {
  GridRow row{variant.name, method.name, method.title, done, {}, {}, {}, {}, {}, {}};
  std::map<std::string, std::vector<double>> values;
  for (const Cell* cell : done) {
    const nlohmann::json result = *cell_result(*cell);
    for (const auto& [key, value] : result.items())
      if (value.is_number() && key != "seed" && key != "epochs") values[key].push_back(value);
    row.last_top1.push_back(result.at("top1"));
    row.best_top1.push_back(best_top1(result));
    row.selected_on = result.at("best").at("selected_on");
  }
  for (const auto& [key, list] : values)
    if (list.size() == done.size()) row.last[key] = spread_of(list);
  row.best = spread_of(row.best_top1);
  for (const PublishedFigure& p : grid.published)
    if (p.variant == variant.name && p.method == method.name) row.published.push_back(compare(p, row, as_published));
  return row;
}

nlohmann::json to_json(const Spread& s) {
  return {{"mean", s.mean}, {"sd", s.count > 1 ? nlohmann::json(s.sd) : nlohmann::json()}};
}

nlohmann::json to_json(const Comparison& c) {
  const PublishedFigure& f = c.figure;
  return {{"top1", f.top1}, {"epoch", f.epoch},           {"source", f.source},
          {"note", f.note}, {"difference", c.difference}, {"beyond_two_sd", c.beyond_two_sd}};
}

// Numbers the sources from 1, in the order of their first use.
class Sources {
 public:
  size_t number(const PublishedFigure& f) {
    const std::string text = f.source + (f.note.empty() ? "" : "; " + f.note);
    auto at = std::ranges::find(texts_, text);
    if (at == texts_.end()) at = texts_.insert(at, text);
    return static_cast<size_t>(at - texts_.begin()) + 1;
  }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
};

std::string signed_percent(double share) { return (share >= 0 ? "+" : "−") + percent(std::abs(share)); }

std::vector<std::string> markdown_row(const GridRow& row, Sources& sources) {
  std::string published, difference;
  for (const Comparison& c : row.published) {
    const std::string gap = published.empty() ? "" : ", ";
    published += fmt::format("{}{}{} [{}]", gap, percent(c.figure.top1),
                             c.figure.epoch.empty() ? "" : " " + c.figure.epoch, sources.number(c.figure));
    difference += fmt::format("{}{}{}", difference.empty() ? "" : ", ", signed_percent(c.difference),
                              c.beyond_two_sd ? " (!)" : "");
  }
  return {row.method,
          std::to_string(row.cells.size()),
          spread_text(row.last.at("top1")),
          spread_text(row.best) + (row.selected_on == "val" ? " (val)" : ""),
          published,
          difference};
}

size_t columns(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string missing_text(const GridResults& results) {
  if (results.missing.empty()) return {};
  std::string text = fmt::format("\nPartial: {} cells are missing.\n\n", results.missing.size());
  for (const Cell* cell : results.missing)
    text += fmt::format("- {}: {}\n", cell->name(), cell_state(*cell).text(*cell));
  return text;
}

}  // namespace

bool has_published(const GridResults& results) {
  return std::ranges::any_of(results.rows, [](const GridRow& row) { return !row.published.empty(); });
}

std::string length_text(const GridResults& results) {
  if (results.rows.empty()) return {};
  int64_t least = std::numeric_limits<int64_t>::max(), most = 0, protocol = 0;
  for (const GridRow& row : results.rows)
    for (const Cell* cell : row.cells) {
      least = std::min(least, cell->config.train.epochs), most = std::max(most, cell->config.train.epochs);
      protocol = std::max(protocol, cell->protocol_epochs);
    }
  std::string text = least == most ? fmt::format("Trained for {} epoch{}", most, most == 1 ? "" : "s")
                                   : fmt::format("Trained for {} to {} epochs", least, most);
  const int64_t batches = results.rows.front().cells.front()->config.train.limit_batches;
  if (most != protocol) text += fmt::format(" instead of {}", protocol);
  if (batches > 0)
    text += fmt::format(", {} batches each: only a check that everything works, the numbers mean nothing", batches);
  text += ".";
  if (!results.changed.empty())
    text += fmt::format(" Changed from the protocol: {}.", fmt::join(results.changed, ", "));
  if (!results.as_published && has_published(results))
    text += " Published figures are for the full protocol, so (!) is not used here.";
  return text;
}

std::string other_data_text(const GridResults& results) {
  if (results.other_data.empty()) return {};
  return fmt::format(
      "Warning: {} {} tested on other images than the first run of the same variant, so the means mix test sets.",
      fmt::join(results.other_data, ", "), results.other_data.size() == 1 ? "was" : "were");
}

std::string spread_text(const Spread& s) {
  return s.count > 1 ? percent(s.mean) + " ± " + percent(s.sd) : percent(s.mean);
}

std::string markdown_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const std::string& h : head) width.push_back(columns(h));
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) width[i] = std::max(width[i], columns(row[i]));
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text = "|";
    for (size_t i = 0; i < row.size(); i++) text += " " + row[i] + std::string(width[i] - columns(row[i]), ' ') + " |";
    return text + "\n";
  };
  std::string text = line(head) + "|";
  for (const size_t w : width) text += std::string(w + 2, '-') + "|";
  text += "\n";
  for (const auto& row : rows) text += line(row);
  return text;
}

std::vector<std::string> commits_of(const std::vector<Cell>& cells) {
  std::set<std::string> commits;
  for (const Cell& cell : cells) {
    std::ifstream in(cell.directory() / "env.json");
    const auto environment = nlohmann::json::parse(in, nullptr, false);
    if (environment.is_object() && cell_state(cell).kind == CellState::kDone)
      commits.insert(environment.value("git_commit", ""));
  }
  commits.erase("");
  return {commits.begin(), commits.end()};
}

namespace {

void note_changes(GridResults& results, const std::vector<Cell>& cells) {
  for (const Cell& cell : cells) {
    for (const std::string& change : cell.changed) {
      if (std::ranges::find(results.changed, change) == results.changed.end()) results.changed.push_back(change);
      if (!change.starts_with("train.amp=")) results.as_published = false;
    }
    if (cell.config.train.epochs != cell.protocol_epochs) results.as_published = false;
  }
}

// By the checksum in the checkpoint.
std::vector<std::string> cells_with_other_data(const std::vector<Cell>& cells) {
  std::map<std::string, std::string> first;  // of each variant
  std::vector<std::string> others;
  for (const Cell& cell : cells) {
    const std::filesystem::path file = cell.directory() / "last.safetensors";
    if (cell_state(cell).kind != CellState::kDone || !std::filesystem::exists(file)) continue;
    const auto metadata = read_tensor_index(file).metadata;
    const auto sum = metadata.find("test_data");
    if (sum == metadata.end()) continue;
    const auto [known, is_new] = first.emplace(cell.variant, sum->second);
    if (!is_new && known->second != sum->second) others.push_back(cell.name());
  }
  return others;
}

}  // namespace

GridResults collect(const Grid& grid, const std::vector<Cell>& cells) {
  GridResults results;
  note_changes(results, cells);
  for (const GridVariant& variant : grid.variants)
    for (const GridMethod& method : grid.methods) {
      std::vector<const Cell*> done;
      for (const Cell& cell : cells) {
        if (cell.variant != variant.name || cell.method != method.name) continue;
        (cell_state(cell).kind == CellState::kDone ? done : results.missing).push_back(&cell);
      }
      if (!done.empty()) results.rows.push_back(row_of(grid, variant, method, done, results.as_published));
    }
  results.commits = commits_of(cells);
  results.other_data = cells_with_other_data(cells);
  return results;
}

nlohmann::json to_json(const Grid& grid, const GridResults& results) {
  nlohmann::json rows = nlohmann::json::array(), missing = nlohmann::json::array();
  for (const GridRow& row : results.rows) {
    std::vector<int64_t> seeds;
    for (const Cell* cell : row.cells) seeds.push_back(cell->seed);
    nlohmann::json last = nlohmann::json::object(), published = nlohmann::json::array();
    for (const auto& [key, spread] : row.last) last[key] = to_json(spread);
    last["top1"]["values"] = row.last_top1;
    nlohmann::json best = {{"top1", to_json(row.best)}, {"selected_on", row.selected_on}};
    best["top1"]["values"] = row.best_top1;
    for (const Comparison& c : row.published) published.push_back(to_json(c));
    rows.push_back({{"variant", row.variant},
                    {"method", row.method},
                    {"seeds", seeds},
                    {"epochs", row.cells.front()->config.train.epochs},
                    {"last", last},
                    {"best", best},
                    {"published", published}});
  }
  for (const Cell* cell : results.missing)
    missing.push_back({{"variant", cell->variant},
                       {"method", cell->method},
                       {"seed", cell->seed},
                       {"state", cell_state(*cell).text(*cell)}});
  const std::string length = length_text(results);
  return {{"grid", grid.name},
          {"length", length},
          {"changed", results.changed},
          {"other_data", results.other_data},
          {"title", grid.title},
          {"recipe", grid.recipe},
          {"rows", rows},
          {"missing", missing},
          {"commits", results.commits}};
}

std::string to_markdown(const Grid& grid, const GridResults& results) {
  Sources sources;
  std::string text = "# " + grid.title + "\n\n";
  if (!grid.about.empty()) text += grid.about + "\n\n";
  for (const std::string& said : {length_text(results), other_data_text(results)})
    if (!said.empty()) text += said + "\n\n";
  text +=
      "Top-1 on the test set in percent, mean ± sd over the seeds. The best epoch is the one with the\n"
      "highest top-1 on the test set, so it is optimistic; (val): on a held-out part of the training set.\n";
  if (has_published(results)) text += "(!): the difference from a published figure is more than two sd.\n";
  for (const GridVariant& variant : grid.variants) {
    std::vector<std::vector<std::string>> rows;
    for (const GridRow& row : results.rows)
      if (row.variant == variant.name) rows.push_back(markdown_row(row, sources));
    if (rows.empty()) continue;
    text += "\n## " + variant.name + "\n\n" +
            markdown_table({"method", "seeds", "last epoch", "best epoch", "published", "difference"}, rows);
  }
  text += missing_text(results);
  if (!sources.texts().empty()) text += "\n";
  for (size_t i = 0; i < sources.texts().size(); i++) text += fmt::format("[{}] {}\n", i + 1, sources.texts()[i]);
  if (!results.commits.empty()) text += "\nTrained by commit";
  for (const std::string& commit : results.commits) text += " " + commit;
  return text + "\n";
}

void write_results(const Grid& grid, const GridResults& results, const std::filesystem::path& output) {
  make_directory(output, "grid");
  const std::string json = json_text(to_json(grid, results), 2) + "\n", markdown = to_markdown(grid, results);
  write_file_atomically(output / "grid.json", {json});
  write_file_atomically(output / "grid.md", {markdown});
  const std::string page = grid_page(grid, results, output);
  write_file_atomically(output / "report.html", {page});
}

}  // namespace fulcrum::apps
