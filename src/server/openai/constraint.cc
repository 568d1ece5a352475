// What the output must look like, under OpenAI's name (response_format, text.format) and vLLM's
// (guided_*, structured_outputs). Part of generation.h.
#include <array>

#include "src/base/json.h"
#include "src/server/openai/generation.h"

namespace nereid::openai {
namespace {

using text::GrammarKind;

// A schema may come as an object or, with vLLM's names, as its text.
void read_schema(Fields& body, std::string_view name, const ApiModel& model,
                 std::optional<Constraint>& out) {
  const Json* value = body.find(name);
  if (!value) return;
  Constraint constraint{.kind = GrammarKind::kJsonSchema, .param = body.name_of(name)};
  if (value->is_string()) {
    const auto& source = value->get_ref<const std::string&>();
    const auto parsed =
        parse_json_text(source, constraint.param, {.max_nesting = model.limits.max_nesting});
    if (!parsed) {
      body.fail(parsed.error());
      return;
    }
    if (!parsed->is_object()) {
      body.expect(name, *parsed, "a JSON schema (an object)");
      return;
    }
    constraint.source = source;
  } else if (value->is_object()) {
    constraint.source = dump(*value);
  } else {
    body.expect(name, *value, "a JSON schema (an object)");
    return;
  }
  out = std::move(constraint);
}

void read_source(Fields& body, std::string_view name, GrammarKind kind,
                 std::optional<Constraint>& out) {
  const std::string* source = body.string(name);
  if (!source) return;
  if (source->empty()) {
    body.fail(name, "invalid_value", "found an empty string");
    return;
  }
  out = Constraint{.kind = kind, .source = *source, .param = body.name_of(name)};
}

void read_choices(Fields& body, std::string_view name, std::optional<Constraint>& out) {
  const Json* choices = body.array(name, 1024);
  if (!choices) return;
  if (choices->empty()) {
    body.fail(name, "invalid_value", "found an empty array, expected at least one string");
    return;
  }
  for (const Json& choice : *choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      body.fail(name, "invalid_type", "found {}, expected strings that are not empty",
                describe(choice));
      return;
    }
  }
  out = Constraint{
      .kind = GrammarKind::kChoice, .source = dump(*choices), .param = body.name_of(name)};
}

// vLLM's {"json": ...} | {"regex": ...} | ...
void read_structured(Fields& body, const ApiModel& model, std::optional<Constraint>& out) {
  const Json* object = body.object("structured_outputs");
  if (!object) return;
  static constexpr std::string_view kRead[] = {"json", "json_object", "regex", "choice", "grammar"};
  Fields inner(*object, "structured_outputs.", body.failure());
  inner.check_known(kRead, {});
  int given = 0;
  for (const std::string_view name : kRead) given += inner.find(name) != nullptr;
  if (given != 1) {
    body.fail("structured_outputs", "invalid_value", "found {} of {}, expected one", given,
              fmt::join(kRead, ", "));
    return;
  }
  read_schema(inner, "json", model, out);
  read_source(inner, "regex", GrammarKind::kRegex, out);
  read_source(inner, "grammar", GrammarKind::kLark, out);
  read_choices(inner, "choice", out);
  if (inner.boolean("json_object").value_or(false)) {
    out = Constraint{.kind = GrammarKind::kJsonObject, .param = "structured_outputs.json_object"};
  }
}

}  // namespace

void read_format(const Json& format, std::string_view path, bool flat, const ApiModel& model,
                 std::optional<ApiError>& failure, std::optional<Constraint>& out) {
  static constexpr std::array<std::string_view, 3> kTypes = {"text", "json_object", "json_schema"};
  static constexpr std::string_view kPlain[] = {"type"};
  static constexpr std::string_view kChat[] = {"type", "json_schema"};
  static constexpr std::string_view kSchema[] = {"schema", "name", "strict"};
  static constexpr std::string_view kFlatSchema[] = {"type", "schema", "name", "strict"};
  static constexpr KnownField kDescription[] = {{"description", Unread::kAccepted}};
  Fields fields(format, fmt::format("{}.", path), failure);
  fields.required_string("type");
  const auto type = fields.choice("type", kTypes);
  if (!type) return;
  if (*type != "json_schema") {
    fields.check_known(kPlain, {});
    if (*type == "json_object") {
      out = Constraint{.kind = GrammarKind::kJsonObject, .param = std::string(path)};
    }
    return;
  }
  const Json* holder = &format;
  std::string holder_path = fields.name_of("");
  if (!flat) {
    fields.check_known(kChat, {});
    holder = fields.object("json_schema");
    holder_path += "json_schema.";
    if (!holder) {
      fields.fail("json_schema", "missing_required_parameter", "missing, expected an object");
      return;
    }
  }
  Fields inner(*holder, holder_path, failure);
  inner.check_known(
      flat ? std::span(kFlatSchema).first<4>() : std::span<const std::string_view>(kSchema),
      kDescription);
  inner.required_string("name");
  inner.boolean("strict");
  if (!inner.object("schema")) {
    inner.fail("schema", "missing_required_parameter", "missing, expected a JSON schema");
    return;
  }
  read_schema(inner, "schema", model, out);
}

void read_constraint(Fields& body, const ApiModel& model, GenerationRequest& out) {
  static constexpr std::string_view kNames[] = {"response_format", "guided_json",
                                                "guided_regex",    "guided_choice",
                                                "guided_grammar",  "structured_outputs"};
  std::string_view first;
  for (const std::string_view name : kNames) {
    if (!body.find(name)) continue;
    if (!first.empty()) {
      body.fail(name, "invalid_value", "cannot be combined with {}", first);
      return;
    }
    first = name;
  }
  if (const Json* format = body.object("response_format")) {
    read_format(*format, "response_format", false, model, body.failure(), out.constraint);
  }
  read_schema(body, "guided_json", model, out.constraint);
  read_source(body, "guided_regex", GrammarKind::kRegex, out.constraint);
  read_source(body, "guided_grammar", GrammarKind::kLark, out.constraint);
  read_choices(body, "guided_choice", out.constraint);
  read_structured(body, model, out.constraint);
  if (!out.constraint) return;
  const auto limit = static_cast<size_t>(model.limits.max_schema_bytes);
  if (out.constraint->source.size() > limit) {
    body.fail(invalid(out.constraint->param, "invalid_value", "found {} bytes, expected at most {}",
                      out.constraint->source.size(), limit));
  }
}

}  // namespace nereid::openai
