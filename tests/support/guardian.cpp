#include "support/guardian.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "support/server_programs.hpp"

namespace replica_router::testing {

namespace {

// A shell, because a process forked from a test (with threads, under a sanitizer) must execute something at once.
// $1: where to make the directory; $2: the directory of the server's programs.
constexpr char const* script = R"(
trap '' HUP INT TERM
directory=$(mktemp -d "$1/replica_router.XXXXXX") || exit 1
printf 'directory %s\n' "$directory"
exec >/dev/null 2>&1

read -r never  # until the other end is closed: by the destructor, or by the kernel

# A server is known by its working directory and its program: its parent may be dead, its id not on record yet.
tries=0
while [ $tries -lt 500 ]; do
    tries=$((tries + 1))
    alive=''
    for link in $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$directory*"); do
        process=${link%/cwd}
        case $(readlink "$process/exe") in
            "$2"/*) kill -KILL "${process#/proc/}"; alive=yes ;;
        esac
    done
    [ "$alive" ] || break
done

# A killed server leaves a few bytes of System V shared memory, which its directory's next server would have removed.
for file in "$directory"/*/data/postmaster.pid; do
    [ -f "$file" ] && set -- $(sed -n 7p "$file") && ipcrm -m "$2"
done
# A program that was filling the directory may still add a file.
while [ -e "$directory" ] && [ $tries -lt 1000 ]; do
    tries=$((tries + 1))
    rm -rf "$directory"
done
)";

/// $TMPDIR; else in memory, where that has room: a cluster is 3000 small files, which some disks take seconds to make.
std::filesystem::path place_for_clusters() {
  if (char const* wanted = std::getenv("TMPDIR"); wanted != nullptr && *wanted != '\0') {
    return std::filesystem::absolute(wanted);
  }
  constexpr std::uintmax_t enough = 2'000'000'000;
  std::filesystem::path const memory{"/dev/shm"};
  std::error_code error;
  auto const space = std::filesystem::space(memory, error);
  return !error && space.available >= enough && ::access(memory.c_str(), W_OK) == 0 ? memory
                                                                                    : std::filesystem::path{"/tmp"};
}

}  // namespace

Guardian::Guardian(Account const& account) {
  auto const programs = server_programs().string();
  auto const base = place_for_clusters().string();
  std::array<int, 2> lifeline{};
  std::array<int, 2> answer{};
  if (::pipe2(lifeline.data(), O_CLOEXEC) != 0) {
    throw std::system_error{errno, std::generic_category(), "pipe"};
  }
  if (::pipe2(answer.data(), O_CLOEXEC) != 0) {
    int const reason = errno;
    ::close(lifeline[0]);
    ::close(lifeline[1]);
    throw std::system_error{reason, std::generic_category(), "pipe"};
  }
  lifeline_ = lifeline[1];

  std::string text;
  try {
    process_ = start({{"/bin/sh", "-c", script, "guardian", base, programs}, "/", lifeline[0], answer[1]}, account);
  } catch (std::exception const& error) {
    text = error.what();
  }
  ::close(lifeline[0]);
  ::close(answer[1]);
  std::array<char, 1024> buffer{};
  for (;;) {
    ssize_t const got = ::read(answer[0], buffer.data(), buffer.size());
    if (got > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      break;
    }
  }
  ::close(answer[0]);

  constexpr std::string_view prefix = "directory ";
  if (!text.starts_with(prefix) || text.back() != '\n') {
    ::close(lifeline_);
    if (process_ > 0) {
      ::waitpid(process_, nullptr, 0);
    }
    throw std::runtime_error{
        fmt::format("cannot make a directory for a cluster in {} as user {}: {}", base, account.user, text)};
  }
  directory_ = text.substr(prefix.size(), text.size() - prefix.size() - 1);
}

Guardian::~Guardian() {
  ::close(lifeline_);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace replica_router::testing
