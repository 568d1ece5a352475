//! From ids back to text, one id at a time, at a cost that does not grow with what came before.
//!
//! The two decoders that language models use are reduced to a table of bytes per token, so that a
//! stream is a matter of appending bytes and holding back an unfinished character. Any other decoder
//! of tokenizer.json goes through the tokenizers library with a short window of context.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::DecoderWrapper;

use crate::spm::byte_of_token;
use crate::tokenizer::Tokenizer;

/// How the text of a token becomes bytes of output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Each character of a token stands for one byte (GPT-2's byte alphabet).
    ByteLevel,
    /// SentencePiece: "▁" is a space, "<0x0A>" a byte; so many spaces go from the front of the text.
    Pieces { strip_leading: usize },
    /// Anything else: ask the library.
    Library,
}

impl Rule {
    pub fn of_decoder(decoder: Option<&DecoderWrapper>) -> Rule {
        let Some(decoder) = decoder else { return Rule::Library };
        match serde_json::to_value(decoder) {
            Ok(json) => Rule::of_json(&json),
            Err(_) => Rule::Library,
        }
    }

    fn of_json(decoder: &Value) -> Rule {
        match decoder["type"].as_str() {
            Some("ByteLevel") => Rule::ByteLevel,
            Some("Sequence") => Rule::of_sequence(decoder["decoders"].as_array()),
            _ => Rule::Library,
        }
    }

    fn of_sequence(steps: Option<&Vec<Value>>) -> Rule {
        let steps: &[Value] = steps.map_or(&[], |s| s);
        if let [only] = steps {
            return Rule::of_json(only);
        }
        let kinds: Vec<&str> = steps.iter().filter_map(|s| s["type"].as_str()).collect();
        let is_space = |s: &Value| s["pattern"]["String"] == "▁" && s["content"] == " ";
        match (kinds.as_slice(), steps) {
            (["Replace", "ByteFallback", "Fuse"], [replace, ..]) if is_space(replace) => {
                Rule::Pieces { strip_leading: 0 }
            }
            (["Replace", "ByteFallback", "Fuse", "Strip"], [replace, _, _, strip])
                if is_space(replace) && strip["content"] == " " && strip["stop"] == 0 =>
            {
                Rule::Pieces { strip_leading: strip["start"].as_u64().unwrap_or(0) as usize }
            }
            _ => Rule::Library,
        }
    }

    fn bytes_of(self, token: &str, alphabet: &HashMap<char, u8>) -> Vec<u8> {
        match self {
            Rule::ByteLevel => token
                .chars()
                .map(|c| alphabet.get(&c).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| token.as_bytes().to_vec()),
            Rule::Pieces { .. } => match byte_of_token(token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
            Rule::Library => Vec::new(),
        }
    }
}

/// GPT-2's alphabet: printable Latin-1 characters stand for themselves, the other bytes for U+0100 on.
pub fn byte_alphabet() -> [char; 256] {
    let mut next = 0x100u32;
    std::array::from_fn(|byte| {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable { byte as u32 } else { next };
        next += u32::from(!printable);
        char::from_u32(code).expect("below the surrogates")
    })
}

/// The bytes of every token, back to back.
pub struct TokenBytes {
    bytes: Vec<u8>,
    ends: Vec<usize>, // [vocab_size]
    special: Vec<bool>,
}

/// One entry of the vocabulary, in the order of ids.
pub struct Entry {
    pub text: String,
    pub is_special: bool,
    /// Matched in the input as it stands, so it is also written out as it stands.
    pub is_literal: bool,
}

impl TokenBytes {
    pub fn new(rule: Rule, entries: impl Iterator<Item = Entry>) -> Self {
        let alphabet: HashMap<char, u8> = byte_alphabet().into_iter().zip(0..=255u8).collect();
        let mut table = TokenBytes { bytes: Vec::new(), ends: Vec::new(), special: Vec::new() };
        for entry in entries {
            if entry.is_literal && rule != Rule::Library {
                table.bytes.extend_from_slice(entry.text.as_bytes());
            } else {
                table.bytes.extend(rule.bytes_of(&entry.text, &alphabet));
            }
            table.ends.push(table.bytes.len());
            table.special.push(entry.is_special);
        }
        table
    }
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn is_special(&self, id: i32) -> bool {
        usize::try_from(id).is_ok_and(|id| self.special.get(id) == Some(&true))
    }
    /// Empty where only the library can tell (`Rule::Library`).
    pub fn of(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }
}

/// Bytes in, complete characters out.
#[derive(Default)]
struct Utf8Assembler {
    pending: Vec<u8>, // an unfinished character: at most 3 bytes between calls
    replace_each_byte: bool,
}

impl Utf8Assembler {
    fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut rest: &[u8] = &self.pending;
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(e) => {
                    let (valid, after) = rest.split_at(e.valid_up_to());
                    out.push_str(std::str::from_utf8(valid).expect("checked"));
                    rest = after;
                    let Some(bad) = e.error_len() else { break };
                    self.replace_each_byte.then(|| (1..bad).for_each(|_| out.push('\u{FFFD}')));
                    out.push('\u{FFFD}');
                    rest = &rest[bad..];
                }
            }
        }
        let kept = rest.len();
        self.pending.drain(..self.pending.len() - kept);
    }

    fn finish(&mut self, out: &mut String) {
        let count =
            if self.replace_each_byte { self.pending.len() } else { self.pending.len().min(1) };
        (0..count).for_each(|_| out.push('\u{FFFD}'));
        self.pending.clear();
    }
}

