//! Dates for templates, through the C library: Python's strftime is the C library's as well.

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sandbox::critical;

/// Where the current time comes from.
#[derive(Clone, Copy)]
pub enum Clock {
    /// The machine's, in local time.
    System,
    /// Seconds since 1970, in UTC: the same prompt every time.
    Fixed(i64),
}

const MAX_BYTES: usize = 1024;

pub fn format_now(clock: Clock, format: &str) -> Result<String, String> {
    if format.is_empty() {
        return Ok(String::new());
    }
    let c_format = CString::new(format).map_err(|_| "the format contains a NUL byte".to_owned())?;
    let time = critical(|| broken_down(clock))?;
    let mut buffer = [0u8; MAX_BYTES];
    // SAFETY: the buffer's length is passed, the format ends in NUL, `time` is initialised.
    let written = critical(|| unsafe {
        libc::strftime(buffer.as_mut_ptr().cast(), MAX_BYTES, c_format.as_ptr(), &time)
    });
    if written == 0 {
        return Err(format!("the result of {format:?} is empty or longer than {MAX_BYTES} bytes"));
    }
    Ok(String::from_utf8_lossy(&buffer[..written]).into_owned())
}

fn broken_down(clock: Clock) -> Result<libc::tm, String> {
    // SAFETY: `tm` is plain data; both functions only write to it.
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        let filled = match clock {
            Clock::Fixed(seconds) => libc::gmtime_r(&(seconds as libc::time_t), &mut time),
            Clock::System => {
                let now =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
                libc::localtime_r(&(now.as_secs() as libc::time_t), &mut time)
            }
        };
        if filled.is_null() {
            return Err("the time is out of range".to_owned());
        }
        Ok(time)
    }
}
