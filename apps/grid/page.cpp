// The page of a grid: a table and a chart for each variant, curves, further metrics, what is missing.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "apps/grid/table.h"
#include "apps/report/data.h"
#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

std::string colour_of(size_t i) { return fmt::format("var(--s{})", i % 8 + 1); }

std::string published_text(const Comparison& c) {
  return percent(c.figure.top1) + (c.figure.epoch.empty() ? "" : " " + c.figure.epoch);
}

std::string difference_text(const Comparison& c) {
  return decimal(100 * c.difference, 2) + (c.beyond_two_sd ? " (!)" : "");
}

std::string source_text(const Comparison& c) {
  return c.figure.source + (c.figure.note.empty() ? "" : "; " + c.figure.note);
}

// One row a method; its second and further published figures have rows of their own.
std::string results_table(const std::vector<const GridRow*>& rows) {
  Table t{.head = {"Method", "seeds", "last epoch", "best epoch", "published", "difference"}};
  for (const GridRow* row : rows) {
    const std::string best = spread_text(row->best) + (row->selected_on == "val" ? " (val)" : "");
    std::vector<std::string> cells = {
        row->title, std::to_string(row->cells.size()), spread_text(row->last.at("top1")), best, "", ""};
    if (row->published.empty()) t.rows.push_back(cells);
    for (size_t i = 0; i < row->published.size(); i++) {
      if (i > 0) cells = {"", "", "", "", "", ""};
      cells[4] = published_text(row->published[i]);
      cells[5] = difference_text(row->published[i]);
      t.rows.push_back(cells);
    }
  }
  if (std::ranges::all_of(rows, [](const GridRow* row) { return row->published.empty(); })) {
    t.head.resize(4);
    for (auto& row : t.rows) row.resize(4);
  }
  return table(t);
}

std::string sources(const std::vector<const GridRow*>& rows) {
  Table t{.head = {"Published figure", "of", "source"}, .words = 3};
  for (const GridRow* row : rows)
    for (const Comparison& c : row->published) t.rows.push_back({published_text(c), row->title, source_text(c)});
  return t.rows.empty() ? "" : details("Sources of the published figures", table(t));
}

std::string chart(const std::vector<const GridRow*>& rows) {
  IntervalChart chart{.description = "Top-1 of each method, last and best epoch, and published figures",
                      .x_name = "test top-1, %"};
  bool published = false;
  for (const GridRow* row : rows) {
    const Spread& last = row->last.at("top1");
    IntervalChart::Row r{row->title, {}};
    r.marks.push_back({100 * row->best.mean, 0, "ring", "var(--s8)",
                       fmt::format("{}, best epoch: {}", row->title, spread_text(row->best))});
    r.marks.push_back({100 * last.mean, 100 * last.sd, "dot", "var(--s1)",
                       fmt::format("{}, last epoch: {}", row->title, spread_text(last))});
    for (const Comparison& c : row->published) {
      published = true;
      r.marks.push_back({100 * c.figure.top1, 0, "cross", "var(--s2)", published_text(c) + ": " + source_text(c)});
    }
    chart.rows.push_back(std::move(r));
  }
  std::vector<LegendEntry> legend = {{"last epoch, mean ± sd", "var(--s1)", "dot"},
                                     {"best epoch", "var(--s8)", "ring"}};
  if (published) legend.push_back({"published", "var(--s2)", "cross"});
  return figure({"Top-1 at a glance", interval_chart(chart), "Hover over a mark for its numbers.", legend, true});
}

// The mean over the seeds, for each epoch that all of them have evaluated.
Series curve_of(const GridRow& row, size_t i) {
  Series s{row.title, colour_of(i), {}, i >= 8};
  std::vector<RunData> runs;
  for (const Cell* cell : row.cells) runs.push_back(read_run(cell->directory()));
  for (size_t e = 0; e < runs[0].epochs.size(); e++) {
    double mean = 0;
    for (const RunData& run : runs)
      mean += e < run.epochs.size() && run.epochs[e].test ? run.epochs[e].test->top1 : kAbsent;
    mean /= static_cast<double>(runs.size());
    if (std::isfinite(mean))
      s.points.push_back({static_cast<double>(runs[0].epochs[e].epoch + 1), 100 * mean,
                          fmt::format("{}, epoch {}: {} %", row.title, runs[0].epochs[e].epoch + 1, percent(mean))});
  }
  return s;
}

