// The model's text side from what the server knows. See context.h.
#include "src/server/context.h"
#include "src/server/routes/text_request.h"

namespace nereid::server {

std::unique_ptr<openai::ModelText> make_model_text(const ServerContext& context) {
  return std::make_unique<openai::ModelText>(
      openai::ModelText::Source{.model = api_model(context),
                                .tokenizer = context.tokenizer,
                                .chat_template = context.chat_template,
                                .tool_format = context.options.tool_parser});
}

}  // namespace nereid::server
