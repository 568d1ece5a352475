//! The exported functions; `nereid_text.h` documents them. Each catches panics and reports errors as
//! text, none unwinds into its caller.
//!
//! # Safety
//! Handles are what the matching `_new`/`_from_...`/`_parse` gave and are not used after `_free`;
//! slices and arrays are valid for the call; results are written through valid pointers.
#![allow(clippy::missing_safety_doc)]

use std::sync::Arc;

use crate::decode::StreamDecoder;
use crate::ffi::{array, catch, guard, Buffer, Ids, Slice};
use crate::gguf::{self, Vocabulary};
use crate::progress::{Progress, Unit};
use crate::strftime::Clock;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

pub struct TokenizerHandle(pub(crate) Arc<Tokenizer>);

/// Three-valued flags: -1 absent, 0, 1.
#[repr(C)]
pub struct GgufVocabulary {
    model: Slice,
    pre: Slice,
    tokens: *const Slice,
    num_tokens: usize,
    scores: *const f32,
    num_scores: usize,
    types: *const i32,
    num_types: usize,
    merges: *const Slice,
    num_merges: usize,
    bos_id: i32,
    eos_id: i32,
    unk_id: i32,
    pad_id: i32,
    add_bos: i32,
    add_eos: i32,
    add_space_prefix: i32,
}

fn flag(value: i32) -> Option<bool> {
    (value >= 0).then_some(value != 0)
}

pub(crate) unsafe fn give<T>(value: T, out: *mut *mut T) {
    out.write(Box::into_raw(Box::new(value)));
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_from_json(
    json: Slice,
    out: *mut *mut TokenizerHandle,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let tokenizer = Tokenizer::from_json(json.bytes())?;
        give(TokenizerHandle(Arc::new(tokenizer)), out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_from_gguf(
    vocabulary: *const GgufVocabulary,
    out: *mut *mut TokenizerHandle,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let v = &*vocabulary;
        let slices = |data, count| array::<Slice>(data, count).iter().map(|s| s.bytes()).collect();
        let vocabulary = Vocabulary {
            model: v.model.text("tokenizer.ggml.model")?,
            pre: v.pre.text("tokenizer.ggml.pre")?,
            tokens: slices(v.tokens, v.num_tokens),
            scores: array(v.scores, v.num_scores),
            types: array(v.types, v.num_types),
            merges: slices(v.merges, v.num_merges),
            bos_id: v.bos_id,
            eos_id: v.eos_id,
            unk_id: v.unk_id,
            pad_id: v.pad_id,
            add_bos: flag(v.add_bos),
            add_eos: flag(v.add_eos),
            add_space_prefix: flag(v.add_space_prefix),
        };
        give(TokenizerHandle(Arc::new(gguf::tokenizer(&vocabulary)?)), out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_free(handle: *mut TokenizerHandle) {
    let _ = catch(|| {
        drop(Box::from_raw(handle));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_encode(
    handle: *const TokenizerHandle,
    text: Slice,
    add_special_tokens: bool,
    parse_special_tokens: bool,
    out: *mut Ids,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let text = text.text("text")?;
        let ids = (*handle).0.encode(text, add_special_tokens, parse_special_tokens)?;
        out.write(ids.into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_decode(
    handle: *const TokenizerHandle,
    ids: *const i32,
    num_ids: usize,
    skip_special_tokens: bool,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let text = (*handle).0.decode(array(ids, num_ids), skip_special_tokens)?;
        out.write(text.into_bytes().into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_vocab_size(handle: *const TokenizerHandle) -> i32 {
    (*handle).0.vocab_size() as i32
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_token_to_id(
    handle: *const TokenizerHandle,
    token: Slice,
) -> i32 {
    catch(|| Ok((*handle).0.token_to_id(token.text("token")?))).unwrap_or(-1)
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_id_to_token(
    handle: *const TokenizerHandle,
    id: i32,
) -> Buffer {
    let text = catch(|| Ok((*handle).0.id_to_token(id))).unwrap_or_default();
    text.into_bytes().into()
}

#[no_mangle]
pub unsafe extern "C" fn nereid_tokenizer_is_special(
    handle: *const TokenizerHandle,
    id: i32,
) -> bool {
    (*handle).0.is_special(id)
}

#[no_mangle]
pub unsafe extern "C" fn nereid_stream_new(
    handle: *const TokenizerHandle,
    skip_special_tokens: bool,
) -> *mut StreamDecoder {
    Box::into_raw(Box::new(StreamDecoder::new((*handle).0.clone(), skip_special_tokens)))
}

#[no_mangle]
pub unsafe extern "C" fn nereid_stream_free(stream: *mut StreamDecoder) {
    let _ = catch(|| {
        drop(Box::from_raw(stream));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_stream_push(
    stream: *mut StreamDecoder,
    id: i32,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let mut text = String::new();
        (*stream).push(id, &mut text)?;
        out.write(text.into_bytes().into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_stream_finish(stream: *mut StreamDecoder) -> Buffer {
    let text = catch(|| (*stream).finish()).unwrap_or_default();
    text.into_bytes().into()
}

#[no_mangle]
pub unsafe extern "C" fn nereid_template_parse(
    source: Slice,
    bos_token: Slice,
    eos_token: Slice,
    now: *const i64,
    out: *mut *mut ChatTemplate,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let clock = if now.is_null() { Clock::System } else { Clock::Fixed(*now) };
        let (bos, eos) = (bos_token.text("bos_token")?, eos_token.text("eos_token")?);
        let template = ChatTemplate::parse(source.text("source")?, bos, eos, clock)?;
        give(template, out);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_template_free(template: *mut ChatTemplate) {
    let _ = catch(|| {
        drop(Box::from_raw(template));
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_template_render(
    template: *const ChatTemplate,
    input_json: Slice,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let text = (*template).render(input_json.text("input")?)?;
        out.write(text.into_bytes().into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn nereid_progress_new(
    total: u64,
    message: Slice,
    bytes: bool,
) -> *mut Progress {
    let unit = if bytes { Unit::Bytes } else { Unit::Items };
    let made = catch(|| Ok(Progress::new(total, &String::from_utf8_lossy(message.bytes()), unit)));
    made.map_or(std::ptr::null_mut(), |progress| Box::into_raw(Box::new(progress)))
}

/// A null `progress` is allowed in the three functions below.
#[no_mangle]
pub unsafe extern "C" fn nereid_progress_set(progress: *const Progress, done: u64) {
    let _ = catch(|| {
        if let Some(progress) = progress.as_ref() {
            progress.set(done);
        }
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_progress_finish(progress: *mut Progress, message: Slice) {
    let _ = catch(|| {
        if let Some(progress) = progress.as_mut() {
            progress.finish(&String::from_utf8_lossy(message.bytes()));
        }
        Ok(())
    });
}

#[no_mangle]
pub unsafe extern "C" fn nereid_progress_free(progress: *mut Progress) {
    let _ = catch(|| {
        if !progress.is_null() {
            let mut progress = Box::from_raw(progress);
            progress.abandon();
        }
        Ok(())
    });
}
