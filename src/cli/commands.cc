#include "cli/commands.h"

#include <cstdio>

namespace ecluse {

int Complain(const char* command, const Error& error) {
  std::fprintf(stderr, "ecluse %s: %s\n", command, error.message.c_str());
  if (!error.hint.empty()) std::fprintf(stderr, "  %s\n", error.hint.c_str());
  if (!error.operator_detail.empty()) std::fprintf(stderr, "  (%s)\n", error.operator_detail.c_str());
  return 2;
}

std::optional<TableName> TableOf(const char* command, const std::string& text) {
  const size_t dot = text.find('.');
  if (dot != std::string::npos) return TableName{text.substr(0, dot), text.substr(dot + 1)};
  std::fprintf(stderr, "ecluse %s: --table %s is no table; write schema.table\n", command, text.c_str());
  return std::nullopt;
}

std::shared_ptr<const Policy> PolicyOf(const std::string& config, std::vector<PolicyProblem>* warnings) {
  auto policy = LoadPolicy(config, warnings);
  if (policy) return *policy;
  for (const PolicyProblem& problem : policy.error())
    std::fprintf(stderr, "%s\n", ProblemText(config, problem).c_str());
  return nullptr;
}

}  // namespace ecluse
