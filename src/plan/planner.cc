#include "plan/planner.h"

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "plan/analyzer.h"
#include "plan/cache.h"
#include "plan/literals.h"
#include "plan/parse.h"
#include "plan/verify.h"

namespace ecluse {
namespace {

// Names the gate keeps for itself, in any spelling; escaped identifiers could spell anything.
Status CheckReserved(std::string_view text, const std::vector<Token>& tokens) {
  for (const Token& token : tokens) {
    std::string_view word = TextOf(text, token);
    const bool quoted = token.kind == Token::Kind::quoted_word;
    if (token.kind != Token::Kind::word && !quoted) continue;
    if (quoted && (word.front() == 'u' || word.front() == 'U')) {
      return Fail(sqlstate::kNotSupported, "identifiers with Unicode escapes are not available",
                  "Write the characters.", "plan.reserved");
    }
    if (quoted) word.remove_prefix(1);
    if (word.starts_with("__")) {
      Error error{std::string(sqlstate::kNotAllowed),
                  "names that begin with two underscores are kept for the gate",
                  "Choose another name.",
                  "plan.reserved",
                  {},
                  static_cast<int>(token.begin) + 1};
      return std::unexpected(std::move(error));
    }
  }
  return {};
}

bool HasOwnSql(Plan::Kind kind) {
  switch (kind) {
    case Plan::Kind::rows:
    case Plan::Kind::write:
    case Plan::Kind::begin:
    case Plan::Kind::commit:
    case Plan::Kind::rollback:
    case Plan::Kind::savepoint:
    case Plan::Kind::set:
    case Plan::Kind::show:
    case Plan::Kind::reset_all:
    case Plan::Kind::close:
    case Plan::Kind::discard:
      return true;
    default:
      return false;
  }
}

}  // namespace

size_t Plan::MemoryBytes() const {
  size_t bytes = sizeof *this + sql.size() + normalised.size() + command_tag.size() + name.size();
  for (const TableRef& table : tables) bytes += sizeof table + table.fields.size() * 96;
  for (const Asked& person : asked) bytes += sizeof person + person.values.size() * 96;
  for (const struct Resolve& look : resolve) bytes += sizeof look + look.sql.size();
  for (const std::string& line : lines) bytes += line.size() + sizeof line;
  for (const std::string& literal : literals) bytes += literal.size() + sizeof literal;
  bytes += (hidden.size() + pseudonym.size() + parameter_types.size()) * 16;
  bytes += cells.size() * sizeof(SealedCell) + sealed.size() * sizeof(SealedOutput);
  for (const SealedParameter& made : sealed_parameters)
    bytes += sizeof made + made.value.constant.size() + made.subject.size() * 96;
  for (const Crossing& crossing : crossings)
    bytes += sizeof crossing + crossing.parameters.size() * sizeof(int) + crossing.inner->MemoryBytes();
  if (inner) bytes += inner->MemoryBytes();
  if (fallback) bytes += fallback->MemoryBytes();
  return bytes;
}

struct Planner::Impl {
  ParseThreads threads{limits::kParseThreads};
  PlanCache cache{limits::kPlanCacheBytes};

  // One statement's text into its plan, on a parse thread.
  Result<std::shared_ptr<const Plan>> Make(const PlanContext& context, std::string_view written,
                                           std::span<const Oid> declared, int nesting) {
    ECLUSE_TRY(const std::vector<Token> tokens, Lex(written));
    if (tokens.empty()) return std::make_shared<const Plan>();
    const std::string quiet = QuietComments(written, tokens);
    const std::string_view text = quiet;
    ECLUSE_OK(CheckReserved(text, tokens));
    ECLUSE_TRY(const pg_query::ParseResult tree, ParseTree(text));
    if (tree.stmts_size() != 1) {
      return Fail(sqlstate::kSyntax, "cannot insert multiple commands into a prepared statement", {}, "plan.syntax");
    }
    const PlanInner inner = [&](std::string_view inside,
                                std::span<const Oid> types) -> Result<std::shared_ptr<const Plan>> {
      if (nesting > 3) return Fail(sqlstate::kNotSupported, "statements are nested too deeply", {}, "plan.statement");
      return Make(context, inside, types, nesting + 1);
    };
    bool statistic_form = false;
    ECLUSE_TRY(std::shared_ptr<Plan> plan,
               Analyse(context, text, tokens, declared, tree, false, inner, &statistic_form));
    if (!statistic_form) return plan;
    ECLUSE_TRY(std::shared_ptr<Plan> statistic,
               Analyse(context, text, tokens, declared, tree, true, inner, &statistic_form));
    statistic->fallback = plan;
    return statistic;
  }

