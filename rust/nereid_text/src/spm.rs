//! SentencePiece BPE as Llama 2 and Mistral use it: of all neighbouring pairs whose concatenation is a
//! token, the one whose token has the highest score is merged first, the leftmost among equals.
//! Byte-level ranks per *pair*, as the BPE of the tokenizers library has them, cannot express this:
//! every split of one token shares that token's score.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use ahash::AHashMap;
use tokenizers::Token;

/// What GGUF calls token types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

pub struct SpmModel {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<TokenType>,
    ids: AHashMap<String, u32>,
    byte_ids: [Option<u32>; 256],
    unknown_id: Option<u32>,
}

/// A span of the text, linked to its neighbours; `end == start` once merged into its left neighbour.
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    bytes: usize, // length of the merged text when pushed; differs from now: the candidate is stale
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Candidate {}

impl SpmModel {
    /// The three lists run in parallel; tokens are distinct, scores finite.
    pub fn new(
        tokens: Vec<String>,
        scores: Vec<f32>,
        types: Vec<TokenType>,
        unknown_id: Option<u32>,
    ) -> Self {
        let ids: AHashMap<String, u32> = tokens.iter().cloned().zip(0u32..).collect();
        let mut byte_ids = [None; 256];
        for (id, token) in tokens.iter().enumerate() {
            if let Some(byte) = byte_of_token(token).filter(|_| types[id] == TokenType::Byte) {
                byte_ids[byte as usize] = Some(id as u32);
            }
        }
        SpmModel { tokens, scores, types, ids, byte_ids, unknown_id }
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }
    pub fn vocab(&self) -> HashMap<String, u32> {
        self.ids.iter().map(|(token, id)| (token.clone(), *id)).collect()
    }
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The token that text may be merged into: control, unknown and byte tokens never come from text.
    fn piece_id(&self, text: &str) -> Option<u32> {
        self.token_to_id(text).filter(|id| {
            matches!(
                self.types[*id as usize],
                TokenType::Normal | TokenType::UserDefined | TokenType::Unused
            )
        })
    }

    pub fn tokenize(&self, text: &str) -> Vec<Token> {
        let mut symbols = characters(text);
        let mut queue = BinaryHeap::new();
        let mut splits = AHashMap::new(); // merged token that must not be emitted -> length of its left half
        for right in 1..symbols.len() {
            self.offer(text, &symbols, right - 1, right, &mut queue);
        }
        while let Some(candidate) = queue.pop() {
            let (left, right) = (candidate.left, candidate.right);
            let length = |s: &Symbol| s.end - s.start;
            if length(&symbols[left]) == 0
                || length(&symbols[right]) == 0
                || length(&symbols[left]) + length(&symbols[right]) != candidate.bytes
            {
                continue;
            }
            self.note_split(text, &symbols[left], &symbols[right], &mut splits);
            symbols[left].end = symbols[right].end;
            symbols[right].start = symbols[right].end;
            let after = symbols[right].next;
            symbols[left].next = after;
            if let Some(after) = after {
                symbols[after].previous = Some(left);
                self.offer(text, &symbols, left, after, &mut queue);
            }
            if let Some(before) = symbols[left].previous {
                self.offer(text, &symbols, before, left, &mut queue);
            }
        }
        let mut output = Vec::new();
        for symbol in symbols.iter().filter(|s| s.end > s.start) {
            self.emit(text, symbol.start, symbol.end, &splits, &mut output);
        }
        output
    }

    fn offer(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: usize,
        right: usize,
        queue: &mut BinaryHeap<Candidate>,
    ) {
        let merged = &text[symbols[left].start..symbols[right].end];
        if let Some(id) = self.piece_id(merged) {
            let score = self.scores[id as usize];
            queue.push(Candidate { score, left, right, bytes: merged.len() });
        }
    }

    fn note_split<'t>(
        &self,
        text: &'t str,
        left: &Symbol,
        right: &Symbol,
        splits: &mut AHashMap<&'t str, usize>,
    ) {
        let merged = &text[left.start..right.end];
        if self.piece_id(merged).is_some_and(|id| self.types[id as usize] == TokenType::Unused) {
            splits.insert(merged, left.end - left.start);
        }
    }

    /// Appends the token of text[start..end], or what stands for it: halves of an unused token, the
    /// bytes of an unknown character, the unknown token (one for a run).
    fn emit(
        &self,
        text: &str,
        start: usize,
        end: usize,
        splits: &AHashMap<&str, usize>,
        output: &mut Vec<Token>,
    ) {
        let mut todo = vec![(start, end)];
        while let Some((start, end)) = todo.pop() {
            let piece = &text[start..end];
            if let Some(left) = splits.get(piece) {
                todo.push((start + left, end));
                todo.push((start, start + left));
            } else if let Some(id) = self.piece_id(piece) {
                output.push(Token::new(id, piece.to_owned(), (start, end)));
            } else {
                self.emit_unknown(piece, start, output);
            }
        }
    }

    fn emit_unknown(&self, piece: &str, start: usize, output: &mut Vec<Token>) {
        let bytes: Option<Vec<u32>> = piece.bytes().map(|b| self.byte_ids[b as usize]).collect();
        let span = (start, start + piece.len());
        if let Some(bytes) = bytes {
            output.extend(
                bytes.iter().map(|id| Token::new(*id, self.tokens[*id as usize].clone(), span)),
            );
        } else if let Some(id) = self.unknown_id {
            match output.last_mut() {
                Some(last) if last.id == id && last.offsets.1 == start => last.offsets.1 = span.1,
                _ => output.push(Token::new(id, self.tokens[id as usize].clone(), span)),
            }
        }
    }
}

fn characters(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = text
        .char_indices()
        .enumerate()
        .map(|(index, (start, c))| Symbol {
            start,
            end: start + c.len_utf8(),
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}

/// The byte that a token like "<0x0A>" stands for.
pub fn byte_of_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}
