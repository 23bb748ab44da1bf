// The whole library: the one include.
#pragma once

#include "replica_router/endpoint.hpp"       // IWYU pragma: export
#include "replica_router/errors.hpp"         // IWYU pragma: export
#include "replica_router/options.hpp"        // IWYU pragma: export
#include "replica_router/policies.hpp"       // IWYU pragma: export
#include "replica_router/router.hpp"         // IWYU pragma: export
#include "replica_router/token_verdict.hpp"  // IWYU pragma: export
