// Reads the ELF header and the section table.
#include "src/device/gpu/image.h"

#include <cstring>

#include "src/device/elf_header.h"

namespace nereid::gpu {

Status check_image(std::span<const std::byte> image, uint16_t machine) {
  NEREID_TRY(const Elf64_Ehdr header, elf_header(image, machine, "this device"));
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
