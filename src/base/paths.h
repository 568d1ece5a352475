// Places outside the program: environment variables and standard folders.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Value of an environment variable; unset and empty are the same.
std::optional<std::string> environment(const char* name);

// $NEREID_CACHE_DIR, else $XDG_CACHE_HOME/nereid, else ~/.cache/nereid. Not created.
Result<std::string> cache_dir();

// Creates `path` and its parents if they are missing.
Status make_directories(const std::string& path);

// Folder that holds the running executable.
Result<std::string> executable_dir();

bool is_file(const std::string& path);
bool is_directory(const std::string& path);

// Whole content of a small file, at most `max_bytes`.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

}  // namespace nereid
