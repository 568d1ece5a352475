//! A tokenizer: the pipeline of the tokenizers library over a shared model, the table of bytes per
//! token for decoding, and the limits that keep hostile input from costing more than it should.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use tokenizers::tokenizer::TokenizerImpl;
use tokenizers::{
    DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::decode::{Entry, Rule, StreamDecoder, TokenBytes};
use crate::model::SharedModel;

pub type Pipeline = TokenizerImpl<
    SharedModel,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

pub const MAX_TOKENS: usize = 1 << 21;
/// Of a tokenizer.json, its only limit: C++ maps the file and gives all of it.
pub const MAX_JSON_BYTES: usize = 256 << 20;
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// The regular expressions of pre-tokenisers walk back over a run of white space once per character,
/// and the engine that runs them gives up, without a word, after a million steps.
const MAX_WHITESPACE_RUN: usize = 200_000;

/// Ids put around a text when special tokens are asked for, where no post-processor of the library
/// does it.
#[derive(Default)]
pub struct Frame {
    pub before: Vec<i32>,
    pub after: Vec<i32>,
}

pub struct Tokenizer {
    pipeline: Pipeline,
    /// The same without recognising special tokens in the text; made when first asked for.
    plain: OnceLock<Pipeline>,
    frame: Frame,
    rule: Rule,
    table: TokenBytes,
}

impl Tokenizer {
    pub fn new(pipeline: Pipeline, rule: Rule, frame: Frame) -> Result<Self, String> {
        let entries = entries(&pipeline)?;
        let table = TokenBytes::new(rule, entries.into_iter());
        Ok(Tokenizer { pipeline, plain: OnceLock::new(), frame, rule, table })
    }

    /// From the text of a tokenizer.json.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        if json.len() > MAX_JSON_BYTES {
            return Err(format!(
                "found {} bytes, expected at most {MAX_JSON_BYTES}",
                json.len()
            ));
        }
        let outline: Outline = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        outline.check()?;
        let mut pipeline: Pipeline = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        for token in &outline.added_tokens {
            let found = pipeline.token_to_id(&token.content);
            if found != Some(token.id) {
                return Err(format!(
                    "added token {:?}: the file says id {}, its place in the vocabulary gives {}",
                    token.content,
                    token.id,
                    found.map_or("none".to_owned(), |id| id.to_string())
                ));
            }
        }
        // Settings of somebody's training or batching; prompts are neither cut nor padded.
        pipeline.with_truncation(None).map_err(|e| e.to_string())?;
        pipeline.with_padding(None);
        let rule = Rule::of_decoder(pipeline.get_decoder());
        Tokenizer::new(pipeline, rule, Frame::default())
    }

    pub fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<i32>, String> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "text has {} bytes, at most {MAX_TEXT_BYTES} are encoded",
                text.len()
            ));
        }
        check_whitespace_runs(text)?;
        let pipeline = if parse_special { &self.pipeline } else { self.plain() };
        let encoding = pipeline.encode_fast(text, add_special).map_err(|e| e.to_string())?;
        let (before, after): (&[i32], &[i32]) =
            if add_special { (&self.frame.before, &self.frame.after) } else { (&[], &[]) };
        let mut ids = Vec::with_capacity(before.len() + encoding.len() + after.len());
        ids.extend_from_slice(before);
        ids.extend(encoding.get_ids().iter().map(|id| *id as i32)); // ids are below MAX_TOKENS
        ids.extend_from_slice(after);
        Ok(ids)
    }

    fn plain(&self) -> &Pipeline {
        self.plain.get_or_init(|| {
            let mut plain = self.pipeline.clone();
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    pub fn decode(
        self: &Arc<Self>,
        ids: &[i32],
        skip_special_tokens: bool,
    ) -> Result<String, String> {
        let mut out = String::new();
        if self.rule == Rule::Library {
            let checked: Result<Vec<u32>, String> =
                ids.iter().enumerate().map(|(at, id)| self.checked_id(*id, at)).collect();
            return self.library_decode(&checked?, skip_special_tokens);
        }
        let mut stream = StreamDecoder::new(self.clone(), skip_special_tokens);
        for (at, id) in ids.iter().enumerate() {
            stream.push(*id, &mut out).map_err(|e| format!("position {at}: {e}"))?;
        }
        out.push_str(&stream.finish()?);
        Ok(out)
    }

    fn checked_id(&self, id: i32, at: usize) -> Result<u32, String> {
        u32::try_from(id).ok().filter(|id| (*id as usize) < self.table.len()).ok_or_else(|| {
            let last = self.table.len() as i64 - 1;
            format!("position {at}: token id {id}: the vocabulary has ids 0 to {last}")
        })
    }

    pub fn library_decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, String> {
        self.pipeline.decode(ids, skip_special_tokens).map_err(|e| e.to_string())
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }
    pub fn token_bytes(&self) -> &TokenBytes {
        &self.table
    }
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }
    pub fn token_to_id(&self, token: &str) -> i32 {
        self.pipeline.token_to_id(token).map_or(-1, |id| id as i32)
    }
    pub fn id_to_token(&self, id: i32) -> String {
        u32::try_from(id).ok().and_then(|id| token_text(&self.pipeline, id)).unwrap_or_default()
    }
    pub fn is_special(&self, id: i32) -> bool {
        self.table.is_special(id)
    }
}

/// An added token by its content; the library would give the normalised form.
fn token_text(pipeline: &Pipeline, id: u32) -> Option<String> {
    let added = pipeline.get_added_vocabulary().get_added_tokens_decoder().get(&id);
    added.map(|t| t.content.clone()).or_else(|| pipeline.get_model().id_to_token(id))
}

fn entries(pipeline: &Pipeline) -> Result<Vec<Entry>, String> {
    let added = pipeline.get_added_vocabulary().get_added_tokens_decoder();
    let last_model = pipeline.get_model().get_vocab().into_values().max();
    let count = match last_model.max(added.keys().max().copied()) {
        Some(last) => last as usize + 1,
        None => return Err("the vocabulary is empty".to_owned()),
    };
    if count > MAX_TOKENS {
        return Err(format!("the largest token id is {}, expected below {MAX_TOKENS}", count - 1));
    }
    let entry = |id: u32| Entry {
        text: token_text(pipeline, id).unwrap_or_default(),
        is_special: added.get(&id).is_some_and(|t| t.special),
        is_literal: added.contains_key(&id),
    };
    Ok((0..count as u32).map(entry).collect())
}

fn check_whitespace_runs(text: &str) -> Result<(), String> {
    if text.len() <= MAX_WHITESPACE_RUN {
        return Ok(());
    }
    let mut run = 0usize;
    for c in text.chars() {
        run = if c.is_whitespace() { run + 1 } else { 0 };
        if run > MAX_WHITESPACE_RUN {
            return Err(format!(
                "text has a run of more than {MAX_WHITESPACE_RUN} white space characters"
            ));
        }
    }
    Ok(())
}

/// The parts of a tokenizer.json that are checked before the library builds anything from them.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    added_tokens: Vec<OutlineToken>,
    model: OutlineModel,
}
#[derive(Deserialize)]
struct OutlineToken {
    id: u32,
    content: String,
}
#[derive(Deserialize)]
struct OutlineModel {
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

impl Outline {
    fn check(&self) -> Result<(), String> {
        let is_word_piece = self.model.kind.as_deref() == Some("WordPiece");
        if let Some(prefix) = self.model.continuing_subword_prefix.as_deref() {
            if !is_word_piece && !prefix.is_empty() {
                return Err(format!(
                    "model.continuing_subword_prefix is {prefix:?}, expected none"
                ));
            }
        }
        Ok(())
    }
}