/// Ids for the library's decoder: text is what appears when ids are added to those already shown.
#[derive(Default)]
struct Window {
    ids: Vec<u32>,
    shown: usize, // ids[..shown] are context, ids[shown..] wait for a complete character
}

impl Window {
    /// More ids than this are never held back: no character takes as many tokens.
    const MAX_WAITING: usize = 12;

    fn push(&mut self, tokenizer: &Tokenizer, id: u32, skip: bool) -> Result<String, String> {
        self.ids.push(id);
        self.take(tokenizer, skip, self.ids.len() - self.shown > Self::MAX_WAITING)
    }

    fn take(&mut self, tokenizer: &Tokenizer, skip: bool, force: bool) -> Result<String, String> {
        let before = tokenizer.library_decode(&self.ids[..self.shown], skip)?;
        let after = tokenizer.library_decode(&self.ids, skip)?;
        if !force && (after.len() <= before.len() || after.ends_with('\u{FFFD}')) {
            return Ok(String::new());
        }
        let text = after.get(before.len()..).unwrap_or_default().to_owned();
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        Ok(text)
    }
}

/// The text of a growing sequence of ids.
pub struct StreamDecoder {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    assembler: Utf8Assembler,
    strip_left: usize, // leading spaces still to be dropped
    window: Window,
}

impl StreamDecoder {
    pub fn new(tokenizer: Arc<Tokenizer>, skip_special_tokens: bool) -> Self {
        let (strip_left, pieces) = match tokenizer.rule() {
            Rule::Pieces { strip_leading } => (strip_leading, true),
            _ => (0, false),
        };
        let assembler = Utf8Assembler { replace_each_byte: pieces, ..Default::default() };
        StreamDecoder {
            tokenizer,
            skip_special_tokens,
            assembler,
            strip_left,
            window: Window::default(),
        }
    }

    /// Appends the text that `id` completes to `out`.
    pub fn push(&mut self, id: i32, out: &mut String) -> Result<(), String> {
        let table = self.tokenizer.token_bytes();
        let Some(token) = u32::try_from(id).ok().filter(|id| (*id as usize) < table.len()) else {
            return Err(format!(
                "token id {id}: the vocabulary has ids 0 to {}",
                table.len() as i64 - 1
            ));
        };
        if self.skip_special_tokens && table.is_special(id) {
            return Ok(());
        }
        if self.tokenizer.rule() == Rule::Library {
            out.push_str(&self.window.push(&self.tokenizer, token, self.skip_special_tokens)?);
            return Ok(());
        }
        let mut bytes = table.of(token);
        while self.strip_left > 0 && !bytes.is_empty() {
            match bytes.strip_prefix(b" ") {
                Some(rest) => (bytes, self.strip_left) = (rest, self.strip_left - 1),
                None => self.strip_left = 0,
            }
        }
        self.assembler.push(bytes, out);
        Ok(())
    }

    /// What is held back, an unfinished character as U+FFFD. The decoder is then as new, except that
    /// no leading space is dropped any more.
    pub fn finish(&mut self) -> Result<String, String> {
        let mut out = String::new();
        if self.window.ids.len() > self.window.shown {
            out = self.window.take(&self.tokenizer, self.skip_special_tokens, true)?;
        }
        self.assembler.finish(&mut out);
        Ok(out)
    }
}
