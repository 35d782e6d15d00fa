// Where the policy says that a gate's root key is. Used by `policy`, which does not open it.
#pragma once

#include <string>
#include <utility>

namespace ecluse {

// A file, or a key in a PKCS#11 token. Paths are absolute.
struct RootSource {
  RootSource() = default;
  RootSource(std::string path) : file(std::move(path)) {}
  RootSource(const char* path) : file(path) {}

  std::string file;             // empty where a token holds the key
  std::string passphrase_file;  // what opens a file under a passphrase; empty: it is asked for on the terminal

  std::string module;    // the token's library
  std::string token;     // its label
  std::string pin_file;  // what opens it; empty: it is asked for on the terminal

  std::string generations;  // the file of root generations; empty: beside the root's file, as <file>.generations

  std::string generations_file() const { return generations.empty() ? file + ".generations" : generations; }
  bool in_token() const { return !module.empty(); }
  friend bool operator==(const RootSource&, const RootSource&) = default;
};

}  // namespace ecluse
