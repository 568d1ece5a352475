// The first checks of a kernel image: loaders read ELF objects without knowing how long they are.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/result.h"

namespace nereid {

// The header of a 64-bit ELF object for `machine`; where its tables lie is not checked yet. `owner`
// names in the error whose machine that is: "this processor".
Result<Elf64_Ehdr> elf_header(std::span<const std::byte> object, uint16_t machine,
                              const char* owner);

}  // namespace nereid
