// Do the README's snippets run? Runs those that say so, in their order, on the cluster that the environment names.
#include "snippets.hpp"

#include <exception>

int main() try {
  namespace rr = replica_router;
  rr::ReplicaRouter<> db{rr::Options::from_environment()};
  db.write([](auto& tx) {
    tx.exec("CREATE TABLE photo(id bigserial PRIMARY KEY, owner int NOT NULL, title text)");
    tx.exec("INSERT INTO photo(owner) VALUES (7), (8)");
  });
  for (auto const& snippet : readme::snippets_on_db) {
    std::cout << "README.md:" << snippet.line << std::endl;
    snippet.run(db);
  }
  return readme::snippets_on_db.empty() ? 1 : 0;
} catch (std::exception const& error) {
  std::cerr << "failed: " << error.what() << "\n";
  return 1;
}
