//! Runs foreign templates on a thread that can be given up.
//!
//! Fuel bounds what a template executes, but a single comparison of values that share their parts, or
//! the printing of one that contains itself, costs one unit and may never end. Such work cannot be
//! interrupted from within the template engine, so the thread that does it is parked for good: when it
//! has used its processor time (a signal), its memory (the allocator) or its stack (the fault on the
//! guard page). What it held stays allocated, within the limits; its caller gets an error. Parking
//! never happens inside the allocator or where a lock of the C library may be held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

const STACK_BYTES: usize = 64 << 20;
/// Calls into the allocator need this much stack below them.
const STACK_RESERVE: usize = 128 << 10;
/// An honest prompt takes milliseconds of processor time. On a busy machine less is granted, so that
/// an answer comes soon, and one that hardly gets to run is waited for.
const CPU_LIMIT: Duration = Duration::from_millis(1000);
const BUSY_CPU_LIMIT: Duration = Duration::from_millis(300);
const BUSY_WALL_LIMIT: Duration = Duration::from_millis(1800);
const WALL_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

const RUNNING: u32 = 0;
const PARK_SOON: u32 = 1; // asked to park while in a critical section
const OUT_OF_TIME: u32 = 2;
const OUT_OF_MEMORY: u32 = 3;
const OUT_OF_STACK: u32 = 4;

pub enum Failure {
    /// The work itself failed.
    Work(String),
    /// The thread was parked; the text says which limit it met.
    Parked(&'static str),
}

/// What ties a sandboxed thread to its caller. Written by the thread, its signal handlers included.
struct Leash {
    state: AtomicU32,
    critical: AtomicBool,
    allocated: AtomicIsize, // by this thread; negative where it frees what others gave it
    memory_limit: isize,
}

thread_local! {
    static LEASH: Cell<*const Leash> = const { Cell::new(std::ptr::null()) };
    static STACK_LOW: Cell<usize> = const { Cell::new(0) };
}

fn leash() -> Option<&'static Leash> {
    // SAFETY: set only while the thread's own Arc keeps the leash alive.
    unsafe { LEASH.get().as_ref() }
}

fn stack_pointer() -> usize {
    let here = 0u8;
    std::hint::black_box(&here) as *const u8 as usize
}

impl Leash {
    /// Stops this thread for ever. Only calls what a signal handler may call.
    fn park(&self, why: u32) -> ! {
        self.state.store(why, Ordering::SeqCst);
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            loop {
                libc::pause();
            }
        }
    }

    fn critical<T>(&self, body: impl FnOnce() -> T) -> T {
        if stack_pointer() < STACK_LOW.get() + STACK_RESERVE {
            self.park(OUT_OF_STACK);
        }
        let nested = self.critical.swap(true, Ordering::SeqCst);
        let result = body();
        self.critical.store(nested, Ordering::SeqCst);
        if !nested && self.state.load(Ordering::SeqCst) == PARK_SOON {
            self.park(OUT_OF_TIME);
        }
        result
    }

    fn count(&self, bytes: isize) {
        let total = self.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if bytes > 0 && total > self.memory_limit {
            self.park(OUT_OF_MEMORY);
        }
    }
}

/// For calls that may hold a lock of the C library: the thread is not parked in the middle of `body`.
pub fn critical<T>(body: impl FnOnce() -> T) -> T {
    match leash() {
        Some(leash) => leash.critical(body),
        None => body(),
    }
}

/// The system's allocator; sandboxed threads pay for what they take before they get it.
struct Metered;

#[global_allocator]
static ALLOCATOR: Metered = Metered;

// SAFETY: every call goes to System with the arguments as they came.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(leash) = leash() else { return System.alloc(layout) };
        leash.count(layout.size() as isize);
        leash.critical(|| System.alloc(layout))
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(leash) = leash() else { return System.alloc_zeroed(layout) };
        leash.count(layout.size() as isize);
        leash.critical(|| System.alloc_zeroed(layout))
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(leash) = leash() else { return System.dealloc(pointer, layout) };
        leash.count(-(layout.size() as isize));
        leash.critical(|| System.dealloc(pointer, layout))
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(leash) = leash() else { return System.realloc(pointer, layout, new_size) };
        leash.count(new_size as isize - layout.size() as isize);
        leash.critical(|| System.realloc(pointer, layout, new_size))
    }
}

fn park_signal() -> i32 {
    libc::SIGRTMIN() + 9
}

extern "C" fn on_park_signal(_signal: i32) {
    let Some(leash) = leash() else { return };
    if leash.critical.load(Ordering::SeqCst) {
        leash.state.store(PARK_SOON, Ordering::SeqCst);
    } else {
        leash.park(OUT_OF_TIME);
    }
}