std::string curves(const std::vector<const GridRow*>& rows) {
  LineChart chart{.description = "Test top-1 by epoch, the mean over the seeds of each method",
                  .x_name = "epoch",
                  .y_name = "test top-1, %",
                  .wide = true};
  for (size_t i = 0; i < rows.size(); i++) chart.series.push_back(curve_of(*rows[i], i));
  return figure({"Test top-1 by epoch", line_chart(chart), "The mean over the seeds.", {}, true});
}

struct Column {
  const char* key;
  const char* name;
};
constexpr Column kColumns[] = {{"balanced", "balanced"},
                               {"worst_class", "worst class"},
                               {"many", "many"},
                               {"medium", "medium"},
                               {"few", "few"},
                               {"macro_f1", "macro F1"},
                               {"ece", "ECE"},
                               {"wrong_label_auroc", "AUROC of wrong labels, by weight"},
                               {"wrong_label_auroc_by_loss", "AUROC of wrong labels, by loss"}};

std::string further(const std::vector<const GridRow*>& rows) {
  Table t{.head = {"Last epoch"}};
  std::vector<Column> present;
  for (const Column& c : kColumns)
    if (std::ranges::any_of(rows, [&](const GridRow* r) { return r->last.contains(c.key); })) present.push_back(c);
  for (const Column& c : present) t.head.push_back(c.name);
  for (const GridRow* row : rows) {
    t.rows.push_back({row->title});
    for (const Column& c : present)
      t.rows.back().push_back(row->last.contains(c.key) ? spread_text(row->last.at(c.key)) : kUndefined);
  }
  return details("Balanced accuracy, classes by size, macro F1, calibration, wrong labels found", table(t));
}

std::string links(const std::vector<const GridRow*>& rows, const std::filesystem::path& output) {
  std::string html;
  for (const GridRow* row : rows) html += report_links(row->title, row->cells, output);
  return details("Reports of the individual runs", html);
}

std::string missing(const GridResults& results) {
  if (results.missing.empty()) return {};
  Table t{.head = {"Missing", "seed", "state"}, .words = 3};
  for (const Cell* cell : results.missing)
    t.rows.push_back({cell->variant + " " + cell->method, std::to_string(cell->seed), cell_state(*cell).text(*cell)});
  return section("What is missing", "missing",
                 note("This grid is partial: run the same command again to continue.") + table(t));
}

}  // namespace

std::string report_links(const std::string& name, const std::vector<const Cell*>& cells,
                         const std::filesystem::path& output) {
  std::string html = "<p>" + escape(name) + ":";
  for (const Cell* cell : cells) {
    const std::string page = (cell->directory() / "report.html").lexically_proximate(output).generic_string();
    html += fmt::format(" <a href=\"{}\">seed {}</a>", escape(page), cell->seed);
  }
  return html + "</p>\n";
}

std::string grid_page(const Grid& grid, const GridResults& results, const std::filesystem::path& output) {
  std::string body = "<header>\n<p class=\"eyebrow\">Fulcrum · reproduce " + escape(grid.name) + "</p>\n<h1>" +
                     escape(grid.title) + "</h1>\n<p class=\"lead\">" + escape(grid.about) + "</p>\n";
  body += paragraph(
      length_text(results) +
      " Top-1 on the test set in percent, mean ± sd over the seeds. The best epoch is the one with the highest top-1 "
      "on the test set, so it is optimistic; (val): on a held-out part of the training set." +
      (has_published(results) ? " (!): the difference from a published figure is more than two sd." : ""));
  if (const std::string text = other_data_text(results); !text.empty()) body += note(text);
  if (!results.missing.empty())
    body += note(fmt::format("Partial: {} cells are missing; they are listed at the end.", results.missing.size()));
  body += "</header>\n";
  for (size_t v = 0; v < grid.variants.size(); v++) {
    std::vector<const GridRow*> rows;
    for (const GridRow& row : results.rows)
      if (row.variant == grid.variants[v].name) rows.push_back(&row);
    if (rows.empty()) continue;
    body += section(grid.variants[v].name, fmt::format("variant{}", v),
                    results_table(rows) + sources(rows) + figures({chart(rows), curves(rows)}) + further(rows) +
                        links(rows, output));
  }
  body += missing(results) + "<footer>Written by fulcrum reproduce";
  for (const std::string& commit : results.commits) body += ", commit " + escape(commit);
  return page(grid.title + " – Fulcrum", body + ".</footer>\n");
}

}  // namespace fulcrum::apps
