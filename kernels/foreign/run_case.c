// Runs one compiled kernel on a CPU that is not this machine's: the program that an emulator
// starts.
//
// usage: run_case OBJECT ENTRY MEMORY. MEMORY begins with the header that kernels/run_emulated.py
// writes; it is mapped shared, so that what the kernel writes is what Python reads afterwards.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { kPage = 4096, kMaxArgs = 64, kMaxForbidden = 64 };

struct Header {
  uint64_t num_args, num_forbidden, programs, scratch_bytes;
  uint64_t is_pointer[kMaxArgs];      // then its slot is an offset in the file, and 0 is null
  uint64_t slots[kMaxArgs];           // one for each argument, as docs/cpu-compiler.md says
  uint64_t forbidden[kMaxForbidden];  // offsets of pages that must not be touched
};

typedef void (*Kernel)(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                       const uint32_t grid[3], void* scratch);

static void* fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  exit(2);
}

static char* map_memory(const char* path) {
  int file = open(path, O_RDWR);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) return fail("cannot open the memory file");
  void* memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return memory == MAP_FAILED ? fail("cannot map the memory file") : memory;
}

int main(int argc, char** argv) {
  if (argc != 4) fail("usage: run_case OBJECT ENTRY MEMORY");
  char* memory = map_memory(argv[3]);
  const struct Header* header = (const struct Header*)memory;
  void* object = dlopen(argv[1], RTLD_NOW);
  if (!object) fail(dlerror());
  Kernel kernel = (Kernel)dlsym(object, argv[2]);
  if (!kernel) fail(dlerror());

  uint64_t slots[kMaxArgs];
  for (uint64_t arg = 0; arg < header->num_args; ++arg) {
    uint64_t slot = header->slots[arg];
    slots[arg] = header->is_pointer[arg] && slot ? (uint64_t)(uintptr_t)memory + slot : slot;
  }
  for (uint64_t page = 0; page < header->num_forbidden; ++page) {
    if (mprotect(memory + header->forbidden[page], kPage, PROT_NONE) != 0) fail("mprotect failed");
  }
  const size_t scratch_bytes = (header->scratch_bytes + 127) / 64 * 64;
  void* scratch = aligned_alloc(64, scratch_bytes);
  if (!scratch) fail("no memory for scratch");
  memset(scratch, 0xff, scratch_bytes);

  // Two ranges, the later one first: programs must not depend on each other.
  const uint32_t programs = (uint32_t)header->programs, middle = programs / 2;
  const uint32_t grid[3] = {programs, 1, 1};
  if (middle < programs) kernel(slots, middle, programs, grid, scratch);
  if (middle > 0) kernel(slots, 0, middle, grid, scratch);
  return 0;
}