static mut PREVIOUS_FAULT_ACTION: Option<libc::sigaction> = None;

/// A fault around the end of a sandboxed stack parks its thread; any other is left to whoever handled
/// faults before.
extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel's siginfo; the previous action was stored before this handler was installed.
    unsafe {
        let address = (*info).si_addr() as usize;
        let low = STACK_LOW.get();
        if let Some(leash) = leash().filter(|_| address.abs_diff(low) < STACK_RESERVE) {
            leash.park(OUT_OF_STACK);
        }
        let previous = std::ptr::addr_of!(PREVIOUS_FAULT_ACTION).read();
        let action = previous.unwrap_or_else(|| std::mem::zeroed());
        libc::sigaction(signal, &action, std::ptr::null_mut()); // the fault repeats and goes there
    }
}

fn install_handlers() {
    static ONCE: Once = Once::new();
    // SAFETY: plain sigaction calls; the handlers only do what handlers may.
    ONCE.call_once(|| unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_park_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(park_signal(), &action, std::ptr::null_mut());
        let mut previous: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut previous);
        std::ptr::addr_of_mut!(PREVIOUS_FAULT_ACTION).write(Some(previous));
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
    });
}

/// A stack for the fault handler of the calling thread, for as long as the value lives.
struct SignalStack {
    _memory: Vec<u8>,
    previous: libc::stack_t,
}

impl SignalStack {
    fn new() -> Self {
        let mut memory = vec![0u8; 64 << 10];
        let stack =
            libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        // SAFETY: the memory outlives its use: Drop takes it out of service.
        unsafe {
            let mut previous: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(&stack, &mut previous);
            SignalStack { _memory: memory, previous }
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: no handler runs on ours now, and the previous one is still there.
        unsafe { libc::sigaltstack(&self.previous, std::ptr::null_mut()) };
    }
}

/// Runs `work` under the limits. It must own what it uses: it may be left behind.
pub fn run<T: Send + 'static>(
    memory_limit: usize,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    install_handlers();
    let leash = Arc::new(Leash {
        state: AtomicU32::new(RUNNING),
        critical: AtomicBool::new(false),
        allocated: AtomicIsize::new(0),
        memory_limit: memory_limit as isize,
    });
    let (sender, receiver) = channel();
    let held = leash.clone();
    let thread = std::thread::Builder::new()
        .name("chat-template".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _signal_stack = SignalStack::new();
            STACK_LOW.set(stack_pointer() - STACK_BYTES + (16 << 10));
            LEASH.set(Arc::as_ptr(&held));
            let result = crate::ffi::catch(work);
            LEASH.set(std::ptr::null());
            let _ = sender.send(result);
        })
        .map_err(|e| Failure::Work(format!("cannot start a thread: {e}")))?;
    let result = wait(&leash, &receiver, thread.as_pthread_t());
    if !matches!(result, Err(Failure::Parked(_))) {
        let _ = thread.join(); // else it never ends: the handle is dropped, the thread detached
    }
    result
}

fn wait<T>(
    leash: &Leash,
    receiver: &Receiver<Result<T, String>>,
    thread: libc::pthread_t,
) -> Result<T, Failure> {
    let started = Instant::now();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(result) => return result.map_err(Failure::Work),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Work("the renderer failed".to_owned()))
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        match leash.state.load(Ordering::SeqCst) {
            OUT_OF_TIME => return Err(Failure::Parked("it takes too long")),
            OUT_OF_MEMORY => return Err(Failure::Parked("it takes too much memory")),
            OUT_OF_STACK => return Err(Failure::Parked("its values are nested too deeply")),
            _ => {}
        }
        if started.elapsed() > 2 * WALL_LIMIT {
            return Err(Failure::Parked("it cannot be stopped"));
        }
        let (cpu, wall) = (cpu_time(thread), started.elapsed());
        let busy = cpu > BUSY_CPU_LIMIT && wall > BUSY_WALL_LIMIT;
        if cpu > CPU_LIMIT || busy || wall > WALL_LIMIT {
            // SAFETY: the thread has not been joined. Sent again until it is seen to be parked.
            unsafe { libc::pthread_kill(thread, park_signal()) };
        }
    }
}

fn cpu_time(thread: libc::pthread_t) -> Duration {
    // SAFETY: both calls only write to what they are given.
    unsafe {
        let mut clock: libc::clockid_t = 0;
        let mut time: libc::timespec = std::mem::zeroed();
        if libc::pthread_getcpuclockid(thread, &mut clock) != 0
            || libc::clock_gettime(clock, &mut time) != 0
        {
            return Duration::ZERO;
        }
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
