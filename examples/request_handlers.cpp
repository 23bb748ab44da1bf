// A web server's workers: one router for all threads, a session for each request, and a cookie that lets the next
// request see what the last one wrote, on whichever worker or machine it arrives.
#include <fmt/core.h>

#include <exception>
#include <future>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>
#include <string>
#include <vector>

namespace rr = replica_router;

struct Request {
  std::string method;
  std::string body;
  std::string cookie;
};

struct Response {
  int status = 200;
  std::string body;
  std::string set_cookie{};
};

/// What every worker of every server runs. The cookie comes from outside and needs no check: the router trusts none.
Response handle(rr::ReplicaRouter<>& db, Request const& request) {
  auto session = db.session(request.cookie);
  if (request.method == "POST") {
    auto const id = session.write([&](pqxx::transaction_base& tx) {
      return tx.query_value<std::string>("INSERT INTO handlers_photo (title) VALUES ($1) RETURNING id",
                                         pqxx::params{request.body});
    });
    return {201, id, session.token()};
  }
  auto const photos = session.read([&](pqxx::transaction_base& tx) {
    return tx.exec("SELECT title FROM handlers_photo WHERE id = $1", pqxx::params{request.body});
  });
  return photos.empty() ? Response{404, "no such photo"} : Response{200, photos[0][0].as<std::string>()};
}

/// Hands the request to a worker of its own, as a thread pool would.
Response send(rr::ReplicaRouter<>& db, Request const& request) {
  return std::async(std::launch::async, [&] { return handle(db, request); }).get();
}

/// Posts a photo to one server and asks the other for it at once. Returns whether it was there.
bool visit(rr::ReplicaRouter<>& here, rr::ReplicaRouter<>& elsewhere, std::string const& title) {
  auto const posted = send(here, {"POST", title, ""});
  auto const shown = send(elsewhere, {"GET", posted.body, posted.set_cookie});
  return posted.status == 201 && shown.status == 200 && shown.body == title;
}

int main() try {
  // Two servers behind a load balancer: two processes in real life, which share nothing but the database.
  rr::ReplicaRouter<> here{rr::Options::from_environment()};
  rr::ReplicaRouter<> elsewhere{rr::Options::from_environment()};
  here.write([](auto& tx) {
    tx.exec("DROP TABLE IF EXISTS handlers_photo");
    tx.exec("CREATE TABLE handlers_photo (id bigserial PRIMARY KEY, title text NOT NULL)");
  });

  constexpr int visitor_count = 8;
  constexpr int photos_each = 50;
  std::vector<std::future<int>> visitors;
  for (int visitor = 0; visitor < visitor_count; ++visitor) {
    visitors.push_back(std::async(std::launch::async, [&, visitor] {
      int seen = 0;
      for (int photo = 0; photo < photos_each; ++photo) {
        seen += visit(here, elsewhere, fmt::format("photo {} of visitor {}", photo, visitor)) ? 1 : 0;
      }
      return seen;
    }));
  }
  int seen = 0;
  for (auto& visitor : visitors) {
    seen += visitor.get();
  }
  auto const forged = send(elsewhere, {"GET", "1", "rr1-1-1-FFFFFFFF"});

  constexpr int posted = visitor_count * photos_each;
  fmt::print("{} photos posted to one server, {} seen at once on the other\n", posted, seen);
  fmt::print("{} reads were served by the primary, the others by replicas\n", elsewhere.status().fallbacks);
  fmt::print("a forged cookie is ignored: {} {}\n", forged.status, forged.body);
  here.write([](auto& tx) { tx.exec("DROP TABLE handlers_photo"); });
  return seen == posted && forged.status == 200 ? 0 : 1;
} catch (std::exception const& error) {
  fmt::print(stderr, "request_handlers: {}\n", error.what());
  return 1;
}
