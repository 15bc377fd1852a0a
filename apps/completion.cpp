// fulcrum completion: scripts for shells.
#include <algorithm>

#include <fmt/format.h>

#include "apps/command_line.h"

namespace fulcrum::apps {

namespace {

std::vector<std::string> flag_names(const CommandDoc& command) {
  std::vector<std::string> names;
  for (const OptionDoc& o : command.options)
    if (!o.positional) names.insert(names.end(), o.names.begin(), o.names.end());
  return names;
}

std::vector<std::string> child_names(const CommandDoc& command) {
  std::vector<std::string> names;
  for (const CommandDoc& child : command.children) names.push_back(child.name);
  return names;
}

// Calls visit(path, command) for every command; path is "" for the program, and e.g. "data pack" for a command below
// it.
template <class Visit>
void walk(const CommandDoc& command, const std::string& path, const Visit& visit) {
  visit(path, command);
  for (const CommandDoc& child : command.children)
    walk(child, path.empty() ? child.name : path + " " + child.name, visit);
}

// Quotes the text in single quotes, for any shell.
std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// ---- bash ----

std::string bash(const CommandDoc& program) {
  std::string enter, values, words;
  walk(program, "", [&](const std::string& path, const CommandDoc& command) {
    for (const CommandDoc& child : command.children)
      enter += fmt::format("      '{} {}') command='{}' ;;\n", path, child.name,
                           path.empty() ? child.name : path + " " + child.name);
    std::string plain;  // options whose value is a file or free text
    for (const OptionDoc& o : command.options) {
      if (o.positional || !o.takes_value) continue;
      for (const std::string& name : o.names) {
        const std::string pattern = fmt::format("'{} {}'", path, name);
        if (o.choices.empty()) plain += (plain.empty() ? "" : "|") + pattern;
        else values += fmt::format("    {}) choices='{}' ;;\n", pattern, fmt::join(o.choices, " "));
      }
    }
    if (!plain.empty()) values += fmt::format("    {}) return ;;\n", plain);
    words += fmt::format("    '{}') flags='{}' children='{}' ;;\n", path, fmt::join(flag_names(command), " "),
                         fmt::join(child_names(command), " "));
  });
  // `complete -o default` falls back to files.
  return fmt::format(R"(# bash completion for fulcrum; written by `fulcrum completion bash`
_fulcrum() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= word flags= children= choices=
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$command $word" in
{}    esac
  done
  COMPREPLY=()
  case "$command $prev" in
{}  esac
  case "$command" in
{}  esac
  if [[ -n $choices ]]; then flags= children=$choices
  elif [[ $cur == -* ]]; then children=
  else flags=; fi
  COMPREPLY=($(compgen -W "$flags $children" -- "$cur"))
}}
complete -o default -F _fulcrum fulcrum
)",
                     enter, values, words);
}

// ---- zsh ----

// Escapes text within a single-quoted specification of _arguments.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string zsh_option(const OptionDoc& o) {
  const std::string value = o.choices.empty() ? ":value:_files" : fmt::format(":value:({})", fmt::join(o.choices, " "));
  if (o.positional) return "    " + shell_quoted((o.many ? "*:" : ":") + zsh_text(o.names[0]) + ":_files") + " \\\n";
  std::string out;
  for (const std::string& name : o.names)
    out += "    " + shell_quoted("*" + name + "[" + zsh_text(o.help) + "]" + (o.takes_value ? value : "")) + " \\\n";
  return out;
}

void zsh_command(std::string& out, const std::string& function, const CommandDoc& command) {
  for (const CommandDoc& child : command.children) zsh_command(out, function + "_" + child.name, child);
  out += function + "() {\n";
  if (!command.children.empty()) out += "  local curcontext=$curcontext state line\n  local -a commands=(\n";
  for (const CommandDoc& child : command.children)
    out += "    " + shell_quoted(child.name + ":" + zsh_text(child.help)) + "\n";
  if (!command.children.empty()) out += "  )\n";
  out += command.children.empty() ? "  _arguments \\\n" : "  _arguments -C \\\n";
  for (const OptionDoc& o : command.options) out += zsh_option(o);
  if (command.children.empty()) {
    out += "    && return\n}\n";
    return;
  }
  out +=
      "    '1:command:->command' '*::argument:->rest'\n  case $state in\n    command) _describe command commands ;;\n    rest)\n"
      "      case $words[1] in\n";
  for (const CommandDoc& child : command.children)
    out += fmt::format("        {}) {}_{} ;;\n", child.name, function, child.name);
  out += "      esac ;;\n  esac\n}\n";
}

std::string zsh(const CommandDoc& program) {
  std::string out = "#compdef fulcrum\n# zsh completion for fulcrum; written by `fulcrum completion zsh`\n";
  zsh_command(out, "_fulcrum", program);
  return out + "if [ \"$funcstack[1]\" = _fulcrum ]; then _fulcrum \"$@\"; else compdef _fulcrum fulcrum; fi\n";
}

// ---- fish ----

// The condition that the command line is inside the command and not yet in one below it.
std::string fish_condition(const std::string& path, const CommandDoc& command) {
  std::string condition = path.empty() ? "__fish_use_subcommand" : "";
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find(' ', at), path.size());
    condition += (condition.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + path.substr(at, end - at));
    at = end + 1;
  }
  if (!path.empty() && !command.children.empty())
    condition += fmt::format("; and not __fish_seen_subcommand_from {}", fmt::join(child_names(command), " "));
  return shell_quoted(condition);
}

std::string fish(const CommandDoc& program) {
  std::string out = "# fish completion for fulcrum; written by `fulcrum completion fish`\n";
  walk(program, "", [&](const std::string& path, const CommandDoc& command) {
    const std::string start = "complete -c fulcrum -n " + fish_condition(path, command);
    for (const CommandDoc& child : command.children)
      out += fmt::format("{} -f -a {} -d {}\n", start, child.name, shell_quoted(child.help));
    for (const OptionDoc& o : command.options) {
      if (o.positional) continue;
      out += start;
      for (const std::string& name : o.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (o.takes_value) out += o.choices.empty() ? " -r" : fmt::format(" -x -a '{}'", fmt::join(o.choices, " "));
      out += " -d " + shell_quoted(o.help) + "\n";
    }
  });
  return out;
}

}  // namespace

std::string completion(const CommandDoc& program, const std::string& shell) {
  return shell == "bash" ? bash(program) : shell == "zsh" ? zsh(program) : fish(program);
}

}  // namespace fulcrum::apps
