// Cancel keys of the gate's own: what BackendKeyData told a client, and which session it meant (PostgreSQL manual,
// "Canceling Requests in Progress").
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ecluse {

class Session;

// Thread-safe.
class Cancels {
 public:
  struct Key {
    uint32_t process = 0;
    std::string secret;
  };
  // A key nobody else has: a random process number and a random secret of four bytes, as protocol 3.0 has it.
  Key Add(std::weak_ptr<Session> session);
  void Remove(uint32_t process);
  // The session the key belongs to; null for a wrong one. Takes the same time for a wrong secret as for a right one.
  std::shared_ptr<Session> Find(uint32_t process, std::string_view secret) const;

 private:
  struct Item {
    std::string secret;
    std::weak_ptr<Session> session;
  };
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, Item> items_;
};

}  // namespace ecluse
