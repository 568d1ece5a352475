//! The exported functions for constrained decoding; the rules of `abi.rs` hold here as well.
//!
//! # Safety
//! As in `abi.rs`.
#![allow(clippy::missing_safety_doc)]

use std::sync::Arc;

use crate::abi::{give, TokenizerHandle};
use crate::ffi::{array, catch, guard, Buffer, Slice};
use crate::grammar::{Grammar, Matcher, Vocabulary};
use crate::grammar_source::{Kind, SourceLimits};

pub struct VocabularyHandle(Arc<Vocabulary>);

#[no_mangle]
pub unsafe extern "C" fn nereid_grammar_vocabulary_new(
    tokenizer: *const TokenizerHandle,
    eos_ids: *const i32,
    num_eos_ids: usize,
    vocab_size: i32,
    out: *mut *mut VocabularyHandle,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let eos_ids = array(eos_ids, num_eos_ids);
        let vocabulary = Vocabulary::new(&(*tokenizer).0, eos_ids, vocab_size)?;
        give(VocabularyHandle(Arc::new(vocabulary)), out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_grammar_vocabulary_free(vocabulary: *mut VocabularyHandle) {
    let _ = catch(|| {
        drop(Box::from_raw(vocabulary));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_grammar_compile(
    vocabulary: *const VocabularyHandle,
    kind: i32,
    source: Slice,
    max_bytes: usize,
    max_nesting: usize,
    out: *mut *mut Grammar,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let limits = SourceLimits { max_bytes, max_nesting };
        let source = source.text("grammar")?;
        let vocabulary = (*vocabulary).0.clone();
        give(Grammar::compile(vocabulary, Kind::of(kind)?, source, &limits)?, out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_grammar_free(grammar: *mut Grammar) {
    let _ = catch(|| {
        drop(Box::from_raw(grammar));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_matcher_new(
    grammar: *const Grammar,
    out: *mut *mut Matcher,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        give((*grammar).start(), out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_matcher_free(matcher: *mut Matcher) {
    let _ = catch(|| {
        drop(Box::from_raw(matcher));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_matcher_allowed(
    matcher: *mut Matcher,
    mask: *mut u32,
    num_words: usize,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let mask: &mut [u32] =
            if num_words == 0 { &mut [] } else { std::slice::from_raw_parts_mut(mask, num_words) };
        (*matcher).allowed(mask)
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_matcher_accept(
    matcher: *mut Matcher,
    id: i32,
    error: *mut Buffer,
) -> i32 {
    guard(error, || (*matcher).accept(id))
}

#[no_mangle]
pub unsafe extern "C" fn nereid_matcher_is_complete(matcher: *const Matcher) -> bool {
    catch(|| Ok((*matcher).is_complete())).unwrap_or(false)
}
