//! The parts of Nereid that come from the Rust ecosystem, behind the C ABI declared in
//! `nereid_text.h`: Hugging Face tokenizers, Jinja chat templates, grammars, progress bars.

pub mod abi;
mod decode;
mod ffi;
mod gguf;
mod grammar;
pub mod grammar_abi;
mod grammar_lark;
mod grammar_source;
mod model;
mod pretokenizers;
mod progress;
mod python_json;
mod sandbox;
mod spm;
mod strftime;
mod template;
mod tokenizer;
