// A user's program: reads through the router and says whether the answer is right.
#include <cstdio>
#include <replica_router/replica_router.hpp>

int main() {
  replica_router::ReplicaRouter db{replica_router::Options::from_environment()};
  auto const answer = db.read()->query_value<int>("SELECT 40 + 2");
  std::printf("the answer is %d\n", answer);
  return answer == 42 ? 0 : 1;
}
