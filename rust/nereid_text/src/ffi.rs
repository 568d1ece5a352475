//! What every exported function needs: borrowed and owned buffers, and `guard`, which keeps panics
//! and errors of this library from crossing into C++ as anything but a message.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Bytes that the caller owns and that live as long as the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub size: usize,
}

/// Bytes that this library allocated; given back through `nereid_buffer_free`.
#[repr(C)]
pub struct Buffer {
    pub data: *mut u8,
    pub size: usize,
    pub capacity: usize,
}

/// Token ids that this library allocated; given back through `nereid_ids_free`.
#[repr(C)]
pub struct Ids {
    pub data: *mut i32,
    pub size: usize,
    pub capacity: usize,
}

impl Slice {
    /// # Safety
    /// `data` must be valid for `size` bytes (or `size` be 0) while the result is in use.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }

    /// # Safety
    /// As `bytes`.
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, String> {
        utf8(self.bytes(), what)
    }
}

/// # Safety
/// `data` must be valid for `count` elements (or `count` be 0) while the result is in use.
pub unsafe fn array<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    std::slice::from_raw_parts(data, count)
}

pub fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes)
        .map_err(|e| format!("{what}: invalid UTF-8 at byte {}", e.valid_up_to()))
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Buffer { data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() }
    }
}

impl From<Vec<i32>> for Ids {
    fn from(ids: Vec<i32>) -> Self {
        let mut ids = std::mem::ManuallyDrop::new(ids);
        Ids { data: ids.as_mut_ptr(), size: ids.len(), capacity: ids.capacity() }
    }
}

/// # Safety
/// `buffer` must come from this library and not have been freed.
#[no_mangle]
pub unsafe extern "C" fn nereid_buffer_free(buffer: Buffer) {
    if buffer.capacity > 0 {
        drop(Vec::from_raw_parts(buffer.data, buffer.size, buffer.capacity));
    }
}

/// # Safety
/// `ids` must come from this library and not have been freed.
#[no_mangle]
pub unsafe extern "C" fn nereid_ids_free(ids: Ids) {
    if ids.capacity > 0 {
        drop(Vec::from_raw_parts(ids.data, ids.size, ids.capacity));
    }
}

thread_local! {
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Inside `guard` a panic is reported as an error, so it must not also be printed.
fn install_quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() == 0 {
                return previous(info);
            }
            let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
            PANIC_PLACE.with_borrow_mut(|p| *p = place.unwrap_or_default());
        }));
    });
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "unknown panic"
    }
}

/// Runs `body` with panics caught and turned into errors.
pub fn catch<T>(body: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    install_quiet_hook();
    GUARDED.set(GUARDED.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(GUARDED.get() - 1);
    outcome.unwrap_or_else(|payload| {
        let place = PANIC_PLACE.with_borrow(|p| p.clone());
        let file = place.rsplit('/').next().unwrap_or_default();
        Err(format!("text library failed: {} ({file})", panic_text(payload.as_ref())))
    })
}

/// Runs `body`; 0 when it succeeds, otherwise 1 with the message in `*error` (one line).
///
/// # Safety
/// `error` must be valid for writing.
pub unsafe fn guard(error: *mut Buffer, body: impl FnOnce() -> Result<(), String>) -> i32 {
    match catch(body) {
        Ok(()) => 0,
        Err(message) => {
            error.write(Buffer::from(one_line(&message).into_bytes()));
            1
        }
    }
}

fn one_line(message: &str) -> String {
    const MAX_CHARS: usize = 2000;
    let mut line: String = message.trim().chars().take(MAX_CHARS).collect();
    if line.contains(['\n', '\r']) {
        line = line
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
    }
    line
}
