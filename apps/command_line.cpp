#include "apps/command_line.h"

#include <CLI/CLI.hpp>

#include <fulcrum/layers/models.h>

#include "apps/config.h"

namespace fulcrum::apps {

namespace {

// "TEXT:{text,json,csv}" is how CLI11 shows the values of a check IsMember.
std::vector<std::string> members_of(const std::string& type) {
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

std::vector<std::string> choices_of(const OptionDoc& doc, const CLI::Option& option) {
  const auto is = [&](const char* name) { return std::ranges::find(doc.names, name) != doc.names.end(); };
  if (is("--recipe")) return recipe_names();
  if (is("--model") && doc.takes_value) return model_names();
  return members_of(option.get_type_name());
}

OptionDoc describe(const CLI::Option& option) {
  OptionDoc doc;
  for (const std::string& name : option.get_snames()) doc.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) doc.names.push_back("--" + name);
  doc.positional = doc.names.empty();
  if (doc.positional) doc.names = {option.get_name(true)};
  doc.help = option.get_description();
  if (const std::string value = option.get_default_str(); !value.empty()) doc.help += " [" + value + "]";
  doc.group = option.get_group();
  doc.takes_value = option.get_items_expected_max() > 0;
  doc.required = option.get_required();
  doc.many = doc.positional && option.get_items_expected_max() > 1;
  doc.choices = choices_of(doc, option);
  return doc;
}

}  // namespace

CommandDoc describe(const CLI::App& app) {
  CommandDoc doc{app.get_name(), app.get_description(), app.get_footer(), {}, {}};
  for (const CLI::Option* option : app.get_options()) doc.options.push_back(describe(*option));
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; }))
    doc.children.push_back(describe(*child));
  return doc;
}

}  // namespace fulcrum::apps
