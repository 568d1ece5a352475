//! A progress bar on standard error; where that is no terminal, one line at the start and one at the
//! end, so that logs stay readable.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Items,
    Bytes,
}

pub struct Progress {
    bar: Option<ProgressBar>, // none: not a terminal
    message: String,
    unit: Unit,
    started: Instant,
    finished: bool,
}

impl Progress {
    /// `total` 0: not known, a spinner is shown.
    pub fn new(total: u64, message: &str, unit: Unit) -> Self {
        let message: String = message.chars().filter(|c| !c.is_control()).collect();
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let length = (total > 0).then_some(total);
            let bar = ProgressBar::with_draw_target(length, target).with_style(style(total, unit));
            bar.set_message(message.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let progress = Progress { bar, message, unit, started: Instant::now(), finished: false };
        if progress.bar.is_none() {
            let amount =
                if total > 0 { format!(" ({})", progress.amount(total)) } else { String::new() };
            progress.line(&format!("{}{amount} ...", progress.message));
        }
        progress
    }

    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Clears the bar; `message` is left in its place unless it is empty. Further calls do nothing.
    pub fn finish(&mut self, message: &str) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !message.is_empty() {
            self.line(message);
        } else if self.bar.is_none() {
            let took = HumanDuration(self.started.elapsed());
            self.line(&format!("{}: done in {took}", self.message));
        }
    }

    /// As `finish("")`, but says nothing of being done.
    pub fn abandon(&mut self) {
        self.finished = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn amount(&self, count: u64) -> String {
        match self.unit {
            Unit::Bytes => HumanBytes(count).to_string(),
            Unit::Items => count.to_string(),
        }
    }

    fn line(&self, text: &str) {
        // A closed standard error is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

fn style(total: u64, unit: Unit) -> ProgressStyle {
    let template = match (unit, total) {
        (Unit::Bytes, 0) => "{spinner} {msg} {bytes} ({bytes_per_sec})",
        (Unit::Items, 0) => "{spinner} {msg} {pos}",
        (Unit::Bytes, _) => "{msg} [{bar:30}] {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)",
        (Unit::Items, _) => "{msg} [{bar:30}] {pos}/{len} ({eta} left)",
    };
    let style = ProgressStyle::with_template(template).expect("a valid template");
    style.progress_chars("=> ")
}
