// From an empty folder to a register under its policy, step by step; every step finds what an earlier run has done.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/demo_folder.h"
#include "cli/demo_load.h"
#include "cli/demo_postgres.h"
#include "policy/policy.h"

namespace ecluse::demo {

inline constexpr const char* kDatabase = "interior";
inline constexpr const char* kOwner = "interior_owner";
inline constexpr uint16_t kUsualPort = 6432;

struct DemoWish {
  std::string folder;
  std::optional<int64_t> subjects;  // nothing: as the last run, or the default
  std::optional<uint64_t> seed;
  std::optional<uint16_t> sql_port;
};

// A demonstration ready to be served. Stops PostgreSQL when destroyed.
struct ReadyDemo {
  DemoFolder folder;
  PrivatePostgres postgres;
  Shape shape;
  uint16_t sql_port = 0;
  std::string config;  // path of ecluse.yaml
  bool made = false;   // the register was made by this run
};

// Opens the folder, starts PostgreSQL, makes the register where it is missing or unfinished, writes the policy and the
// accounts, and applies the policy. Refuses another size or seed than the register has.
Result<ReadyDemo> PrepareDemo(const DemoWish& wish, const Progress& progress);

// The register's owner, as `ecluse apply --owner` takes it.
std::string OwnerUrl(const ReadyDemo& demo);

}  // namespace ecluse::demo
