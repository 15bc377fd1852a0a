#include "apps/grid/grid.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/epoch_settings.h"
#include "apps/grids.h"
#include "apps/ranges.h"
#include "apps/run_directory.h"
#include "apps/smoke.h"
#include "apps/toml.h"

namespace fulcrum::apps {

namespace {

// A table of a grid's file; refuses members of another name or type with their line.
class GridTable {
 public:
  GridTable(const toml::table& table, std::string where, const std::vector<std::string>& keys)
      : table_(table), where_(std::move(where)) {
    for (const auto& [key, node] : table_)
      if (std::ranges::find(keys, key.str()) == keys.end())
        usage(where_, " line ", node.source().begin.line, ": unknown key '", key.str(), "'; did you mean '",
              nearest(key.str(), keys), "'?");
  }

  std::string text(const char* key, const std::optional<std::string>& other = {}) const {
    const toml::node* node = table_.get(key);
    if (!node && other) return *other;
    return get<std::string>(node, key, "a string");
  }
  /// The name, which must be fit for a folder.
  std::string name() const {
    std::string name = text("name");
    const auto is_fit = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._+-", c); };
    if (name.empty() || name.front() == '.' || !std::ranges::all_of(name, is_fit))
      usage(where_, ": name: expected letters, digits and . _ + -, got '", name, "'");
    return name;
  }
  double number(const char* key) const { return get<double>(table_.get(key), key, "a number"); }
  int64_t count(const char* key, int64_t other) const {
    const toml::node* node = table_.get(key);
    const int64_t value = node ? get<int64_t>(node, key, "an integer") : other;
    if (value < 1) usage(where_, ": ", key, ": expected at least 1, got ", value);
    return value;
  }
  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> values;
    const toml::node* node = table_.get(key);
    if (!node) return values;
    if (!node->is_array()) refuse(key, "a list of strings");
    for (const toml::node& element : *node->as_array())
      values.push_back(get<std::string>(&element, key, "a list of strings"));
    return values;
  }
  /// Calls add(table) for each [[key]].
  template <class Add>
  void each(const char* key, const std::vector<std::string>& keys, Add add) const {
    const toml::node* node = table_.get(key);
    if (!node) return;
    if (!node->is_array_of_tables()) refuse(key, "[[tables]]");
    for (const toml::node& element : *node->as_array())
      add(GridTable(*element.as_table(), concat_text(where_, " line ", element.source().begin.line, ": ", key), keys));
  }
  const std::string& where() const { return where_; }

 private:
  [[noreturn]] void refuse(const char* key, const char* what) const { usage(where_, ": ", key, " takes ", what); }
  template <class T>
  T get(const toml::node* node, const char* key, const char* what) const {
    if (!node) usage(where_, ": expected '", key, "', ", what);
    const std::optional<T> value = node->value<T>();
    if (!value) refuse(key, what);
    return *value;
  }
  const toml::table& table_;
  std::string where_;
};

std::string grid_text(const std::string& name) {
  for (const BuiltInGrid& g : kGrids)
    if (name == g.name) return g.text;
  if (std::filesystem::is_regular_file(name)) return read_settings_file("reproduce", name);
  std::string list;
  for (const auto& n : grid_names()) list += (list.empty() ? "" : ", ") + n;
  usage("reproduce: no grid or file '", name, "'; did you mean '", nearest(name, grid_names()), "'? Grids: ", list);
}

template <class T>
auto find_named(std::vector<T>& list, const std::string& name) {
  return std::ranges::find(list, name, &T::name);
}

void refuse_twice(const GridTable& table, bool twice) {
  if (twice) usage(table.where(), ": the name '", table.name(), "' stands twice");
}

// Adds a method, or more settings to a method that the grid has from `methods_of`.
void add_method(Grid& grid, const GridTable& table) {
  const std::string name = table.name();
  auto found = find_named(grid.methods, name);
  if (found == grid.methods.end()) {
    grid.methods.push_back({name, table.text("title"), {}});
    found = grid.methods.end() - 1;
  }
  for (const std::string& s : table.texts("set")) found->settings.push_back(s);
}

void add_published(Grid& grid, const GridTable& table) {
  PublishedFigure p{table.text("variant"),   table.text("method"), table.number("top1") / 100,
                    table.text("epoch", ""), table.text("source"), table.text("note", "")};
  if (!p.epoch.empty()) one_of(table.where() + ": epoch", p.epoch, {"last", "best"});
  in_range(table.where() + ": top1", 100 * p.top1, 0, 100, "(0, 100)");
  if (find_named(grid.variants, p.variant) == grid.variants.end())
    usage(table.where(), ": no variant '", p.variant, "'");
  if (find_named(grid.methods, p.method) == grid.methods.end()) usage(table.where(), ": no method '", p.method, "'");
  grid.published.push_back(std::move(p));
}

// Those of `all` that `names` names, in the order of `names`; `what` is the flag.
template <class T>
std::vector<T> chosen(const std::vector<T>& all, const std::vector<std::string>& names, const char* what) {
  if (names.empty()) return all;
  std::vector<std::string> known;
  for (const T& t : all) known.push_back(t.name);
  std::vector<T> kept;
  for (const std::string& name : names) {
    one_of(what, name, known);
    if (find_named(kept, name) != kept.end()) usage(what, ": '", name, "' stands twice");
    kept.push_back(*std::ranges::find(all, name, &T::name));
  }
  return kept;
}

Config recipe_of(const Grid& grid) {
  Config config;
  load_toml(config, recipe_text(grid.recipe), "recipe " + grid.recipe);
  config.loss = LossSettings{};
  config.risk = RiskSettings{};
  if (config.optim.name.starts_with("ab")) config.optim.name.erase(0, 2);
  return config;
}

// `depth` counts nested methods_of, by which a grid takes the methods of another.
Grid load(const std::string& name, int depth) {
  constexpr int kDeepest = 8;
  if (depth > kDeepest) usage("grid ", name, ": methods_of leads round in a circle");
  const std::string text = grid_text(name), source = "grid " + name;
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    usage(source, " line ", e.source().begin.line, ": ", e.description());
  }
  const GridTable file(table, source,
                       {"title", "about", "recipe", "seeds", "methods_of", "variant", "method", "published"});
  Grid grid;
  if (const std::string other = file.text("methods_of", ""); !other.empty())
    grid.methods = load(other, depth + 1).methods;
  grid.name = std::filesystem::path(name).stem().string();
  grid.title = file.text("title");
  grid.about = file.text("about", "");
  grid.recipe = file.text("recipe");
  grid.seeds = file.count("seeds", 3);
  file.each("variant", {"name", "set"}, [&](const GridTable& t) {
    refuse_twice(t, find_named(grid.variants, t.name()) != grid.variants.end());
    grid.variants.push_back({t.name(), t.texts("set")});
  });
  std::set<std::string> methods;  // of this file
  file.each("method", {"name", "title", "set"}, [&](const GridTable& t) {
    refuse_twice(t, !methods.insert(t.name()).second);
    add_method(grid, t);
  });
  file.each("published", {"variant", "method", "top1", "epoch", "source", "note"},
            [&](const GridTable& t) { add_published(grid, t); });
  if (grid.variants.empty()) usage(source, ": expected at least one [[variant]]");
  if (grid.methods.empty()) usage(source, ": expected at least one [[method]]");
  return grid;
}

