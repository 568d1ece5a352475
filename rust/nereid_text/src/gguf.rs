//! Tokenizers from the vocabulary that a GGUF file carries. Everything in it is checked here: the
//! library below trusts its input.

use ahash::AHashMap;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::utils::Sequence;
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper};

use crate::decode::Rule;
use crate::model::SharedModel;
use crate::pretokenizers::PreTokenizerSpec;
use crate::spm::{SpmModel, TokenType};
use crate::tokenizer::{Frame, Pipeline, Tokenizer, MAX_TOKENS};

const MAX_TOKEN_BYTES: usize = 1 << 16;
const MAX_MERGES: usize = 4 * MAX_TOKENS;

/// The keys tokenizer.ggml.* as they stand in the file; ids are -1 when absent.
pub struct Vocabulary<'a> {
    pub model: &'a str,
    pub pre: &'a str,
    pub tokens: Vec<&'a [u8]>,
    pub scores: &'a [f32],
    pub types: &'a [i32],
    pub merges: Vec<&'a [u8]>,
    pub bos_id: i32,
    pub eos_id: i32,
    pub unk_id: i32,
    pub pad_id: i32,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
}

pub fn tokenizer(vocabulary: &Vocabulary) -> Result<Tokenizer, String> {
    let checked = Checked::new(vocabulary)?;
    match vocabulary.model {
        "gpt2" => byte_level(vocabulary, checked),
        "llama" => sentence_piece(vocabulary, checked),
        other => Err(format!("tokenizer.ggml.model is {other:?}, supported are gpt2, llama")),
    }
}

/// Tokens as distinct texts with their types.
struct Checked {
    tokens: Vec<String>,
    types: Vec<TokenType>,
    ids: AHashMap<String, u32>,
}

impl Checked {
    fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let count = vocabulary.tokens.len();
        if count == 0 || count > MAX_TOKENS {
            return Err(format!(
                "tokenizer.ggml.tokens has {count} entries, expected 1 to {MAX_TOKENS}"
            ));
        }
        check_length("tokenizer.ggml.scores", vocabulary.scores.len(), count)?;
        check_length("tokenizer.ggml.token_type", vocabulary.types.len(), count)?;
        for (key, id) in [
            ("bos_token_id", vocabulary.bos_id),
            ("eos_token_id", vocabulary.eos_id),
            ("unknown_token_id", vocabulary.unk_id),
            ("padding_token_id", vocabulary.pad_id),
        ] {
            if id < -1 || id >= count as i32 {
                return Err(format!("tokenizer.ggml.{key} is {id}, expected below {count}"));
            }
        }
        let (tokens, ids) = distinct_texts(&vocabulary.tokens)?;
        Ok(Checked { tokens, ids, types: token_types(vocabulary)? })
    }

    /// The tokens that are recognised in the text before anything else: special ones (control,
    /// unknown) and those of the user. A byte token or an unused one is not.
    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = self.tokens.iter().zip(&self.types).filter_map(|(text, kind)| {
            let special = match kind {
                TokenType::Control | TokenType::Unknown => true,
                TokenType::UserDefined => false,
                _ => return None,
            };
            Some(AddedToken::from(text.as_str(), special).normalized(false))
        });
        added.filter(|token| !token.content.is_empty()).collect()
    }
}

fn check_length(key: &str, length: usize, count: usize) -> Result<(), String> {
    if length != 0 && length != count {
        return Err(format!("{key} has {length} entries, expected {count}, one for each token"));
    }
    Ok(())
}

fn distinct_texts(tokens: &[&[u8]]) -> Result<(Vec<String>, AHashMap<String, u32>), String> {
    let mut texts = Vec::with_capacity(tokens.len());
    let mut ids = AHashMap::with_capacity(tokens.len());
    for (id, bytes) in tokens.iter().enumerate() {
        let text = text_of("tokenizer.ggml.tokens", id, bytes)?;
        if let Some(first) = ids.insert(text.to_owned(), id as u32) {
            return Err(format!("tokenizer.ggml.tokens[{id}] {text:?} repeats entry {first}"));
        }
        texts.push(text.to_owned());
    }
    Ok((texts, ids))
}

fn text_of<'a>(key: &str, index: usize, bytes: &'a [u8]) -> Result<&'a str, String> {
    if bytes.len() > MAX_TOKEN_BYTES {
        let length = bytes.len();
        return Err(format!(
            "{key}[{index}] has {length} bytes, expected at most {MAX_TOKEN_BYTES}"
        ));
    }
    std::str::from_utf8(bytes)
        .map_err(|e| format!("{key}[{index}]: invalid UTF-8 at byte {}", e.valid_up_to()))
}

fn token_types(vocabulary: &Vocabulary) -> Result<Vec<TokenType>, String> {
    if vocabulary.types.is_empty() {
        let mut types = vec![TokenType::Normal; vocabulary.tokens.len()];
        for id in [vocabulary.bos_id, vocabulary.eos_id, vocabulary.unk_id, vocabulary.pad_id] {
            if let Ok(id) = usize::try_from(id) {
                types[id] = TokenType::Control;
            }
        }
        return Ok(types);
    }
    let kinds = vocabulary.types.iter().enumerate().map(|(id, kind)| match kind {
        0 | 1 => Ok(TokenType::Normal),
        2 => Ok(TokenType::Unknown),
        3 => Ok(TokenType::Control),
        4 => Ok(TokenType::UserDefined),
        5 => Ok(TokenType::Unused),
        6 => Ok(TokenType::Byte),
        _ => Err(format!("tokenizer.ggml.token_type[{id}] is {kind}, expected 0 to 6")),
    });
    kinds.collect()
}

