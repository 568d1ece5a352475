// dlopen, symbols, error texts.
#include "src/device/gpu/library.h"

#include <dlfcn.h>

#include "src/base/paths.h"

namespace nereid::gpu {

Result<std::shared_ptr<const Library>> Library::open(const Flavor& flavor) {
  std::shared_ptr<Library> library(new Library());
  library->flavor_ = &flavor;
  NEREID_TRY(void* handle, library->load_library());
  NEREID_RETURN_IF_ERROR(library->load_symbols(handle));
  NEREID_RETURN_IF_ERROR(library->call(&Calls::init, 0U));
  NEREID_RETURN_IF_ERROR(library->call(&Calls::driver_version, &library->version_));
  if (library->version_ < flavor.min_version) {
    return error("{}: driver {}, at least {} is needed", library->path_,
                 flavor.version_text(library->version_), flavor.version_text(flavor.min_version));
  }
  return library;
}

Result<void*> Library::load_library() {
  std::vector<std::string> paths;
  if (const auto path = environment(flavor_->library_variable)) {
    paths.push_back(*path);
  } else {
    for (const char* name : flavor_->libraries) {
      if (name != nullptr) paths.emplace_back(name);
    }
  }
  std::string problem;
  for (const std::string& path : paths) {
    void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) {
      path_ = path;
      return handle;
    }
    const char* reason = ::dlerror();
    if (problem.empty()) problem = reason != nullptr ? reason : path;
  }
  return error("no driver: {}", problem);
}

Status Library::load_symbols(void* handle) {
  const auto* first = reinterpret_cast<const std::byte*>(&calls_);
  for (const Symbol& symbol : flavor_->symbols(calls_)) {
    *symbol.slot = ::dlsym(handle, symbol.name);
    if (*symbol.slot == nullptr) {
      return error("{}: no symbol {}: the driver is too old", path_, symbol.name);
    }
    const auto at = static_cast<size_t>(reinterpret_cast<const std::byte*>(symbol.slot) - first);
    names_[at / sizeof(void*)] = symbol.name;
  }
  return {};
}

std::string Library::failure_text(const void* slot, Code code) const {
  const auto at = static_cast<size_t>(static_cast<const std::byte*>(slot) -
                                      reinterpret_cast<const std::byte*>(&calls_));
  const char *name = nullptr, *text = nullptr;
  if (run(&Calls::error_name, code, &name) != 0 || name == nullptr) name = "unknown error";
  if (run(&Calls::error_text, code, &text) != 0 || text == nullptr) text = "no description";
  return fmt::format("{}: {} ({}), {}", names_[at / sizeof(void*)], name, code, text);
}

Result<int> Library::device_count() const {
  int count = 0;
  NEREID_RETURN_IF_ERROR(call(&Calls::device_count, &count));
  return count;
}

}  // namespace nereid::gpu