// As the grid has it; unfinished where the grid needs a setting of the command.
Config finished(const Config& config) {
  try {
    return SettingsFlags().resolve(config);
  } catch (const Error&) {
    return config;
  }
}

// "key=value" of what `config` has otherwise than the protocol, but for the seed and what makes no other numbers.
std::vector<std::string> assignments_of(const Config& protocol, const Config& config) {
  std::vector<std::string> ignored = free_settings(), list;
  ignored.emplace_back("train.seed");
  for (const Difference& d : differences(protocol, config, ignored)) list.push_back(d.key + "=" + d.to);
  return list;
}

int64_t moved(int64_t epoch, int64_t from, int64_t to) { return epoch * to / from; }

}  // namespace

std::vector<std::string> grid_names() {
  std::vector<std::string> names;
  for (const BuiltInGrid& g : kGrids) names.push_back(g.name);
  return names;
}

Grid load_grid(const std::string& name) { return load(name, 0); }

Grid selected(const Grid& grid, const GridOptions& options) {
  Grid part = grid;
  part.methods = chosen(grid.methods, options.methods, "--methods");
  part.variants = chosen(grid.variants, options.variants, "--ratios");
  if (options.seeds > 0) part.seeds = options.seeds;
  std::erase_if(part.published, [&](const PublishedFigure& p) {
    return find_named(part.methods, p.method) == part.methods.end() ||
           find_named(part.variants, p.variant) == part.variants.end();
  });
  return part;
}

void scale_epochs(Config& c, int64_t epochs) {
  const int64_t from = c.train.epochs;
  count("--epochs", epochs, 1);
  if (epochs == from) return;
  // Rounds down, so that what begins in the last epochs of a long run still begins in a short one.
  const bool prunes = c.loss.tgce_prune_epoch > 0;
  for (const EpochSetting& s : epoch_settings(c)) *s.epoch = moved(*s.epoch, from, epochs);
  if (prunes) c.loss.tgce_prune_epoch = std::max<int64_t>(1, c.loss.tgce_prune_epoch);  // 0 would be no pruning
  for (int64_t* interval : {&c.schedule.step_size, &c.loss.tgce_prune_every})
    *interval = std::max<int64_t>(1, moved(*interval, from, epochs));
  c.train.epochs = epochs;
}

std::vector<Cell> cells_of(const Grid& grid, const GridOptions& options, const SettingsFlags& flags) {
  std::vector<Cell> cells;
  const double all = static_cast<double>(grid.variants.size()) * static_cast<double>(grid.methods.size()) *
                     static_cast<double>(grid.seeds);
  if (all > kMostCells) usage("--seeds: expected at most ", kMostCells, " runs, got ", all);
  for (const GridVariant& variant : grid.variants)
    for (const GridMethod& method : grid.methods)
      for (int64_t seed = 0; seed < grid.seeds; seed++) {
        Config config = recipe_of(grid);
        const std::string source = "grid " + grid.name;
        for (const auto& s : variant.settings) set_key(config, s, source + ", " + variant.name);
        for (const auto& s : method.settings) set_key(config, s, source + ", " + method.name);
        const int64_t epochs = config.train.epochs;
        if (options.epochs > 0) scale_epochs(config, options.epochs);
        if (options.smoke) shorten_for_smoke(config);
        const Config protocol = finished(config);
        config = flags.resolve(config);
        config.train.seed = seed;
        config.train.output = (options.output / variant.name / method.name / fmt::format("seed{}", seed)).string();
        Cell cell{variant.name, method.name, seed, std::move(config)};
        cell.protocol_epochs = epochs;
        cell.changed = assignments_of(protocol, cell.config);
        cells.push_back(std::move(cell));
      }
  return cells;
}

}  // namespace fulcrum::apps