fn frame(vocabulary: &Vocabulary, add_bos: bool, add_eos: bool) -> Result<Frame, String> {
    let ids = |key: &str, wanted: bool, id: i32| match (wanted, id) {
        (false, _) => Ok(vec![]),
        (true, -1) => Err(format!("tokenizer.ggml.add_{key}_token is set without {key}_token_id")),
        (true, id) => Ok(vec![id]),
    };
    Ok(Frame {
        before: ids("bos", add_bos, vocabulary.bos_id)?,
        after: ids("eos", add_eos, vocabulary.eos_id)?,
    })
}

fn byte_level(vocabulary: &Vocabulary, checked: Checked) -> Result<Tokenizer, String> {
    let spec = PreTokenizerSpec::find(vocabulary.pre)?;
    let merges = merges(&vocabulary.merges, &checked.ids)?;
    let added = checked.added_tokens();
    let bpe = BPE::builder()
        .vocab_and_merges(checked.ids, merges)
        .ignore_merges(spec.whole_pieces_first)
        .build()
        .map_err(|e| format!("tokenizer.ggml.merges: {e}"))?;
    let mut pipeline = Pipeline::new(SharedModel::library(bpe));
    pipeline.with_normalizer(spec.normalizer()).map_err(|e| e.to_string())?;
    pipeline.with_pre_tokenizer(Some(spec.pre_tokenizer()?));
    pipeline.with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())));
    pipeline.add_tokens(added).map_err(|e| e.to_string())?;
    let default_bos = spec.default_add_bos && vocabulary.bos_id >= 0;
    let frame = frame(
        vocabulary,
        vocabulary.add_bos.unwrap_or(default_bos),
        vocabulary.add_eos.unwrap_or(false),
    )?;
    Tokenizer::new(pipeline, Rule::ByteLevel, frame)
}

fn merges(lines: &[&[u8]], ids: &AHashMap<String, u32>) -> Result<Vec<(String, String)>, String> {
    const KEY: &str = "tokenizer.ggml.merges";
    if lines.is_empty() || lines.len() > MAX_MERGES {
        return Err(format!("{KEY} has {} entries, expected 1 to {MAX_MERGES}", lines.len()));
    }
    let mut merges = Vec::with_capacity(lines.len());
    for (index, bytes) in lines.iter().enumerate() {
        let line = text_of(KEY, index, bytes)?;
        let halves = line
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '));
        let Some((left, right)) = halves else {
            return Err(format!("{KEY}[{index}] is {line:?}, expected two tokens and one space"));
        };
        let merged = format!("{left}{right}");
        for token in [left, right, &merged] {
            if !ids.contains_key(token) {
                return Err(format!("{KEY}[{index}] {line:?}: {token:?} is not in the vocabulary"));
            }
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}

fn sentence_piece(vocabulary: &Vocabulary, checked: Checked) -> Result<Tokenizer, String> {
    if vocabulary.scores.is_empty() {
        return Err("tokenizer.ggml.scores is missing, a llama vocabulary needs it".to_owned());
    }
    if let Some(id) = vocabulary.scores.iter().position(|score| !score.is_finite()) {
        let score = vocabulary.scores[id];
        return Err(format!("tokenizer.ggml.scores[{id}] is {score}, expected a finite number"));
    }
    let add_space_prefix = vocabulary.add_space_prefix.unwrap_or(true);
    let added = checked.added_tokens();
    let unknown = usize::try_from(vocabulary.unk_id).ok().map(|id| id as u32).or_else(|| {
        checked.types.iter().position(|t| *t == TokenType::Unknown).map(|id| id as u32)
    });
    let scores = vocabulary.scores.to_vec();
    let model = SpmModel::new(checked.tokens, scores, checked.types, unknown);
    let mut pipeline = Pipeline::new(SharedModel::spm(model));
    pipeline.with_normalizer(Some(spaces(add_space_prefix)?)).map_err(|e| e.to_string())?;
    pipeline.add_tokens(added).map_err(|e| e.to_string())?;
    let frame = frame(
        vocabulary,
        vocabulary.add_bos.unwrap_or(vocabulary.bos_id >= 0),
        vocabulary.add_eos.unwrap_or(false),
    )?;
    Tokenizer::new(pipeline, Rule::Pieces { strip_leading: usize::from(add_space_prefix) }, frame)
}

/// Spaces become "▁"; every stretch of text between special tokens starts with one.
fn spaces(add_prefix: bool) -> Result<NormalizerWrapper, String> {
    let mut steps = Vec::new();
    if add_prefix {
        steps.push(NormalizerWrapper::Prepend(Prepend::new("▁".to_owned())));
    }
    let replace = Replace::new(" ", "▁").map_err(|e| e.to_string())?;
    steps.push(NormalizerWrapper::Replace(replace));
    Ok(NormalizerWrapper::Sequence(Sequence::new(steps)))
}
