//! How byte-level BPE vocabularies split text before merging, by the name that GGUF files carry in
//! `tokenizer.ggml.pre`.

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

enum Step {
    /// Cut at the matches; what lies between them stays whole.
    Pattern(&'static str),
    EachDigit,
}

pub struct PreTokenizerSpec {
    names: &'static [&'static str],
    steps: &'static [Step],
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
        steps: &[Step::Pattern(LLAMA3)],
        whole_pieces_first: true,
        nfc: false,
        default_add_bos: true,
    },
    PreTokenizerSpec {
        names: &["qwen2"],
        steps: &[Step::Pattern(QWEN2)],
        whole_pieces_first: false,
        nfc: true,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["smollm"],
        steps: &[Step::EachDigit, Step::Pattern(GPT2)],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["gpt-2", "gpt2"],
        steps: &[Step::Pattern(GPT2)],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["default", ""],
        steps: &[
            Step::Pattern(r"[\p{P}\$\+<=>\^~\|]+"),
            Step::Pattern(GPT2),
            Step::Pattern(r"\p{N}+"),
            Step::Pattern(r"[0-9][0-9][0-9]"),
        ],
        whole_pieces_first: false,
        nfc: false,
        default_add_bos: false,
    },
    PreTokenizerSpec {
        names: &["tekken"],
        steps: &[Step::Pattern(TEKKEN)],
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
        for step in self.steps {
            steps.push(match step {
                Step::EachDigit => PreTokenizerWrapper::Digits(Digits::new(true)),
                Step::Pattern(pattern) => PreTokenizerWrapper::Split(
                    Split::new(
                        SplitPattern::Regex((*pattern).to_owned()),
                        SplitDelimiterBehavior::Isolated,
                        false,
                    )
                    .map_err(|e| e.to_string())?,
                ),
            });
        }
        // Only the byte alphabet: the splitting is done.
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}
