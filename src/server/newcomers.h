// Connections that have not said who they are: bounded overall and by address. A newcomer beyond the bound is let in
// and the one that has waited longest goes, so that silence cannot keep anybody out.
#pragma once

#include <boost/asio.hpp>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/limits.h"
#include "pgwire/stream.h"

namespace ecluse {

// Thread-safe.
class Newcomers {
 public:
  explicit Newcomers(size_t overall = limits::kUnauthenticated, size_t per_address = limits::kUnauthenticatedPerAddress)
      : overall_(overall), per_address_(per_address) {}

  // One connection's place, given up when it is destroyed: on the connection's own thread, before its stream.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class Newcomers;
    Place(Newcomers* owner, std::shared_ptr<Stream*> stream) : owner_(owner), stream_(std::move(stream)) {}
    Newcomers* owner_;
    std::shared_ptr<Stream*> stream_;
  };

  // Takes a place for `stream`, closing the oldest connection (of the same address, or of all) where there is none
  // left.
  std::unique_ptr<Place> Enter(Stream* stream, const std::string& address);

 private:
  struct Item {
    std::string address;
    std::shared_ptr<Stream*> stream;  // null inside once its place is given up
    boost::asio::any_io_executor executor;
  };
  using Items = std::list<Item>;
  void Evict(Items::iterator item);

  size_t overall_, per_address_;
  std::mutex mutex_;
  Items items_;  // oldest first
  std::map<std::string, size_t> by_address_;
};

}  // namespace ecluse
