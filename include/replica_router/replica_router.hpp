// The whole library: the one include.
//
// It is to cost little more than <pqxx/pqxx>. A function that is no template is compiled in every file that includes
// it, used or not, with all the templates that it calls. So what is not small is a template here, or belongs to one,
// also where its parameter has a default that nobody ever replaces: it is compiled only where it is used.
#pragma once

#include "replica_router/endpoint.hpp"       // IWYU pragma: export
#include "replica_router/errors.hpp"         // IWYU pragma: export
#include "replica_router/options.hpp"        // IWYU pragma: export
#include "replica_router/policies.hpp"       // IWYU pragma: export
#include "replica_router/router.hpp"         // IWYU pragma: export
#include "replica_router/token_verdict.hpp"  // IWYU pragma: export
