//! Progress on a terminal (bars) and without one (plain lines).

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exec::Observer;
pub use crate::exec::limits::bytes;
use crate::ml::Progress;
use crate::ml::watch::Transfer;

/// Set by ctrl-C; a second ctrl-C ends the program at once.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// Makes ctrl-C and SIGTERM ask the run to save a checkpoint and stop.
pub fn stop_on_interrupt() {
    let heard = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(3);
        }
        tell!("stopping after this step of training; press ctrl-C again to stop at once");
    });
    if let Err(error) = heard {
        tell!("ctrl-C will stop at once: {error}");
    }
}

/// Draws what the executor tells.
pub struct Show {
    bars: Option<MultiProgress>,
    live: Mutex<BTreeMap<String, Live>>,
    quiet: bool,
}

struct Live {
    bar: Option<ProgressBar>,
    started: Instant,
    first: Option<(Instant, u64)>,
    said: Instant,
    total: u64,
    /// Since when it is transferred, from how many bytes on, and of how many.
    transfer: Option<(Instant, u64, u64)>,
}

impl Show {
    /// Bars when standard error is a terminal, lines otherwise; nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bars = (!quiet && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)));
        Show { bars, live: Mutex::default(), quiet }
    }

    fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bars {
            // Above the bars, which stay at the bottom.
            Some(bars) => drop(bars.println(text)),
            None => tell!("{text}"),
        }
    }

    fn take(&self, address: &str) -> Option<Live> {
        let mut live = self.live.lock().unwrap_or_else(|e| e.into_inner());
        let taken = live.remove(address);
        if let Some(bar) = taken.as_ref().and_then(|l| l.bar.as_ref()) {
            bar.finish_and_clear();
        }
        taken
    }
}

impl Observer for Show {
    fn started(&self, address: &str, kind: &str, number: usize, total: usize) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("  {spinner} {prefix:40!}  {msg}"));
            bar.set_prefix(address.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.line(&format!("  start  {address} ({kind}), {number} of {total}"));
        }
        let now = Instant::now();
        let live = Live { bar, started: now, first: None, said: now, total: 0, transfer: None };
        self.live.lock().unwrap_or_else(|e| e.into_inner()).insert(address.to_string(), live);
    }

    fn progress(&self, address: &str, progress: &Progress) {
        let mut all = self.live.lock().unwrap_or_else(|e| e.into_inner());
        // Points that train side by side move together: without bars, one line speaks for all of them.
        let beside = all.len().saturating_sub(1);
        let speaks = all.keys().next().is_some_and(|first| first == address);
        let Some(live) = all.get_mut(address) else { return };
        let now = Instant::now();
        // The rate counts from the first report, so that a resumed step is not too fast.
        let (since, from) = *live.first.get_or_insert((now, progress.done));
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = if seconds > 0.2 { (progress.done.saturating_sub(from)) as f64 / seconds } else { 0.0 };
        let message = describe(progress, rate);
        if let Some(bar) = &live.bar {
            if live.total != progress.total {
                live.total = progress.total;
                bar.set_length(progress.total);
                bar.set_style(style("  {spinner} {prefix:40!} {bar:20.cyan/dim} {percent:>3} %  {msg}"));
            }
            bar.set_position(progress.done);
            bar.set_message(message);
        } else if !self.quiet && speaks && now.duration_since(live.said) > Duration::from_secs(5) {
            live.said = now;
            let percent = 100 * progress.done / progress.total.max(1);
            let beside = if beside > 0 { format!(" (and {beside} beside it)") } else { String::new() };
            tell!("         {address}{beside}  {percent} %  {message}");
        }
    }

    fn transfer(&self, address: &str, transfer: &Transfer) {
        let mut all = self.live.lock().unwrap_or_else(|e| e.into_inner());
        let Some(live) = all.get_mut(address) else { return };
        let now = Instant::now();
        let (since, from) = match live.transfer {
            // Files of another corpus, or of another step: the rate counts anew.
            Some((since, from, total)) if total == transfer.total && from <= transfer.done => (since, from),
            _ => (now, transfer.done),
        };
        live.transfer = Some((since, from, transfer.total));
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = if seconds > 0.2 { (transfer.done - from) as f64 / seconds } else { 0.0 };
        let message = describe_transfer(transfer, rate);
        if let Some(bar) = &live.bar {
            bar.set_message(message);
        } else if !self.quiet && now.duration_since(live.said) > Duration::from_secs(5) {
            live.said = now;
            tell!("         {address}  {message}");
        }
    }

    fn note(&self, address: &str, text: &str) {
        self.line(&format!("  note   {address}: {text}"));
    }

    fn finished(&self, address: &str, kind: &str, cached: bool, seconds: f64) {
        let live = self.take(address);
        let spent = live.map(|l| l.started.elapsed().as_secs_f64()).unwrap_or(seconds);
        let _ = kind;
        if cached {
            self.line(&format!("  cached {address}"));
        } else {
            self.line(&format!("  done   {address}  {}", duration(spent)));
        }
    }

    fn failed(&self, address: &str, error: &str) {
        self.take(address);
        self.line(&format!("  FAILED {address}: {error}"));
    }

    fn skipped(&self, address: &str, because: &str) {
        self.line(&format!("  skip   {address}: it needs {because}"));
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// `12,100 tokens/s  loss 3.21  8 s left`.
fn describe(progress: &Progress, rate: f64) -> String {
    let mut parts = vec![format!("{} of {} tokens", thousands(progress.done), thousands(progress.total))];
    if rate > 0.0 {
        parts.push(format!("{} tokens/s", thousands(rate as u64)));
    }
    if let Some(loss) = progress.loss {
        parts.push(format!("loss {loss:.3}"));
    }
    if rate > 0.0 && progress.total > progress.done {
        parts.push(format!("{} left", duration((progress.total - progress.done) as f64 / rate)));
    }
    parts.join("  ")
}

/// `model.safetensors: 1.2 GB of 5.2 GB  80.1 MB/s  50 s left`.
fn describe_transfer(transfer: &Transfer, rate: f64) -> String {
    let mut parts = vec![format!("{}: {} of {}", transfer.name, bytes(transfer.done), bytes(transfer.total))];
    if rate > 0.0 {
        parts.push(format!("{}/s", bytes(rate as u64)));
        if transfer.total > transfer.done {
            parts.push(format!("{} left", duration((transfer.total - transfer.done) as f64 / rate)));
        }
    }
    parts.join("  ")
}

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `840 ms`, `12.3 s`, `4 min 5 s`, `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_shows_bytes_rate_and_time_left() {
        let transfer = Transfer { name: "model.safetensors".into(), done: 1_200_000_000, total: 5_200_000_000 };
        let text = describe_transfer(&transfer, 80e6);
        assert_eq!(text, "model.safetensors: 1.2 GB of 5.2 GB  80.0 MB/s  50.0 s left");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1234567), "1,234,567");
        assert_eq!(duration(0.0421), "42 ms");
        assert_eq!(duration(245.2), "4 min 5 s");
        assert_eq!(duration(12000.0), "3 h 20 min");
        assert_eq!(bytes(2_800_000_000_000), "2.8 TB");
    }
}
