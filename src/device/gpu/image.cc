// Reads the ELF header and the section table.
#include "src/device/gpu/image.h"

#include <elf.h>

#include <cstring>

namespace nereid::gpu {

Status check_image(std::span<const std::byte> image, uint16_t machine) {
  Elf64_Ehdr header{};
  if (image.size() < sizeof(header)) return error("{} bytes, no ELF object", image.size());
  std::memcpy(&header, image.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return error("no ELF object");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine) {
    return error("ELF machine {}, this device's is {}", header.e_machine, machine);
  }
  const auto inside = [&](uint64_t offset, uint64_t bytes) {
    return offset <= image.size() && bytes <= image.size() - offset;
  };
  if (!inside(header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr))) {
    return error("program headers outside the object: truncated");
  }
  if (!inside(header.e_shoff, uint64_t{header.e_shnum} * sizeof(Elf64_Shdr))) {
    return error("section headers outside the object: truncated");
  }
  for (uint16_t at = 0; at < header.e_shnum; ++at) {
    Elf64_Shdr section{};
    std::memcpy(&section, image.data() + header.e_shoff + at * sizeof(section), sizeof(section));
    if (section.sh_type != SHT_NOBITS && !inside(section.sh_offset, section.sh_size)) {
      return error("section {} outside the object: truncated", at);
    }
  }
  return {};
}

}  // namespace nereid::gpu
