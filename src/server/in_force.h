// What a policy file becomes before it is in force, at start and on reload. All of it blocks.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "pgwire/startup.h"
#include "policy/policy.h"
#include "server/services.h"

namespace ecluse {

// The policy file at `config`. Its warnings go to the log; its problems make the message, a line each.
Result<std::shared_ptr<const Policy>> ReadPolicy(const std::string& config);

// Everything a policy needs of the database and the keys.
Result<std::shared_ptr<const Snapshot>> Compile(std::shared_ptr<const Policy> policy, KeyRing& keys);

// How newcomers are greeted: certificate and key are read from their files.
Result<StartupOptions> GreetingOf(const Policy& policy, Authenticator* authenticator);

// Refuses where `next` changes what a running gate cannot, and names it.
Status CheckFixed(const Policy& now, const Policy& next);

}  // namespace ecluse
