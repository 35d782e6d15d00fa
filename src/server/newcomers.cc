#include "server/newcomers.h"

#include <algorithm>

namespace ecluse {

std::unique_ptr<Newcomers::Place> Newcomers::Enter(Stream* stream, const std::string& address) {
  auto shared = std::make_shared<Stream*>(stream);
  std::lock_guard lock(mutex_);
  if (auto count = by_address_.find(address); count != by_address_.end() && count->second >= per_address_) {
    Evict(std::find_if(items_.begin(), items_.end(), [&](const Item& item) { return item.address == address; }));
  } else if (items_.size() >= overall_) {
    Evict(items_.begin());
  }
  items_.push_back({address, shared, stream->executor()});
  ++by_address_[address];
  return std::unique_ptr<Place>(new Place(this, std::move(shared)));
}

// Takes the item off the list and closes its stream, on the thread that owns it.
void Newcomers::Evict(Items::iterator item) {
  boost::asio::post(item->executor, [stream = item->stream] {
    if (*stream) (*stream)->Close();
  });
  if (--by_address_[item->address] == 0) by_address_.erase(item->address);
  items_.erase(item);
}

Newcomers::Place::~Place() {
  *stream_ = nullptr;
  std::lock_guard lock(owner_->mutex_);
  auto& items = owner_->items_;
  auto item = std::find_if(items.begin(), items.end(), [&](const Item& i) { return i.stream == stream_; });
  if (item == items.end()) return;
  auto count = owner_->by_address_.find(item->address);
  if (--count->second == 0) owner_->by_address_.erase(count);
  items.erase(item);
}

}  // namespace ecluse
