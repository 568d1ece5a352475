// posix_spawn and two pipes.
#include "src/base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace nereid {
namespace {

constexpr int kProgressFd = 3;
constexpr int kFirstFreeFd = 10;  // out of the way of those that the child's are duplicated to
constexpr size_t kOutputLimit = 16 << 10;

struct Pipe {
  int read_end = -1, write_end = -1;
  ~Pipe() {
    close_write();
    if (read_end >= 0) ::close(read_end);
  }
  void close_write() {
    if (write_end >= 0) ::close(write_end);
    write_end = -1;
  }
  Status open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return error("pipe: {}", std::strerror(errno));
    read_end = ends[0];
    write_end = ::fcntl(ends[1], F_DUPFD_CLOEXEC, kFirstFreeFd);
    ::close(ends[1]);
    if (write_end < 0) return error("pipe: {}", std::strerror(errno));
    return {};
  }
};

// The child's standard input as a file without a name: nothing is left behind however it ends.
struct InputFile {
  int fd = -1;
  ~InputFile() {
    if (fd >= 0) ::close(fd);
  }
  Status fill(std::string_view text) {
    const int made = ::memfd_create("input", MFD_CLOEXEC);
    if (made < 0) return error("memfd_create: {}", std::strerror(errno));
    fd = ::fcntl(made, F_DUPFD_CLOEXEC, kFirstFreeFd);
    ::close(made);
    if (fd < 0) return error("memfd_create: {}", std::strerror(errno));
    while (!text.empty()) {
      const ssize_t count = ::write(fd, text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return error("input of a program: {}", std::strerror(errno));
      text.remove_prefix(static_cast<size_t>(count));
    }
    if (::lseek(fd, 0, SEEK_SET) != 0) return error("lseek: {}", std::strerror(errno));
    return {};
  }
};

struct SpawnActions {
  posix_spawn_file_actions_t actions;
  SpawnActions() { posix_spawn_file_actions_init(&actions); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions); }
};

std::vector<char*> c_strings(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<pid_t> spawn(const ProcessOptions& options, const InputFile& input, const Pipe& output,
                    const Pipe& progress) {
  SpawnActions file;
  posix_spawn_file_actions_adddup2(&file.actions, input.fd, 0);
  posix_spawn_file_actions_adddup2(&file.actions, output.write_end, 1);
  posix_spawn_file_actions_adddup2(&file.actions, output.write_end, 2);
  if (progress.write_end >= 0) {
    posix_spawn_file_actions_adddup2(&file.actions, progress.write_end, kProgressFd);
  }
  if (!options.working_dir.empty()) {
    posix_spawn_file_actions_addchdir_np(&file.actions, options.working_dir.c_str());
  }
  std::vector<std::string> argv_text = options.argv;
  std::vector<char*> argv = c_strings(argv_text);
  pid_t pid = 0;
  const int code = ::posix_spawnp(&pid, argv[0], &file.actions, nullptr, argv.data(), environ);
  if (code != 0) return error("{}: cannot run: {}", options.argv[0], std::strerror(code));
  return pid;
}

// Reads once; false at the end of the stream.
bool read_some(int fd, std::string& into) {
  std::array<char, 4096> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count < 0) return errno == EINTR;
  into.append(buffer.data(), static_cast<size_t>(count));
  return count > 0;
}

void hand_out_lines(std::string& text, const ProcessOptions& options) {
  size_t start = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
    options.on_progress_line(std::string_view(text).substr(start, end - start));
    start = end + 1;
  }
  text.erase(0, start);
}

// Until both pipes are closed by the child and all that inherited them.
std::string drain(const ProcessOptions& options, const Pipe& output, const Pipe& progress) {
  std::string tail;
  std::string pending;
  std::array<pollfd, 2> waiting = {{{output.read_end, POLLIN, 0}, {progress.read_end, POLLIN, 0}}};
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) break;
    if (waiting[0].fd >= 0 && waiting[0].revents != 0) {
      if (!read_some(output.read_end, tail)) waiting[0].fd = -1;
      if (tail.size() > kOutputLimit) tail.erase(0, tail.size() - kOutputLimit);
    }
    if (waiting[1].fd >= 0 && waiting[1].revents != 0) {
      if (!read_some(progress.read_end, pending)) waiting[1].fd = -1;
      hand_out_lines(pending, options);
    }
  }
  return tail;
}

}  // namespace

Result<ProcessResult> run_process(const ProcessOptions& options) {
  if (options.argv.empty()) return error("no program named");
  InputFile input;
  Pipe output;
  Pipe progress;
  NEREID_RETURN_IF_ERROR(input.fill(options.input));
  NEREID_RETURN_IF_ERROR(output.open());
  if (options.on_progress_line) NEREID_RETURN_IF_ERROR(progress.open());
  NEREID_TRY(const pid_t pid, spawn(options, input, output, progress));
  output.close_write();
  progress.close_write();
  ProcessResult result;
  result.output = drain(options, output, progress);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0) {
    if (errno != EINTR) return error("{}: waitpid: {}", options.argv[0], std::strerror(errno));
  }
  result.exit_code =
      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  return result;
}

}  // namespace nereid
