//! Constrained decoding: which tokens may come next under a grammar, by llguidance.
//!
//! The library sees a vocabulary of its own making: bytes for tokens that are text, nothing for special
//! tokens and for ids past the tokenizer's, and one more token at the end that stands for "end of
//! sequence". What the model calls end of sequence is put into and taken out of masks here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::ParserFactory;

use crate::decode::Rule;
use crate::grammar_source::{self, Kind, SourceLimits};
use crate::sandbox::{self, Failure};
use crate::tokenizer::{Tokenizer, MAX_TOKENS};

/// Longer tokens are never allowed: the library's trie has no more levels.
const MAX_TOKEN_BYTES: usize = 1000;
/// What compiling may allocate, and how many compilations may have been left behind with that much.
const COMPILE_MEMORY: usize = 96 << 20;
const MAX_PARKED: usize = 24;
/// Hashes of the sources that met a limit of the sandbox: not tried again.
static PARKED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 1000, // the time for a token grows with its square, to 0.1 s here
        max_lexer_states: 50_000, // 1 to 2 KiB each
        max_grammar_size: 200_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

struct Trie(TokTrie);

impl TokenizerEnv for Trie {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.0.greedy_tokenize(bytes)
    }
    /// The model chooses how a forced text is split.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

pub struct Vocabulary {
    factory: ParserFactory,
    eos_ids: Vec<u32>, // sorted, each once
    vocab_size: usize,
    is_text: Vec<u32>, // a bit per token [ceil(vocab_size / 32)]
}

impl Vocabulary {
    pub fn new(tokenizer: &Tokenizer, eos_ids: &[i32], vocab_size: i32) -> Result<Self, String> {
        if vocab_size < 1 || vocab_size as usize >= MAX_TOKENS {
            return Err(format!("vocab_size is {vocab_size}, expected 1 to {}", MAX_TOKENS - 1));
        }
        let vocab_size = vocab_size as usize;
        let eos_ids = checked_eos_ids(eos_ids, vocab_size)?;
        if tokenizer.rule() == Rule::Library {
            return Err("the tokenizer's decoder does not give the bytes of single tokens".into());
        }
        let words = words(tokenizer, &eos_ids, vocab_size);
        let mut is_text = vec![0u32; vocab_size.div_ceil(32)];
        for (id, _) in words.iter().enumerate().filter(|(_, word)| !word.is_empty()) {
            is_text[id / 32] |= 1 << (id % 32);
        }
        if words.iter().all(Vec::is_empty) {
            return Err("the vocabulary has no token that stands for text".into());
        }
        let info = TokRxInfo::new(words.len() as u32, vocab_size as u32);
        let env: TokEnv = Arc::new(Trie(TokTrie::from(&info, &words)));
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|e| clean(&e.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Vocabulary { factory, eos_ids, vocab_size, is_text })
    }

    fn is_text(&self, id: u32) -> bool {
        self.is_text[id as usize / 32] >> (id % 32) & 1 != 0
    }
}

fn checked_eos_ids(ids: &[i32], vocab_size: usize) -> Result<Vec<u32>, String> {
    let mut sorted = Vec::with_capacity(ids.len());
    for id in ids {
        match usize::try_from(*id) {
            Ok(known) if known < vocab_size => sorted.push(known as u32),
            _ => return Err(format!("end-of-sequence id {id}: expected 0 to {}", vocab_size - 1)),
        }
    }
    if sorted.is_empty() {
        return Err("no end-of-sequence id is given, a grammar could never end".into());
    }
    sorted.sort_unstable();
    sorted.dedup();
    Ok(sorted)
}

/// The bytes of every token [vocab_size + 1]; empty: never allowed.
fn words(tokenizer: &Tokenizer, eos_ids: &[u32], vocab_size: usize) -> Vec<Vec<u8>> {
    let table = tokenizer.token_bytes();
    let mut words = vec![Vec::new(); vocab_size + 1];
    for id in 0..vocab_size.min(table.len()) as u32 {
        let bytes = table.of(id);
        // Text is UTF-8, and 0xff in front marks special tokens for the library.
        let is_text = !table.is_special(id as i32)
            && bytes.len() <= MAX_TOKEN_BYTES
            && !bytes.iter().any(|b| matches!(b, 0xc0 | 0xc1 | 0xf5..=0xff))
            && eos_ids.binary_search(&id).is_err();
        if is_text {
            words[id as usize] = bytes.to_vec();
        }
    }
    words
}

/// A compiled grammar: matchers are copies of one that has not taken a token. Copies share the states
/// of the lexer, so that its memory is bounded per grammar, and what one has worked out serves all.
pub struct Grammar {
    vocabulary: Arc<Vocabulary>,
    start: Mutex<llguidance::Matcher>,
}

