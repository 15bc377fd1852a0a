#include "apps/report/page.h"

#include <algorithm>

#include "apps/report/style.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

std::string legend_html(const std::vector<LegendEntry>& entries) {
  if (entries.empty()) return {};
  std::string out = "<ul class=\"legend\">";
  for (const LegendEntry& e : entries)
    out += "<li><i class=\"key " + e.kind + "\" style=\"--c:" + e.colour + "\"></i>" + escape(e.name) + "</li>";
  return out + "</ul>";
}

}  // namespace

std::string figure(const Figure& f) {
  if (f.svg.empty()) return {};
  std::string out = f.wide ? "<figure class=\"wide\">" : "<figure>";
  out += "<h3>" + escape(f.title) + "</h3>" + legend_html(f.legend);
  out += f.wide ? "<div class=\"beside\"><div class=\"scroll\" tabindex=\"0\">" + f.svg + "</div>" + f.aside_html +
                      "</div>"
                : f.svg;
  if (!f.caption.empty()) out += "<figcaption>" + escape(f.caption) + "</figcaption>";
  return out + "</figure>\n";
}

std::string figures(const std::vector<std::string>& html) {
  std::string all;
  for (const std::string& f : html) all += f;
  return all.empty() ? "" : "<div class=\"figures\">\n" + all + "</div>\n";
}

std::string table(const Table& t) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>";
  const auto open = [&](const char* tag, size_t column) {
    return std::string("<") + tag + (column >= t.words ? " class=\"n\">" : column > 0 ? " class=\"w\">" : ">");
  };
  for (size_t i = 0; i < t.head.size(); i++) out += open("th", i) + escape(t.head[i]) + "</th>";
  out += "</tr></thead><tbody>";
  for (size_t r = 0; r < t.rows.size(); r++) {
    out += std::ranges::count(t.strong, r) ? "<tr class=\"strong\">" : "<tr>";
    for (size_t i = 0; i < t.rows[r].size(); i++)
      out += (i == 0 ? "<th scope=\"row\">" : open("td", i)) + escape(t.rows[r][i]) + (i == 0 ? "</th>" : "</td>");
    out += "</tr>";
  }
  return out + "</tbody></table></div>\n";
}

std::string section(const std::string& title, const std::string& id, const std::string& html) {
  return "<section aria-labelledby=\"" + id + "\">\n<h2 id=\"" + id + "\">" + escape(title) + "</h2>\n" + html +
         "</section>\n";
}

std::string subheading(const std::string& title) { return "<h3>" + escape(title) + "</h3>\n"; }

std::string paragraph(const std::string& text) { return "<p>" + escape(text) + "</p>\n"; }

std::string note(const std::string& text) { return "<p class=\"note\">" + escape(text) + "</p>\n"; }

std::string details(const std::string& summary, const std::string& html) {
  return "<details><summary>" + escape(summary) + "</summary>" + html + "</details>\n";
}

std::string page(const std::string& title, const std::string& body_html) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         escape(title) + "</title>\n<style>" + kReportStyle + "</style>\n</head>\n<body>\n<main>\n" + body_html +
         "</main>\n</body>\n</html>\n";
}

}  // namespace fulcrum::apps
