//! How byte-level BPE vocabularies split text before merging, by the name that GGUF files carry in
//! `tokenizer.ggml.pre`.

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub struct PreTokenizerSpec {
    names: &'static [&'static str],
    /// Regular expressions, one after the other: cut at the matches, what lies between stays whole.
    patterns: &'static [&'static str],
    /// A piece that is a token as it stands is not merged from its bytes.
    pub whole_pieces_first: bool,
    /// Text is brought to Unicode normal form C first.
    nfc: bool,
    /// Whether a sequence starts with BOS when the file does not say.
    pub default_add_bos: bool,
}

const SPECS: &[PreTokenizerSpec] = &[
    PreTokenizerSpec {
        names: &["llama-bpe", "llama3", "llama-v3"],
        patterns: &[LLAMA3],
        whole_pieces_first: true,
        nfc: false,
        default_add_bos: true,
    },
    PreTokenizerSpec {
        names: &["qwen2"],
        patterns: &[QWEN2],
        whole_pieces_first: false,
        nfc: true,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        // As transformers reads such files, which is what SmolLM2's figures are checked against.
        // Its own tokenizer.json sets digits apart first: no merge crosses a digit, so this only
        // shows in white space right before one ("\n\n1") and in digits beyond ASCII.
        names: &["smollm"],
        patterns: &[GPT2],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["gpt-2", "gpt2"],
        patterns: &[GPT2],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["default", ""],
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["tekken"],
        patterns: &[TEKKEN],
        whole_pieces_first: true,
        nfc: false,
        default_add_bos: true,
    },
];

impl PreTokenizerSpec {
    pub fn find(name: &str) -> Result<&'static PreTokenizerSpec, String> {
        SPECS.iter().find(|spec| spec.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = SPECS.iter().map(|spec| spec.names[0]).collect();
            format!("tokenizer.ggml.pre is {name:?}, supported are {}", known.join(", "))
        })
    }

    pub fn normalizer(&self) -> Option<NormalizerWrapper> {
        self.nfc.then_some(NormalizerWrapper::NFC(NFC))
    }

    pub fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, String> {
        let mut steps = Vec::new();
        for pattern in self.patterns {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            steps.push(PreTokenizerWrapper::Split(split.map_err(|e| e.to_string())?));
        }
        // Only the byte alphabet: the splitting is done.
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}
