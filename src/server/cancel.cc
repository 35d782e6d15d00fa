#include "server/cancel.h"

#include "base/bytes.h"
#include "base/random.h"
#include "base/secret.h"
#include "server/session.h"

namespace ecluse {

Cancels::Key Cancels::Add(std::weak_ptr<Session> session) {
  Key key;
  key.secret.resize(4);
  RandomBytes({reinterpret_cast<uint8_t*>(key.secret.data()), key.secret.size()});
  std::lock_guard lock(mutex_);
  do {
    // A process number is an int4 to clients, and PostgreSQL's are positive.
    key.process = static_cast<uint32_t>(RandomU64()) & 0x7fff'ffff;
  } while (key.process == 0 || items_.contains(key.process));
  items_[key.process] = {key.secret, std::move(session)};
  return key;
}

void Cancels::Remove(uint32_t process) {
  std::lock_guard lock(mutex_);
  items_.erase(process);
}

std::shared_ptr<Session> Cancels::Find(uint32_t process, std::string_view secret) const {
  std::lock_guard lock(mutex_);
  auto it = items_.find(process);
  if (it == items_.end() || !ConstantTimeEqual(AsBytes(it->second.secret), AsBytes(secret))) return nullptr;
  return it->second.session.lock();
}

}  // namespace ecluse
