// The README's quick start: a write goes to the primary, a read to a replica, and the read sees the write.
#include <fmt/core.h>

#include <exception>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>

namespace rr = replica_router;

int main() try {
  // From REPLICA_ROUTER_PRIMARY and REPLICA_ROUTER_REPLICAS. In code:
  // rr::ReplicaRouter db{{.primary = "host=db-1 dbname=shop", .replicas = {"host=db-2 dbname=shop"}}};
  rr::ReplicaRouter db{rr::Options::from_environment()};

  db.write([](auto& tx) {
    tx.exec("DROP TABLE IF EXISTS quickstart_photo");
    tx.exec("CREATE TABLE quickstart_photo (id bigserial PRIMARY KEY, owner int NOT NULL)");
  });

  db.write([](auto& tx) { tx.exec("INSERT INTO quickstart_photo (owner) VALUES ($1)", pqxx::params{7}); });
  auto const photos = db.read()->query_value<int>("SELECT count(*) FROM quickstart_photo");

  fmt::print("photos: {}\nthe next read: {}\n", photos, db.explain().text());
  db.write([](auto& tx) { tx.exec("DROP TABLE quickstart_photo"); });
  return photos == 1 ? 0 : 1;
} catch (std::exception const& error) {
  fmt::print(stderr, "quickstart: {}\n", error.what());
  return 1;
}