impl Grammar {
    pub fn compile(
        vocabulary: Arc<Vocabulary>,
        kind: Kind,
        source: &str,
        source_limits: &SourceLimits,
    ) -> Result<Self, String> {
        grammar_source::check(kind, source, source_limits)?;
        let hash = hash_of(kind, source);
        check_parked(kind, hash)?;
        let (shared, source, limits) = (vocabulary.clone(), source.to_owned(), *source_limits);
        let compiled = sandbox::run(COMPILE_MEMORY, move || {
            let grammar = grammar_source::grammar(kind, &source, &limits)?;
            let parser = shared.factory.create_parser(grammar);
            let mut matcher = llguidance::Matcher::new(parser);
            // What fails at the first token fails here.
            fill(&shared, &mut matcher, &mut vec![0; shared.is_text.len()])?;
            Ok(matcher)
        });
        let start = compiled.map_err(|failure| match failure {
            Failure::Work(message) => message,
            Failure::Parked(limit) => {
                locked(&PARKED).push(hash);
                format!("the grammar is too complex: {limit}")
            }
        })?;
        Ok(Grammar { vocabulary, start: Mutex::new(start) })
    }

    pub fn start(&self) -> Matcher {
        let inner = locked(&self.start).clone();
        Matcher { vocabulary: self.vocabulary.clone(), inner, has_ended: false }
    }
}

/// The state of one output.
pub struct Matcher {
    vocabulary: Arc<Vocabulary>,
    inner: llguidance::Matcher,
    has_ended: bool, // an end-of-sequence token was taken
}

impl Matcher {
    /// `mask` [ceil(vocab_size / 32)].
    pub fn allowed(&mut self, mask: &mut [u32]) -> Result<(), String> {
        let expected = self.vocabulary.vocab_size.div_ceil(32);
        if mask.len() != expected {
            return Err(format!("the mask has {} words, expected {expected}", mask.len()));
        }
        fill(&self.vocabulary, &mut self.inner, mask)
    }

    pub fn accept(&mut self, id: i32) -> Result<(), String> {
        let Some(id) =
            u32::try_from(id).ok().filter(|id| (*id as usize) < self.vocabulary.vocab_size)
        else {
            let last = self.vocabulary.vocab_size - 1;
            return Err(format!("token id {id}: the vocabulary has ids 0 to {last}"));
        };
        let taken = if self.vocabulary.eos_ids.binary_search(&id).is_ok() {
            self.has_ended = self.has_ended || self.is_complete() || self.is_accepting()?;
            self.has_ended
        } else if self.is_complete() || !self.vocabulary.is_text(id) {
            false
        } else {
            self.inner.try_consume_tokens(&[id]).map_err(|e| clean(&e.to_string()))? == 1
        };
        if taken {
            return Ok(());
        }
        Err(format!("token id {id} is not allowed by the grammar at this place"))
    }

    fn is_accepting(&mut self) -> Result<bool, String> {
        self.inner.is_accepting().map_err(|e| clean(&e.to_string()))
    }

    pub fn is_complete(&self) -> bool {
        self.has_ended || (self.inner.is_stopped() && self.inner.stop_reason().is_ok())
    }
}

/// `mask` [ceil(vocab_size / 32)].
fn fill(
    vocabulary: &Vocabulary,
    matcher: &mut llguidance::Matcher,
    mask: &mut [u32],
) -> Result<(), String> {
    let allowed = matcher.compute_mask_or_eos().map_err(|e| clean(&e.to_string()))?;
    for ((out, word), is_text) in mask.iter_mut().zip(allowed.as_slice()).zip(&vocabulary.is_text) {
        *out = word & is_text;
    }
    if allowed.is_allowed(vocabulary.vocab_size as u32) {
        for id in &vocabulary.eos_ids {
            mask[*id as usize / 32] |= 1 << (id % 32);
        }
    }
    if mask.iter().all(|word| *word == 0) {
        return Err("no token of the vocabulary fits at this place".to_owned());
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash_of(kind: Kind, source: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind as i32, source).hash(&mut hasher);
    hasher.finish()
}

fn check_parked(kind: Kind, hash: u64) -> Result<(), String> {
    let parked = locked(&PARKED);
    if parked.contains(&hash) {
        return Err("refused, it exceeded its limits before".into());
    }
    // The other two kinds are harmless.
    if parked.len() >= MAX_PARKED && !matches!(kind, Kind::JsonObject | Kind::Choice) {
        return Err("refused: too many grammars exceeded their limits before".into());
    }
    Ok(())
}

/// Messages of the library without the parts that are for its authors.
fn clean(message: &str) -> String {
    const MAX_CHARS: usize = 400;
    let end = ["\n<state>", "\n<non-verbose/>", "\n<backtrace>"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min()
        .unwrap_or(message.len());
    let message = message[..end].trim();
    if message.starts_with("NoExtension") {
        return "no output fits".to_owned();
    }
    // What a regular expression lacks stands below a drawing of where.
    let message = match message.rsplit_once("\nerror: ") {
        Some((_, error)) if message.contains("regex parse error") => {
            format!("invalid regular expression: {}", error.lines().next().unwrap_or_default())
        }
        _ => match message.strip_prefix("panic: ") {
            Some(text) => format!("cannot be compiled: {text}"),
            None => message.to_owned(),
        },
    };
    message.chars().take(MAX_CHARS).collect()
}