  static Result<std::shared_ptr<Plan>> Analyse(const PlanContext& context, std::string_view text,
                                               const std::vector<Token>& tokens, std::span<const Oid> declared,
                                               const pg_query::ParseResult& tree, bool statistic,
                                               const PlanInner& inner, bool* form) {
    Analyzer analyzer(context, text, tokens, declared, statistic, inner);
    ECLUSE_TRY(std::shared_ptr<Plan> plan, analyzer.Statement(tree.stmts(0).stmt()));
    *form = analyzer.statistic_form();
    plan->normalised = Normalise(text, tokens, &plan->literals);
    plan->fingerprint = Fingerprint(text);
    if (plan->sql.empty() && HasOwnSql(plan->kind) && !plan->gate_answers) {
      std::vector<InsertedRange> inserted;
      ECLUSE_TRY(plan->sql, analyzer.splices().Apply(text.substr(0, tokens.back().end), &inserted));
      if (auto verified = Verify(*context.schema, *plan, plan->sql, inserted); !verified) {
        Log().error("plan: {}; statement: {}; rewritten: {}", verified.error().operator_detail,
                    Printable(plan->normalised), Printable(plan->sql));
        return std::unexpected(std::move(verified).error());
      }
    }
    for (int i = plan->parameters; i < static_cast<int>(plan->parameter_types.size()); ++i) plan->parameters = i + 1;
    return plan;
  }

  Result<std::shared_ptr<const Plan>> MakeOnThread(const PlanContext& context, std::string_view text,
                                                   std::span<const Oid> declared) {
    Result<std::shared_ptr<const Plan>> plan;
    threads.Run([&] {
      try {
        plan = Make(context, text, declared, 0);
      } catch (const std::bad_alloc&) {
        plan = Fail(sqlstate::kTooComplex, "there is not enough memory to plan this statement",
                    "Send it in smaller statements.", "plan.too-complex");
      }
    });
    return plan;
  }
};

Planner::Planner() : impl_(std::make_unique<Impl>()) {}
Planner::~Planner() = default;

Result<std::shared_ptr<const Plan>> Planner::PlanExtended(const PlanContext& context, std::string_view text,
                                                          std::span<const Oid> declared) {
  std::string key = PlanCache::Key(context, 'x', declared);
  key += text;
  if (auto plan = impl_->cache.Find(key)) return plan;
  ECLUSE_TRY(std::shared_ptr<const Plan> plan, impl_->MakeOnThread(context, text, declared));
  impl_->cache.Add(std::move(key), context.schema->generation, plan);
  return plan;
}

Result<std::vector<PlannedStatement>> Planner::PlanSimple(const PlanContext& context, std::string_view text) {
  ECLUSE_TRY(const std::vector<Token> tokens, Lex(text));
  std::vector<PlannedStatement> planned;
  const auto parts = SplitStatements(text, tokens);
  if (parts.empty()) planned.push_back({std::make_shared<const Plan>(), {}});
  for (const auto& [begin, end] : parts) {
    const std::string_view statement = text.substr(begin, end - begin);
    PlannedStatement result;
    Lifted lifted = LiftLiterals(text, tokens, begin, end);
    std::string key = PlanCache::Key(context, 's', lifted.types);
    key += lifted.text.empty() ? statement : std::string_view(lifted.text);
    if (auto plan = impl_->cache.Find(key)) {
      planned.push_back({std::move(plan), std::move(lifted.values)});
      continue;
    }
    Result<std::shared_ptr<const Plan>> plan = std::unexpected(Error{});
    if (!lifted.text.empty()) plan = impl_->MakeOnThread(context, lifted.text, lifted.types);
    if (!plan) {
      // Written out as it came: refusals then speak of the client's own text.
      lifted.values.clear();
      key = PlanCache::Key(context, 's', {});
      key += statement;
      plan = impl_->MakeOnThread(context, statement, {});
    }
    if (!plan) {
      if (plan.error().position > 0) {
        plan.error().position += static_cast<int>(std::ranges::count_if(
            text.substr(0, begin), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
      }
      return std::unexpected(std::move(plan).error());
    }
    impl_->cache.Add(std::move(key), context.schema->generation, *plan);
    planned.push_back({std::move(*plan), std::move(lifted.values)});
  }
  return planned;
}

void Planner::Forget(uint64_t generation) { impl_->cache.Forget(generation); }

Planner::Stats Planner::stats() const { return impl_->cache.stats(); }

}  // namespace ecluse
