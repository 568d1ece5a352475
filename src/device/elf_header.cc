// See elf_header.h.
#include "src/device/elf_header.h"

#include <cstring>

namespace nereid {

Result<Elf64_Ehdr> elf_header(std::span<const std::byte> object, uint16_t machine,
                              const char* owner) {
  Elf64_Ehdr header{};
  if (object.size() < sizeof(header)) return error("{} bytes, no ELF object", object.size());
  std::memcpy(&header, object.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return error("no ELF object");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine) {
    return error("ELF machine {}, {}'s is {}", header.e_machine, owner, machine);
  }
  return header;
}

}  // namespace nereid
