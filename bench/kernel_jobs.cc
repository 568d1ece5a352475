// Reading jobs against the declarations of this program and a pack.
#include "bench/kernel_jobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/kernels.h"
#include "src/base/json.h"
#include "src/base/paths.h"

namespace nereid::bench {
namespace {

using nlohmann::json;

Result<JobArg> read_arg(const json& from) {
  if (from.contains("slot")) {
    return JobArg{.kind = JobArg::Kind::kSlot, .slot = from.at("slot")};
  }
  if (from.value("null", false)) return JobArg{};
  if (from.value("workspace", false)) return JobArg{.kind = JobArg::Kind::kWorkspace};
  const auto name = from.at("dtype").get<std::string>();
  const auto dtype = parse_dtype(name);
  if (!dtype) return error("dtype '{}' is none", printable(name));
  return JobArg{.kind = JobArg::Kind::kArray,
                .dtype = *dtype,
                .bytes = from.at("bytes"),
                .rotates = from.value("rotates", false),
                .written = from.value("written", false),
                .counts = from.value("counts", false)};
}

Status read_key(const json& from, Job& job, std::vector<PackKeyField>& fields) {
  for (const KeyFieldDecl& field : job.decl->key_fields) {
    const json& value = from.at(field.name);
    if (field.kind == KeyKind::kInt) {
      job.key.push_back(value.get<int64_t>());
      fields.push_back({field.name, std::to_string(job.key.back())});
      continue;
    }
    const auto name = value.get<std::string>();
    const auto dtype = parse_dtype(name);
    if (!dtype) return error("{} is '{}', expected a dtype", field.name, printable(name));
    job.key.push_back(static_cast<int64_t>(*dtype));
    fields.push_back({field.name, name});
  }
  return {};
}

Result<Job> read_job(const json& from, const Pack& pack) {
  Job job{.label = from.at("label")};
  const auto name = from.at("kernel").get<std::string>();
  const auto declared = kernels::all_kernels();
  const auto found = std::ranges::find(declared, name, &KernelDecl::name);
  if (found == declared.end()) return error("no kernel '{}' in this program", printable(name));
  job.decl = *found;
  std::vector<PackKeyField> fields;
  NEREID_RETURN_IF_ERROR(read_key(from.at("key"), job, fields));
  job.variant = pack.find(name, std::move(fields));
  if (job.variant == nullptr) return error("{} is not in the pack", job.label);
  for (const json& arg : from.at("args")) {
    NEREID_TRY(JobArg read, read_arg(arg));
    job.args.push_back(read);
  }
  if (job.args.size() != job.decl->args.size()) {
    return error("{} arguments, {} has {}", job.args.size(), name, job.decl->args.size());
  }
  for (const json& index : from.at("choices")) {
    job.which.push_back(index.get<size_t>());
    if (job.which.back() >= job.variant->choices.size()) {
      return error("choice {}, the pack has {}", job.which.back(), job.variant->choices.size());
    }
  }
  return job;
}

}  // namespace

Result<std::vector<Job>> read_jobs(const std::string& path, const Pack& pack) {
  NEREID_TRY(const std::string text, read_file(path, size_t{64} << 20));
  NEREID_TRY_CONTEXT(const json root, parse_json(text), path);
  std::vector<Job> jobs;
  try {
    for (const json& entry : root.at("jobs")) {
      NEREID_TRY_CONTEXT(Job job, read_job(entry, pack),
                         fmt::format("{}: job {}", path, jobs.size()));
      jobs.push_back(std::move(job));
    }
  } catch (const json::exception& failure) {
    return error("{}: job {}: {}", path, jobs.size(), failure.what());
  }
  return jobs;
}

}  // namespace nereid::bench
