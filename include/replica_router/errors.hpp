// What can go wrong that is ours to tell? The errors of the router; SQL errors stay libpqxx's own.
#pragma once

#include <stdexcept>
#include <string>

namespace replica_router {

/// The root of every error that the router itself raises. No message ever contains a password.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An option, policy text or endpoint that cannot be accepted; the message names the field, its value and what is
/// allowed.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// No node is known to be the one writable primary, so a write (or a read that needs the primary) has nowhere to go.
class NoPrimaryAvailable : public Error {
 public:
  using Error::Error;
};

/// Neither a replica nor the primary can serve a read; the message says for each node why not.
class NoReplicaAvailable : public Error {
 public:
  using Error::Error;
};

/// No replica is proven fresh enough and the contract forbids the primary; the message says for each node by how much.
class FreshnessUnmet : public Error {
 public:
  using Error::Error;
};

/// No pooled connection became free within the time allowed; the message says who holds them.
class PoolTimeout : public Error {
 public:
  using Error::Error;
};

/// The connection was lost while `COMMIT` was under way: the transaction may or may not have been committed.
class CommitInDoubt : public Error {
 public:
  using Error::Error;
};

/// The server rolled the transaction back instead of committing it, because an error inside it had been swallowed.
class TransactionRolledBack : public Error {
 public:
  using Error::Error;
};

/// A use that can never be right: a lease used after it was moved from, a second `commit()`, a policy's index out of
/// range.
class UsageError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

}  // namespace replica_router
